//! metadata.json, the one file that a tenant's repository must have: what it asks for.

use crate::{
    names::{ExtensionName, ImageName, TenantName, UnitName},
    network::Forward,
    size::Size,
    text::InvalidText,
};
use serde::{Deserialize, Serialize};

/// The version of the format that this host reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version;

impl TryFrom<String> for Version {
    type Error = InvalidText;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text == "1.0" { Ok(Self) } else { Err(InvalidText::new(&text, "a version that this host reads", "1.0")) }
    }
}

impl From<Version> for String {
    fn from(_: Version) -> Self {
        "1.0".to_owned()
    }
}

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The format's version.
    pub version: Version,
    /// Who it is.
    pub tenant: Tenant,
    /// The base image of its root, a name that the host provides.
    pub image: ImageName,
    /// What it wants to use.
    #[serde(default)]
    pub resources: Resources,
    /// How it is reached.
    #[serde(default)]
    pub network: Network,
    /// What is layered over its /usr and /etc.
    #[serde(default)]
    pub extensions: Extensions,
    /// What runs in it.
    #[serde(default)]
    pub services: Services,
    /// What confines it.
    #[serde(default)]
    pub security: Security,
}

/// Who a tenant is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tenant {
    /// Its name, the same as in the registry.
    pub name: TenantName,
    /// Container or virtual machine.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Whether it should run.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// An identifier of the owner's own; nothing here reads it.
    pub id: Option<String>,
}

fn yes() -> bool {
    true
}

/// What a tenant is made as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// systemd-nspawn.
    Container,
    /// systemd-vmspawn.
    Vm,
}

/// What a tenant wants to use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Resources {
    /// Processors.
    pub cpu: Cpu,
    /// Memory.
    pub memory: Memory,
    /// Storage.
    pub storage: Storage,
}

/// Processor time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cpu {
    /// At most this many cores' worth.
    pub cores: Option<Cores>,
    /// Relative share when processors are scarce; 1024 is the usual one.
    pub shares: Option<Shares>,
}

macro_rules! bounded {
    ($(#[$meta:meta])* $name:ident, $what:literal, $allowed:literal, $range:expr) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
        #[serde(try_from = "i64")]
        pub struct $name(u32);

        impl $name {
            /// The number.
            #[must_use]
            pub fn number(self) -> u32 {
                self.0
            }
        }

        impl TryFrom<i64> for $name {
            type Error = InvalidText;

            fn try_from(number: i64) -> Result<Self, Self::Error> {
                u32::try_from(number)
                    .ok()
                    .filter(|number| $range.contains(number))
                    .map(Self)
                    .ok_or_else(|| InvalidText::new(&number.to_string(), $what, $allowed))
            }
        }
    };
}

bounded!(
    /// A number of processor cores.
    Cores, "a number of cores", "1 to 1024", (1..=1024)
);
bounded!(
    /// A relative share of processor time.
    Shares, "a processor share", "2 to 262144", (2..=262_144)
);

/// Memory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Memory {
    /// At most this much.
    pub limit: Option<Size>,
    /// At most this much swap.
    pub swap: Option<Size>,
}

/// Storage.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Storage {
    /// Size of the root volume.
    pub root: Option<Size>,
    /// Size of the data volume.
    pub data: Option<Size>,
}

/// How a tenant is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// How it is connected.
    pub mode: Mode,
    /// Its links.
    pub interfaces: Vec<Interface>,
    /// Ports of the host that lead to it.
    pub forward: Vec<Forward>,
}

/// How a tenant is connected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// A private subnet behind the host's address.
    #[default]
    Nat,
    /// On the host's own segment.
    Bridge,
    /// The host's own network namespace.
    Host,
}

/// One of a tenant's links.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interface {
    /// Its name in the tenant.
    pub name: String,
    /// `auto`, or a hardware address.
    pub mac: Option<String>,
    /// How it gets an IPv4 address.
    pub ipv4: Option<Addressing>,
    /// How it gets an IPv6 address.
    pub ipv6: Option<Addressing>,
    /// The address, for static.
    pub address: Option<String>,
    /// The gateway, for static.
    pub gateway: Option<String>,
}

/// How a link gets its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Addressing {
    /// From a DHCP server.
    Dhcp,
    /// As written.
    Static,
    /// Not at all.
    Disabled,
}

/// What is layered over a tenant's /usr and /etc.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Extensions {
    /// System extensions (systemd-sysext(8)), lowest layer first.
    pub sysext: Vec<ExtensionName>,
    /// Configuration extensions (systemd-confext(8)).
    pub confext: Vec<ExtensionName>,
}

/// What runs in a tenant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Services {
    /// Portable services (portablectl(1)).
    pub portable: Vec<ExtensionName>,
    /// Units that the repository ships under `units/`.
    pub systemd: Vec<UnitName>,
}

/// What confines a tenant beyond what always does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Security {
    /// SELinux context of its processes.
    pub selinux_context: Option<String>,
    /// Capabilities that it keeps.
    pub capabilities: Vec<String>,
    /// System calls.
    pub syscalls: Syscalls,
}

/// System call groups (systemd.exec(5), SystemCallFilter=).
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Syscalls {
    /// Allowed besides the usual ones.
    pub allow: Vec<String>,
    /// Refused.
    pub deny: Vec<String>,
}
