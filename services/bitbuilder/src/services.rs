//! Which units stand behind which interface, for whoever has to start one.

/// An interface of the host's and its units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Service {
    /// Its interface.
    pub(crate) interface: &'static str,
    /// The socket unit.
    pub(crate) socket: &'static str,
    /// The service unit.
    pub(crate) unit: &'static str,
}

/// All of the host's; a tenant's guest is the tenant's.
pub(crate) const SERVICES: [Service; 8] = [
    Service::new("io.bitbuilder.Orchestrator", "bitbuilder-orchestrator.socket", "bitbuilder-orchestrator.service"),
    Service::new("io.bitbuilder.Tenant", "bitbuilder-tenant-manager.socket", "tenant-manager.service"),
    Service::new("io.bitbuilder.GitSync", "bitbuilder-git-sync.socket", "bitbuilder-git-sync.service"),
    Service::new("io.bitbuilder.Network", "bitbuilder-network.socket", "bitbuilder-network.service"),
    Service::new("io.bitbuilder.Storage", "bitbuilder-storage.socket", "bitbuilder-storage.service"),
    Service::new("io.bitbuilder.Secret", "bitbuilder-secret.socket", "bitbuilder-secret.service"),
    Service::new("io.bitbuilder.Extension", "bitbuilder-extension.socket", "bitbuilder-extension.service"),
    Service::new("io.bitbuilder.Notification", "bitbuilder-notification.socket", "bitbuilder-notification.service"),
];

impl Service {
    const fn new(interface: &'static str, socket: &'static str, unit: &'static str) -> Self {
        Self { interface, socket, unit }
    }

    /// The one behind a socket's path.
    pub(crate) fn at(path: &str) -> Option<Self> {
        let interface = path.rsplit('/').next()?;
        SERVICES.into_iter().find(|service| service.interface == interface)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, path::Path};

    #[test]
    fn each_interface_has_its_units() {
        let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../units");
        for contract in interfaces::ALL.iter().filter(|contract| contract.name != "io.bitbuilder.Guest") {
            let service = Service::at(&format!("/run/bitbuilder/{}", contract.name)).unwrap();
            let socket = fs::read_to_string(units.join(service.socket)).unwrap();
            assert!(socket.contains(&format!("ListenStream=/run/bitbuilder/{}\n", contract.name)), "{service:?}");
            let same_name = service.socket.strip_suffix(".socket") == service.unit.strip_suffix(".service");
            assert!(same_name || socket.contains(&format!("Service={}\n", service.unit)), "{service:?}");
            assert!(units.join(service.unit).exists(), "{service:?}");
        }
    }
}
