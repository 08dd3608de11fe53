//! What systemd-networkd is told about a tenant's bridge: one .netdev and one .network file (systemd.netdev(5),
//! systemd.network(5)), rendered from parsed values only.

use crate::places;
use host::files::{self, FileError};
use model::{NetworkSpec, TenantName, network::LinkName};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The two files of one tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The bridge as a device.
    pub netdev: String,
    /// What the bridge is configured with.
    pub network: String,
}

/// Renders a tenant's two files.
#[must_use]
pub fn render(spec: &NetworkSpec) -> Rendered {
    let NetworkSpec { bridge, gateway, prefix_length, address, mac, forwards: _, on_demand: _ } = spec;
    let offset = places::offset(spec);
    let netdev = format!(
        "\
[NetDev]
Name={bridge}
Kind=bridge
"
    );
    let network = format!(
        "\
[Match]
Name={bridge}
Kind=bridge

[Link]
RequiredForOnline=no

[Network]
Address={gateway}/{prefix_length}
ConfigureWithoutCarrier=yes
LinkLocalAddressing=no
IPv6AcceptRA=no
LLDP=no
EmitLLDP=no
LLMNR=no
MulticastDNS=no
IPv4Forwarding=yes
# A forwarded port answers on the host's 127.0.0.1 too; the firewall drops what arrives from outside for such addresses.
IPv4RouteLocalnet=yes
DHCPServer=yes

[DHCPServer]
# The pool is the one address that is reserved below.
PoolOffset={offset}
PoolSize=1
PersistLeases=no
EmitDNS=yes
EmitNTP=no
EmitTimezone=no

[DHCPServerStaticLease]
MACAddress={mac}
Address={address}
"
    );
    Rendered { netdev, network }
}

/// The directory that systemd-networkd reads.
#[derive(Debug, Clone)]
pub struct NetworkdFiles {
    directory: PathBuf,
}

impl NetworkdFiles {
    /// The files in `directory`.
    #[must_use]
    pub fn in_directory(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// Makes the tenant's files as rendered. Returns whether they were not.
    ///
    /// # Errors
    /// One cannot be written.
    pub fn write(&self, tenant: &TenantName, rendered: &Rendered) -> Result<bool, FileError> {
        // The configuration first: a device that appears without one would be left alone until the next reload.
        let network = files::write_atomically(&self.path(tenant, "network"), rendered.network.as_bytes(), 0o644)?;
        let netdev = files::write_atomically(&self.path(tenant, "netdev"), rendered.netdev.as_bytes(), 0o644)?;
        Ok(network || netdev)
    }

    /// Whether the tenant's files are as rendered.
    #[must_use]
    pub fn hold(&self, tenant: &TenantName, rendered: &Rendered) -> bool {
        let holds = |kind, text: &str| fs::read(self.path(tenant, kind)).is_ok_and(|held| held == text.as_bytes());
        holds("netdev", &rendered.netdev) && holds("network", &rendered.network)
    }

    /// The bridge that the tenant's files make. It outlives a record that was changed before the machine was.
    #[must_use]
    pub fn bridge(&self, tenant: &TenantName) -> Option<LinkName> {
        let text = fs::read_to_string(self.path(tenant, "netdev")).ok()?;
        text.lines().find_map(|line| line.strip_prefix("Name=")?.parse().ok())
    }

    /// Takes the tenant's files away. Returns whether there was one.
    ///
    /// # Errors
    /// One is there and stays.
    pub fn remove(&self, tenant: &TenantName) -> Result<bool, FileError> {
        let network = files::remove(&self.path(tenant, "network"))?;
        // Last, because it names the bridge that is to be deleted.
        let netdev = files::remove(&self.path(tenant, "netdev"))?;
        Ok(network || netdev)
    }

    fn path(&self, tenant: &TenantName, kind: &str) -> PathBuf {
        self.directory.join(format!("50-bitbuilder-{tenant}.{kind}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::places::tests::{any_place, place};
    use proptest::prelude::*;

    #[test]
    fn golden() {
        let Rendered { netdev, network } = render(&place(0, vec![]));
        insta::assert_snapshot!(format!("{netdev}----\n{network}"), @r"
        [NetDev]
        Name=bb-9e3779b1
        Kind=bridge
        ----
        [Match]
        Name=bb-9e3779b1
        Kind=bridge

        [Link]
        RequiredForOnline=no

        [Network]
        Address=10.88.0.1/29
        ConfigureWithoutCarrier=yes
        LinkLocalAddressing=no
        IPv6AcceptRA=no
        LLDP=no
        EmitLLDP=no
        LLMNR=no
        MulticastDNS=no
        IPv4Forwarding=yes
        # A forwarded port answers on the host's 127.0.0.1 too; the firewall drops what arrives from outside for such addresses.
        IPv4RouteLocalnet=yes
        DHCPServer=yes

        [DHCPServer]
        # The pool is the one address that is reserved below.
        PoolOffset=2
        PoolSize=1
        PersistLeases=no
        EmitDNS=yes
        EmitNTP=no
        EmitTimezone=no

        [DHCPServerStaticLease]
        MACAddress=02:bb:9e:37:79:b1
        Address=10.88.0.2
        ");
    }

    /// Every line but comments, without the values.
    fn skeleton(text: &str) -> Vec<&str> {
        text.lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(|line| line.split_once('=').map_or(line, |(key, _)| key))
            .collect()
    }

    proptest! {
        #[test]
        fn any_place_renders_to_the_same_sections_and_keys(spec in any_place()) {
            let (rendered, model) = (render(&spec), render(&place(0, vec![])));
            prop_assert_eq!(skeleton(&rendered.netdev), skeleton(&model.netdev));
            prop_assert_eq!(skeleton(&rendered.network), skeleton(&model.network));
            let text = rendered.netdev + &rendered.network;
            prop_assert!(text.is_ascii() && !text.contains(['\r', '\\', '%', '\0']));
        }
    }

    #[test]
    fn a_name_that_begins_another_s_touches_only_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let files = NetworkdFiles::in_directory(directory.path());
        let (short, long): (TenantName, TenantName) = ("web".parse().unwrap(), "web-2".parse().unwrap());
        let (one, other) = (place(0, vec![]), place(1, vec![]));
        assert!(files.write(&short, &render(&one)).unwrap());
        assert!(files.write(&long, &render(&other)).unwrap());
        assert!(!files.write(&long, &render(&other)).unwrap());
        assert_eq!(files.bridge(&short), Some(one.bridge));
        assert!(files.remove(&short).unwrap());
        assert!(!files.remove(&short).unwrap());
        assert_eq!(files.bridge(&short), None);
        assert!(files.hold(&long, &render(&other)));
    }
}
