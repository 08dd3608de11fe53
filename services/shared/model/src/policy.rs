//! What a tenant may ask for: the built-in policy, overlaid by one that the system repository names, overlaid by the
//! tenant's own limits in the registry. Each limit knows where it was set.

use crate::{
    config::{Data, Snapshots},
    document::{Document, declare::record},
    ids::IdSet,
    interface::VlanId,
    manifest::{Cores, Iops, Mode, Tasks, Version},
    names::ExtensionName,
    network::Port,
    path,
    security::{ApparmorProfile, Capability, SelinuxContext, Syscalls},
    signer::SignerName,
    size::Size,
    text::{InvalidText, checked_text, written_as_text},
    time::TimeSpan,
};
use serde::{Deserialize, Serialize};
use std::fmt;

record! {
    /// A policy that registry.json can name: policies/NAME.json of the system repository.
    PolicyFile {
        /// The format's version, "1.0".
        version: Version,
        /// What a tenant may ask for. What is not said is as in the built-in policy.
        limits: Limits,
    }

    /// What a tenant may ask for. What is not said is as in the policy below.
    #[derive(Default)]
    Limits {
        /// Processors.
        cpu: CpuLimits = CpuLimits::default(),
        /// Memory.
        memory: MemoryLimits = MemoryLimits::default(),
        /// Storage.
        storage: StorageLimits = StorageLimits::default(),
        /// Reading and writing.
        io: IoLimits = IoLimits::default(),
        /// Processes and threads. Built in: 16384.
        tasks: Option<Tasks>,
        /// Ways to be connected.
        network: NetworkLimits = NetworkLimits::default(),
        /// What becomes of it when it leaves.
        retention: RetentionLimits = RetentionLimits::default(),
        /// Ports of the host that it may forward, as "8080" or "8080-8099". Built in: none.
        ports: Option<Vec<PortRange>>,
        /// Base images that its root may be made from, by name or by the beginning of a name and *. Built in: all that the host has.
        images: Option<Vec<Pattern>>,
        /// Extension images and portable services that it may use, by name or by the beginning of a name and *. Built in: all that the host has.
        extensions: Option<Vec<Pattern>>,
        /// Capabilities that it may keep besides those of every container. Built in: none.
        capabilities: Option<Vec<Capability>>,
        /// System calls and groups that it may have besides those of every container. Built in: none.
        syscalls: Option<Vec<Syscalls>>,
        /// SELinux contexts that its processes may have. Built in: none.
        selinux: Option<Vec<SelinuxContext>>,
        /// AppArmor profiles that its processes may have. Built in: none.
        apparmor: Option<Vec<ApparmorProfile>>,
        /// Who may sign its commits: the keys in signers/NAME.pub (SSH) or signers/NAME.asc (OpenPGP). Built in: a commit needs no signature.
        signers: Option<Vec<SignerName>>,
    }

    /// Most processors.
    #[derive(Default)]
    CpuLimits {
        /// Cores' worth of time. Built in: 2.
        cores: Option<Cores>,
        /// Processors that it may run on, as "0-3,8". Built in: all.
        allowed: Option<IdSet>,
    }

    /// Most bytes and operations per second, on the device that holds the tenant.
    #[derive(Default)]
    IoLimits {
        /// Bytes read. Built in: 7E, which is no limit.
        read: Option<Size>,
        /// Bytes written. Built in: 7E, which is no limit.
        write: Option<Size>,
        /// Reads. Built in: 2147483647, which is no limit.
        reads: Option<Iops>,
        /// Writes. Built in: 2147483647, which is no limit.
        writes: Option<Iops>,
    }

    /// Most memory.
    #[derive(Default)]
    MemoryLimits {
        /// Memory. Built in: 1G.
        limit: Option<Size>,
        /// Swap. Built in: 0.
        swap: Option<Size>,
        /// Memory nodes whose memory it may have, as "0-1". Built in: all.
        nodes: Option<IdSet>,
    }

    /// Most storage.
    #[derive(Default)]
    StorageLimits {
        /// Root volume. Built in: 10G.
        root: Option<Size>,
        /// Data volume. Built in: 10G.
        data: Option<Size>,
        /// Snapshots of the data. Built in: 3.
        snapshots: Option<Snapshots>,
    }

    /// Ways to be connected.
    #[derive(Default)]
    NetworkLimits {
        /// Modes. Built in: nat.
        modes: Option<Vec<Mode>>,
        /// VLANs, as "100" or "100-199". Built in: none.
        vlans: Option<Vec<VlanRange>>,
    }
}

record! {
    /// What may become of a tenant that leaves.
    #[derive(Default)]
    RetentionLimits {
        /// The longest time in which it can come back as it was. Built in: 30d.
        grace: Option<TimeSpan>,
        /// The shortest. Built in: 0s.
        least: Option<TimeSpan>,
        /// What may become of its data; if nobody asks for anything it is archive if that is here, else the first. Built in: all.
        data: Option<Vec<Data>>,
    }
}

checked_text!(
    /// The name of a policy: policies/NAME.json.
    PolicyName,
    "a policy name",
    "1 to 64 of a-z, 0-9 and '-', beginning and ending with a letter or digit",
    |text| {
        (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !text.starts_with('-')
            && !text.ends_with('-')
    },
    schema { "pattern": "^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$" }
);

impl PolicyName {
    /// The file that holds it.
    #[must_use]
    pub fn path(&self) -> String {
        format!("policies/{self}.json")
    }
}

checked_text!(
    /// Names that are meant: one, or all that begin alike.
    Pattern,
    "a name",
    "a name, the beginning of one and '*', or '*' alone",
    |text| {
        let beginning = text.strip_suffix('*').unwrap_or(text);
        (beginning.is_empty() && text == "*") || beginning.parse::<ExtensionName>().is_ok()
    },
    schema { "pattern": "^(\\*|[a-z0-9][a-z0-9._-]{0,63}\\*?)$" }
);

impl Pattern {
    /// Whether `name` is meant.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        self.as_str().strip_suffix('*').map_or(name == self.as_str(), |beginning| name.starts_with(beginning))
    }
}

macro_rules! range {
    ($(#[$meta:meta])* $name:ident of $item:ty, $what:literal, $allowed:literal) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name {
            first: $item,
            last: $item,
        }

        impl $name {
            /// Whether `item` is in the range.
            #[must_use]
            pub fn contains(self, item: $item) -> bool {
                (self.first..=self.last).contains(&item)
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidText;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let (first, last) = text.split_once('-').unwrap_or((text, text));
                let number = |digits: &str| -> Option<$item> {
                    let number: i64 = digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())??;
                    number.try_into().ok()
                };
                match (number(first), number(last)) {
                    (Some(first), Some(last)) if first <= last => Ok(Self { first, last }),
                    _ => Err(Self::refused(text)),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                if self.first == self.last { self.first.fmt(f) } else { write!(f, "{}-{}", self.first, self.last) }
            }
        }

        written_as_text!($name, $what, $allowed);
    };
}

range!(
    /// A port, or a range of ports.
    PortRange of Port, "a range of ports", "a port from 1 to 65535, or two joined by '-', the lower first"
);
range!(
    /// A VLAN, or a range of VLANs.
    VlanRange of VlanId, "a range of VLANs", "a VLAN from 1 to 4094, or two joined by '-', the lower first"
);

/// A limit and where it was set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit<T> {
    /// What is allowed.
    pub most: T,
    /// `repository:path:line`, or `the built-in policy`.
    pub place: String,
}

macro_rules! policy {
    ($($(#[doc = $doc:literal])* $field:ident: $type:ty = $built_in:literal at $($step:ident).+;)*) => {
        /// Everything that one tenant may ask for.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        pub struct Policy {
            $($(#[doc = $doc])* pub $field: Limit<$type>,)*
        }

        impl Policy {
            /// The policy that holds where nobody says anything: enough to run, nothing that reaches beyond the tenant.
            #[must_use]
            pub fn built_in() -> Self {
                // invariant: the literals are JSON of their types, as a test shows
                #[allow(clippy::expect_used)]
                Self {
                    $($field: Limit {
                        most: serde_json::from_str($built_in).expect("a built-in limit is what its type says"),
                        place: "the built-in policy".to_owned(),
                    },)*
                }
            }

            /// This policy where `limits` says nothing. `at` gives the place of what it says.
            #[must_use]
            pub fn overlaid(mut self, limits: &Limits, at: impl Fn(&[crate::document::Step<'_>]) -> String) -> Self {
                $(if let Some(most) = &limits.$($step).+ {
                    self.$field = Limit { most: most.clone(), place: at(path![$(stringify!($step)),+]) };
                })*
                self
            }
        }
    };
}

policy! {
    /// Cores' worth of processor time.
    cores: Cores = "2" at cpu.cores;
    /// Memory.
    memory: Size = "\"1G\"" at memory.limit;
    /// Swap.
    swap: Size = "\"0\"" at memory.swap;
    /// Processors.
    cpus: IdSet = "\"0-8191\"" at cpu.allowed;
    /// Memory nodes.
    nodes: IdSet = "\"0-8191\"" at memory.nodes;
    /// Processes and threads.
    tasks: Tasks = "16384" at tasks;
    /// Bytes read per second.
    read: Size = "\"7E\"" at io.read;
    /// Bytes written per second.
    write: Size = "\"7E\"" at io.write;
    /// Reads per second.
    reads: Iops = "2147483647" at io.reads;
    /// Writes per second.
    writes: Iops = "2147483647" at io.writes;
    /// Root volume.
    root: Size = "\"10G\"" at storage.root;
    /// Data volume.
    data: Size = "\"10G\"" at storage.data;
    /// Snapshots of the data.
    snapshots: Snapshots = "3" at storage.snapshots;
    /// The longest grace.
    grace: TimeSpan = "\"30d\"" at retention.grace;
    /// The shortest grace: the one limit that is a least.
    least_grace: TimeSpan = "\"0s\"" at retention.least;
    /// What may become of the data of who left.
    leaving: Vec<Data> = "[\"archive\",\"delete\",\"keep\"]" at retention.data;
    /// Network modes.
    modes: Vec<Mode> = "[\"nat\"]" at network.modes;
    /// VLANs.
    vlans: Vec<VlanRange> = "[]" at network.vlans;
    /// Ports of the host.
    ports: Vec<PortRange> = "[]" at ports;
    /// Base images.
    images: Vec<Pattern> = "[\"*\"]" at images;
    /// Extension images and portable services.
    extensions: Vec<Pattern> = "[\"*\"]" at extensions;
    /// Capabilities besides those of every container.
    capabilities: Vec<Capability> = "[]" at capabilities;
    /// System calls besides those of every container.
    syscalls: Vec<Syscalls> = "[]" at syscalls;
    /// SELinux contexts.
    selinux: Vec<SelinuxContext> = "[]" at selinux;
    /// AppArmor profiles.
    apparmor: Vec<ApparmorProfile> = "[]" at apparmor;
    /// Who may sign its commits; nobody if no signature is wanted.
    signers: Vec<SignerName> = "[]" at signers;
}

impl Policy {
    /// This policy where a policy file says nothing.
    #[must_use]
    pub fn overlaid_by_file(self, file: &Document<PolicyFile>) -> Self {
        self.overlaid(&file.content.limits, |field| {
            let field: Vec<_> = std::iter::once("limits".into()).chain(field.iter().copied()).collect();
            file.place(&field)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_policy_gives_nothing_beyond_the_tenant() {
        let policy = Policy::built_in();
        assert_eq!(policy.modes.most, [Mode::Nat]);
        assert!(policy.ports.most.is_empty() && policy.capabilities.most.is_empty() && policy.syscalls.most.is_empty());
        let written = serde_json::to_string(&policy).unwrap();
        assert_eq!(serde_json::from_str::<Policy>(&written).unwrap(), policy, "a policy does not survive the ledger");
    }

    #[test]
    fn what_a_file_says_counts_with_its_place() {
        let text = "{\n\"version\": \"1.0\",\n\"limits\": {\n\"cpu\": {\"cores\": 8},\n\"ports\": [\"80\"]}}";
        let file = Document::json("system:policies/web.json", text.as_bytes()).unwrap();
        let policy = Policy::built_in().overlaid_by_file(&file);
        assert_eq!((policy.cores.most.number(), policy.cores.place.as_str()), (8, "system:policies/web.json:4"));
        assert_eq!(policy.ports.place, "system:policies/web.json:5");
        assert_eq!(policy.memory.place, "the built-in policy");
    }

    #[test]
    fn ranges_follow_the_rule() {
        for good in ["80", "8080-8099", "1-65535"] {
            assert_eq!(good.parse::<PortRange>().unwrap().to_string(), good);
        }
        for bad in ["", "0", "65536", "90-80", "-", "80-", "80-90-100", "+80", " 80"] {
            assert!(bad.parse::<PortRange>().is_err(), "{bad:?} was accepted");
        }
        assert!("100-199".parse::<VlanRange>().unwrap().contains(150.try_into().unwrap()));
        assert!("4095".parse::<VlanRange>().is_err());
    }

    #[test]
    fn patterns_mean_one_name_or_a_beginning() {
        let meant = |pattern: &str, name| pattern.parse::<Pattern>().unwrap().matches(name);
        assert!(meant("*", "debian") && meant("deb*", "debian") && meant("debian", "debian"));
        assert!(!meant("deb*", "fedora") && !meant("debian", "debian-13"));
        for bad in ["", "a*b", "**", "../x", "A", "-*"] {
            assert!(bad.parse::<Pattern>().is_err(), "{bad:?} was accepted");
        }
    }
}
