//! The host's service manager, and what its units mean here.

use crate::{
    blame::Ending,
    containers::{Containers, Seen},
    ending,
    fault::Fault,
    inside, limits,
    paths::Paths,
    text,
};
pub use boot::units::{container, target, timer};
use boot::units::{wake_service, wake_socket};
use host::{
    capacity::has_inotify_instances,
    command::Command,
    systemd::{Kept, OwnedValue, Systemd, SystemdError, Unit},
};
use model::{Limits, TenantName, UnitName, names::RepositoryName, observed::InstanceState};
use std::{
    collections::{BTreeSet, HashMap},
    path::Path,
    str::FromStr,
    time::Duration,
};

const CONTAINER: &str = "bitbuilder-container@";
const WAKE: &str = "bitbuilder-wake@";
const PRE_START: &str = "bitbuilder-pre-start@";
const PRE_PROVISION: &str = "bitbuilder-pre-provision@";
const POLLING: &str = "git-sync@";
/// How many inotify instances a tenant that boots has: five are its service manager's, and its bus and what else it starts
/// have more.
const INSTANCES: usize = 8;
const GUEST: &str = "bitbuilder-guest@";
/// How much of what a unit said explains a failure.
const LINES: usize = 20;

/// Where the service manager keeps what was set until the next boot.
const RUNTIME_PROPERTIES: &str = "/run/systemd/system.control";

/// The sandbox of what runs before a tenant's start.
#[must_use]
pub fn pre_start(tenant: &TenantName) -> String {
    format!("{PRE_START}{tenant}.service")
}

/// The sandbox of what runs before a tenant's root is made.
#[must_use]
pub fn pre_provision(tenant: &TenantName) -> String {
    format!("{PRE_PROVISION}{tenant}.service")
}

/// Sets a tenant's limits on its unit as it starts: nothing is to be done where there are none and none linger, which the
/// service manager would keep as drop-ins (systemctl(1), set-property --runtime).
///
/// # Errors
/// The service manager refused.
pub async fn limit_at_start(tenant: &TenantName, limits: &Limits) -> Result<(), SystemdError> {
    let lingering = Path::new(RUNTIME_PROPERTIES).join(format!("{}.d", container(tenant)));
    if *limits == Limits::default() && !lingering.exists() {
        return Ok(());
    }
    set(&Systemd::connect().await?, tenant, limits).await
}

/// Sets a tenant's limits on its unit, without a reload.
async fn set(systemd: &Systemd, tenant: &TenantName, limits: &Limits) -> Result<(), SystemdError> {
    let tree = Paths::below(Path::new("/")).tenant_root(tenant).display().to_string();
    let properties = limits::properties(limits, &tree);
    systemd.set_properties(&container(tenant), &properties).await
}

/// The units of the host's service manager.
#[derive(Debug, Clone, Default)]
pub struct Units(Kept);

impl Containers for Units {
    async fn seen(&self) -> Result<Seen, SystemdError> {
        let patterns = [format!("{CONTAINER}*.service"), format!("{WAKE}*.socket")];
        let listed = self.0.connect().await?.list(&[&patterns[0], &patterns[1]]).await?;
        let states =
            listed.iter().filter_map(|unit| Some((instance(unit, CONTAINER, ".service")?, state(&unit.active_state))));
        let sockets = listed.iter().filter(|unit| unit.active_state == "active");
        let listening = sockets.filter_map(|unit| instance(unit, WAKE, ".socket")).collect();
        Ok(Seen { states: states.collect(), listening })
    }

    async fn listen(&self, tenant: &TenantName) -> Result<Vec<u16>, SystemdError> {
        let (systemd, socket) = (self.0.connect().await?, wake_socket(tenant));
        systemd.start(&socket).await?;
        let properties = systemd.properties(&socket, "Socket").await?;
        // Each is its type and its address (org.freedesktop.systemd1(5), Listen).
        let listens = properties.get("Listen").and_then(|value| value.try_clone().ok());
        let listens = listens.and_then(|value| Vec::<(String, String)>::try_from(value).ok()).unwrap_or_default();
        Ok(listens.iter().filter_map(|(_, address)| address.rsplit_once(':')?.1.parse().ok()).collect())
    }

    async fn stop_listening(&self, tenant: &TenantName) -> Result<(), SystemdError> {
        let systemd = self.0.connect().await?;
        // The socket first: nobody starts the other again.
        for unit in [wake_socket(tenant), wake_service(tenant)] {
            stop_loaded(&systemd, &unit).await?;
        }
        Ok(())
    }

    async fn lead(&self, tenant: &TenantName) -> Result<(), SystemdError> {
        self.0.connect().await?.start(&wake_service(tenant)).await
    }

    async fn start(&self, tenant: &TenantName) -> Result<(), SystemdError> {
        let systemd = self.0.connect().await?;
        // Earlier failures count towards the limit of starts; this one was asked for.
        systemd.reset_failed(&container(tenant)).await;
        systemd.start(&container(tenant)).await
    }

    async fn pre_provision(&self, tenant: &TenantName) -> Result<(), SystemdError> {
        // Anew: one that a kill left behind may run the script of another commit.
        self.0.connect().await?.restart(&pre_provision(tenant)).await
    }

    async fn restart(&self, tenant: &TenantName) -> Result<(), SystemdError> {
        let (systemd, unit) = (self.0.connect().await?, container(tenant));
        if !hears(&systemd, &unit).await? {
            ending::told_again(tenant, systemd.stop(&unit)).await?;
        }
        systemd.reset_failed(&unit).await;
        systemd.restart(&unit).await
    }

    async fn stop(&self, tenant: &TenantName) -> Result<(), SystemdError> {
        let (systemd, unit, target) = (self.0.connect().await?, container(tenant), target(tenant));
        let stopped = async {
            // First, and with it what is told to the target; one that nobody has loaded cannot be stopped. One that still waits for
            // the tenant would be reached when the tenant is gone.
            if systemd.list(&[&target]).await?.iter().any(|unit| unit.active_state != "inactive" || unit.has_job) {
                systemd.stop(&target).await?;
            }
            systemd.stop(&unit).await
        };
        if hears(&systemd, &unit).await? { stopped.await } else { ending::told_again(tenant, stopped).await }
    }

    async fn forget(&self, tenant: &TenantName) -> Result<(), SystemdError> {
        let (systemd, unit) = (self.0.connect().await?, container(tenant));
        let guest = [".socket", ".service"].map(|suffix| format!("{GUEST}{tenant}{suffix}"));
        let sandboxes = [pre_start(tenant), pre_provision(tenant)];
        for unit in [&unit, &guest[0], &guest[1], &sandboxes[0], &sandboxes[1]] {
            stop_loaded(&systemd, unit).await?;
        }
        systemd.revert(&unit).await
    }

    async fn limit(&self, tenant: &TenantName, limits: &Limits) -> Result<(), SystemdError> {
        set(&self.0.connect().await?, tenant, limits).await
    }

    async fn show(&self, tenant: &TenantName) -> Result<(), SystemdError> {
        self.0.connect().await?.reload(&container(tenant)).await
    }

    async fn reload_services(&self, tenant: &TenantName) -> Result<(), Fault> {
        inside::reload(tenant).await
    }

    async fn stop_services(&self, tenant: &TenantName, units: &[UnitName]) -> Result<(), Fault> {
        inside::stop(tenant, units).await
    }

    async fn start_services(&self, tenant: &TenantName, units: &[UnitName]) -> Result<(), Fault> {
        inside::start(tenant, units).await
    }

    async fn restart_services(&self, tenant: &TenantName, units: &[UnitName]) -> Result<(), Fault> {
        inside::restart(tenant, units).await
    }

    async fn ending(&self, tenant: &TenantName) -> Ending {
        let unit = container(tenant);
        let (service, general) = match self.0.connect().await {
            Ok(systemd) => (
                systemd.properties(&unit, "Service").await.unwrap_or_default(),
                systemd.properties(&unit, "Unit").await.unwrap_or_default(),
            ),
            Err(_) => Default::default(),
        };
        Ending {
            result: service.get("Result").and_then(|value| <&str>::try_from(value).ok()).map(str::to_owned),
            status: service.get("ExecMainStatus").and_then(|value| i32::try_from(value).ok()).unwrap_or(0),
            said: said(&unit, invocation(&general).as_deref()).await,
        }
    }

    async fn stopping(&self) -> Result<bool, SystemdError> {
        self.0.connect().await?.is_stopping().await
    }

    fn has_room(&self) -> bool {
        has_inotify_instances(INSTANCES)
    }

    async fn polled(&self) -> Result<BTreeSet<RepositoryName>, SystemdError> {
        let listed = self.0.connect().await?.list(&[&format!("{POLLING}*.timer")]).await?;
        let running = listed.iter().filter(|unit| matches!(unit.active_state.as_str(), "active" | "activating"));
        Ok(running.filter_map(|unit| instance(unit, POLLING, ".timer")).collect())
    }

    async fn poll(&self, repository: &RepositoryName) -> Result<(), SystemdError> {
        self.0.connect().await?.start(&timer(repository)).await
    }

    async fn stop_polling(&self, repository: &RepositoryName) -> Result<(), SystemdError> {
        let (systemd, timer) = (self.0.connect().await?, timer(repository));
        systemd.stop(&timer).await?;
        // One that had failed would stay loaded as it was.
        systemd.reset_failed(&timer).await;
        Ok(())
    }
}

/// Stops a unit if anybody has loaded it. One that had failed would stay loaded as it was.
async fn stop_loaded(systemd: &Systemd, unit: &str) -> Result<(), SystemdError> {
    if systemd.list(&[unit]).await?.is_empty() {
        return Ok(());
    }
    systemd.stop(unit).await?;
    systemd.reset_failed(unit).await;
    Ok(())
}

/// Whether what runs of a tenant has come so far that it hears what it is told.
async fn hears(systemd: &Systemd, unit: &str) -> Result<bool, SystemdError> {
    let listed = systemd.list(&[unit]).await?;
    Ok(listed.iter().all(|unit| match state(&unit.active_state) {
        InstanceState::Activating | InstanceState::Deactivating => false,
        InstanceState::Active | InstanceState::Inactive | InstanceState::Failed => true,
    }))
}

fn instance<N: FromStr>(unit: &Unit, prefix: &str, suffix: &str) -> Option<N> {
    unit.name.strip_prefix(prefix)?.strip_suffix(suffix)?.parse().ok()
}

/// ActiveState in our words. A state that is not known to be down counts as up.
fn state(active_state: &str) -> InstanceState {
    match active_state {
        "inactive" => InstanceState::Inactive,
        "failed" => InstanceState::Failed,
        "active" | "reloading" | "refreshing" => InstanceState::Active,
        "deactivating" | "maintenance" => InstanceState::Deactivating,
        _ => InstanceState::Activating,
    }
}

fn invocation(general: &HashMap<String, OwnedValue>) -> Option<String> {
    let id = Vec::<u8>::try_from(general.get("InvocationID")?.try_clone().ok()?).ok()?;
    (id.len() == 16).then(|| id.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The last lines of what this run of the unit said, its console included.
async fn said(unit: &str, invocation: Option<&str>) -> String {
    let mut journalctl = Command::new("journalctl")
        .args(["--quiet", "--no-pager", "--output=cat", &format!("--lines={LINES}")])
        .within(Duration::from_secs(10));
    journalctl = match invocation {
        // Its own processes; what the service manager says of them is in the result.
        Some(id) => journalctl.arg(format!("_SYSTEMD_INVOCATION_ID={id}")),
        None => journalctl.args([&format!("--unit={unit}"), "--boot"]),
    };
    match journalctl.run().await {
        Ok(said) => text::last_lines(&said, LINES),
        Err(cause) => format!("its journal is not known: {}", runtime::chain(&cause)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_told_by_their_names() {
        let unit = |name: &str| Unit {
            name: name.to_owned(),
            active_state: String::new(),
            sub_state: String::new(),
            has_job: false,
        };
        let web: TenantName = "my-web".parse().unwrap();
        assert_eq!(container(&web), "bitbuilder-container@my-web.service");
        assert_eq!(instance(&unit(&container(&web)), CONTAINER, ".service"), Some(web.clone()));
        let web = RepositoryName::from(&web);
        assert_eq!(instance(&unit(&timer(&web)), POLLING, ".timer"), Some(web));
        assert_eq!(instance(&unit("git-sync@system.timer"), POLLING, ".timer"), Some(RepositoryName::system()));
        assert_eq!(instance::<TenantName>(&unit("git-sync@system.timer"), POLLING, ".timer"), None);
        assert_eq!(instance::<TenantName>(&unit("bitbuilder-container@..service"), CONTAINER, ".service"), None);
    }

    #[test]
    fn only_what_is_known_to_be_down_is_down() {
        assert_eq!(state("inactive"), InstanceState::Inactive);
        assert_eq!(state("failed"), InstanceState::Failed);
        assert_eq!(state("reloading"), InstanceState::Active);
        assert_eq!(state("something-new"), InstanceState::Activating);
    }
}
