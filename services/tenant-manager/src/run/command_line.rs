//! The arguments of systemd-nspawn. Each is one string of the vector, made of checked types and our own paths; nothing that
//! a tenant wrote is among them.

use super::secrets::Handed;
use model::{InstanceSpec, TenantName};
use std::path::Path;

/// One tenant's container.
#[derive(Debug)]
pub(super) struct Container<'a> {
    pub(super) tenant: &'a TenantName,
    pub(super) spec: &'a InstanceSpec,
    pub(super) root: &'a Path,
    /// The checkout as the tenant sees it: whoever owns it on the host, it is root's in the tenant.
    pub(super) checkout: &'a Path,
    pub(super) data: &'a Path,
    pub(super) units: &'a Path,
    /// The directory of its own socket. Not the socket: made anew it is another inode.
    pub(super) guest: Option<&'a Path>,
    /// The composed /usr, if it has extensions.
    pub(super) usr: Option<&'a Path>,
    /// Its secrets, each in a pipe of this process.
    pub(super) secrets: &'a [Handed],
    /// What confines it beyond what always does.
    pub(super) confined: &'a [String],
}

impl Container<'_> {
    pub(super) fn arguments(&self) -> Vec<String> {
        let Self { tenant, spec, .. } = self;
        let mut arguments: Vec<String> = vec![
            "--quiet".into(),
            "--keep-unit".into(),
            // An image may ship a .nspawn file that asks for more.
            "--settings=no".into(),
            format!("--machine={tenant}"),
            format!("--directory={}", escaped(self.root)),
            format!("--private-users={}:{}", spec.uids.first, spec.uids.count),
            "--private-users-ownership=map".into(),
            format!("--network-bridge={}", spec.bridge),
            bind_read_only(self.checkout, super::CONFIG, ""),
            format!("--bind={}:/srv/data:idmap", escaped(self.data)),
            bind_read_only(self.units, super::UNITS, ":rootidmap"),
        ];
        if let Some(guest) = self.guest {
            arguments.push(format!("--bind={}:/run/bitbuilder", escaped(guest)));
        }
        if let Some(usr) = self.usr {
            arguments.push(bind_read_only(usr, "/usr", ""));
        }
        arguments.extend(self.confined.iter().cloned());
        arguments.extend(self.secrets.iter().map(Handed::argument));
        if self.secrets.is_empty() {
            // So that there is a place for secrets that come later.
            arguments.push(format!("--set-credential=bitbuilder.tenant:{tenant}"));
        }
        // The host's resolver listens where a tenant does not reach; its servers are reached through the bridge.
        let rest = ["--resolv-conf=copy-uplink", "--timezone=off", "--link-journal=no", "--boot", "--notify-ready=yes"];
        arguments.extend(rest.map(str::to_owned));
        arguments
    }
}

fn bind_read_only(from: &Path, to: &str, options: &str) -> String {
    format!("--bind-ro={}:{to}{options}", escaped(from))
}

/// systemd-nspawn(1): a colon within a path is written `\:`, a backslash twice.
pub(crate) fn escaped(path: &Path) -> String {
    path.display().to_string().replace('\\', "\\\\").replace(':', "\\:")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths::Paths;
    use model::{Limits, identity::Slot};
    use proptest::prelude::*;

    fn arguments(tenant: &TenantName, spec: &InstanceSpec, extended: bool) -> Vec<String> {
        let paths = Paths::below(Path::new("/"));
        let scratch = paths.runtime(tenant);
        let (guest, usr) = (paths.guest(tenant), scratch.join("layers/usr"));
        Container {
            tenant,
            spec,
            root: &paths.tenant_root(tenant),
            checkout: &scratch.join("shown"),
            data: &paths.data(tenant),
            units: &scratch.join("units"),
            guest: extended.then_some(&guest),
            usr: extended.then_some(&usr),
            secrets: &[],
            confined: &["--drop-capability=CAP_SYS_RESOURCE".to_owned()],
        }
        .arguments()
    }

    fn spec(slot: u16, revision: &str) -> InstanceSpec {
        let slot = Slot::new(slot).unwrap();
        InstanceSpec {
            revision: revision.parse().unwrap(),
            image: "debian".parse().unwrap(),
            uids: slot.uids(),
            bridge: slot.bridge(),
            mac: slot.mac(),
            address: slot.address(),
            limits: Limits::default(),
            inherited: model::inherited::Inherited::default(),
            security: model::security::Security::default(),
            sysext: Vec::new(),
            services: Vec::new(),
            secrets: Vec::new(),
            depends_on: Vec::new(),
            hooks: Vec::new(),
            wake: None,
        }
    }

    #[test]
    fn the_command_line_is_as_written_here() {
        let arguments = arguments(&"web".parse().unwrap(), &spec(0, &"a".repeat(40)), true);
        let expected = "\
--quiet
--keep-unit
--settings=no
--machine=web
--directory=/var/lib/tenants/web/root
--private-users=1073741824:65536
--private-users-ownership=map
--network-bridge=bb-9e3779b1
--bind-ro=/var/lib/tenants/web/runtime/shown:/srv/config
--bind=/var/lib/tenants/web/data:/srv/data:idmap
--bind-ro=/var/lib/tenants/web/runtime/units:/run/systemd/system:rootidmap
--bind=/run/bitbuilder/guest/web:/run/bitbuilder
--bind-ro=/var/lib/tenants/web/runtime/layers/usr:/usr
--drop-capability=CAP_SYS_RESOURCE
--set-credential=bitbuilder.tenant:web
--resolv-conf=copy-uplink
--timezone=off
--link-journal=no
--boot
--notify-ready=yes";
        assert_eq!(arguments.join("\n"), expected);
    }

    #[test]
    fn a_path_cannot_become_two() {
        assert_eq!(escaped(Path::new("/a:b\\c")), "/a\\:b\\\\c");
    }

    proptest! {
        #[test]
        fn no_valid_specification_yields_another_option(
            name in "[a-z]([a-z0-9-]{0,22}[a-z0-9])?",
            slot in 0..Slot::COUNT,
            revision in "[0-9a-f]{40}",
            extended: bool,
        ) {
            let Ok(tenant) = name.parse::<TenantName>() else { return Ok(()) };
            let plain = arguments(&"a".parse().unwrap(), &spec(0, &"0".repeat(40)), extended);
            let arguments = arguments(&tenant, &spec(slot, &revision), extended);
            let options = |arguments: &[String]| -> Vec<String> {
                arguments.iter().map(|argument| argument.split('=').next().unwrap_or_default().to_owned()).collect()
            };
            prop_assert_eq!(options(&plain), options(&arguments));
            // A path of ours is one path, and an argument is one argument.
            let colons = |arguments: &[String]| arguments.iter().map(|argument| argument.matches(':').count()).sum::<usize>();
            prop_assert_eq!(colons(&plain), colons(&arguments));
            prop_assert!(arguments.iter().all(|argument| argument.bytes().all(|byte| byte.is_ascii_graphic())));
        }
    }
}
