//! metadata.json, the one file that a tenant's repository must have: what it asks for.

use crate::{
    document::declare::{choice, record},
    document::{Decode, Faults, Node, OneOrMore, Value},
    ids::IdSet,
    interface::{Hardware, InterfaceAddress, InterfaceName, VlanId},
    names::{ExtensionName, ImageName, TenantName, UnitName},
    network::Forward,
    security::{ApparmorProfile, Capability, SelinuxContext, Syscalls as SyscallSet},
    size::Size,
    text::{bounded, checked_text, shortened},
    time::TimeSpan,
};
use serde_json::json;
use std::net::IpAddr;

/// Where it stands in a repository.
pub const PATH: &str = "metadata.json";

/// The version of the formats that this host reads: `1.0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version;

impl Decode for Version {
    fn decode(node: &Node, faults: &mut Faults) -> Option<Self> {
        match &node.value {
            // YAML takes 1.0 without quotes for a number.
            Value::Text(text) | Value::Number(text) if text == "1.0" => Some(Self),
            Value::Text(text) | Value::Number(text) => {
                let message =
                    format!("this host does not read version {:?} of this file; it reads 1.0", shortened(text));
                faults.refuse_all(node.caret(), message)
            }
            Value::Null | Value::Boolean(_) | Value::List(_) | Value::Object(_) => {
                faults.refuse_all(node.caret(), format!("{} stands where the version \"1.0\" is wanted", node.kind()))
            }
        }
    }

    fn schema() -> serde_json::Value {
        json!({ "const": "1.0" })
    }
}

record! {
    /// What a tenant's repository asks of its host.
    Manifest {
        /// The format's version, "1.0".
        version: Version,
        /// Who it is.
        tenant: Tenant,
        /// The base image of its root: one that the host has in /var/lib/machines. Another image makes a new root.
        image: ImageName,
        /// Tenants of the same host that have to hold before this one is started. At a boot it is started after them, and all the
        /// same if one of them fails; what runs goes on when they end.
        depends_on as "dependsOn": Vec<TenantName> = Vec::new(),
        /// What it wants to use.
        resources: Resources = Resources::default(),
        /// How it is reached.
        network: Network = Network::default(),
        /// What is layered over its /usr and /etc.
        extensions: Extensions = Extensions::default(),
        /// What runs in it.
        services: Services = Services::default(),
        /// What confines it beyond what always does.
        security: Security = Security::default(),
    }

    /// Who a tenant is.
    Tenant {
        /// Its name, the same as in the registry.
        name: TenantName,
        /// Container or virtual machine.
        kind as "type": Kind,
        /// Whether it should run. false stops it; its data stays.
        enabled: bool = true,
        /// When it runs; always if nothing is said.
        activation: Activation = Activation::Always,
        /// It sleeps when nobody has been connected to its ports for so long, if it is activated on demand; 10min if nothing is said.
        /// While a commit is verified it is awake.
        sleep_after as "sleepAfter": Option<TimeSpan>,
        /// An identifier for its owner; nothing on the host reads it.
        id: Option<TenantId>,
    }

    /// What a tenant wants to use.
    #[derive(Default)]
    Resources {
        /// Processors.
        cpu: Cpu = Cpu::default(),
        /// Memory.
        memory: Memory = Memory::default(),
        /// Storage.
        storage: Storage = Storage::default(),
        /// Reading and writing of the device that holds the tenant.
        io: Io = Io::default(),
        /// At most so many processes and threads, TasksMax=. Nothing said is as many as the policy allows.
        tasks: Option<Tasks>,
    }

    /// Processor time.
    #[derive(Default)]
    Cpu {
        /// At most this many cores' worth of time, CPUQuota=. Nothing said is as much as the policy allows.
        cores: Option<Cores>,
        /// Relative share when processors are scarce; 1024 is the usual one. CPUWeight= is shares·100/1024, from 1 to 10000.
        shares: Option<Shares>,
        /// Runs on these processors alone, AllowedCPUs=. Nothing said is all that the policy allows.
        allowed_cpus as "allowedCpus": Option<IdSet>,
    }

    /// Memory.
    #[derive(Default)]
    Memory {
        /// At most this much, MemoryMax=. Nothing said is as much as the policy allows.
        limit: Option<Size>,
        /// At most this much swap, MemorySwapMax=. Nothing said is as much as the policy allows.
        swap: Option<Size>,
        /// Memory of these nodes alone, AllowedMemoryNodes=. Nothing said is all that the policy allows.
        allowed_memory_nodes as "allowedMemoryNodes": Option<IdSet>,
        /// Which node memory is taken from when a process first uses it, NUMAPolicy=.
        numa_policy as "numaPolicy": Option<NumaPolicy>,
        /// The nodes that numaPolicy is about, NUMAMask=. Nothing said is those of allowedMemoryNodes.
        numa_mask as "numaMask": Option<IdSet>,
        /// What ends when the kernel ends a process of the tenant for want of memory, OOMPolicy=; continue if nothing is said.
        oom_policy as "oomPolicy": Option<OomPolicy>,
        /// What systemd-oomd(8) does when the tenant is short of memory, ManagedOOMMemoryPressure=; auto if nothing is said.
        managed_oom as "managedOomMemoryPressure": Option<ManagedOom>,
    }

    /// Reading and writing of the device that holds a tenant. Nothing said is as much as the policy allows.
    #[derive(Default)]
    Io {
        /// Relative share when the device is busy, IOWeight=; 100 is the usual one.
        weight: Option<IoWeight>,
        /// When its processes have their turn, IOSchedulingClass=; best-effort if nothing is said.
        class: Option<IoClass>,
        /// Whose turn is earlier within best-effort, IOSchedulingPriority=: 0 is the first, 4 the usual one.
        priority: Option<IoPriority>,
        /// At most so many bytes read per second, IOReadBandwidthMax=.
        read_bandwidth as "readBandwidthMax": Option<Size>,
        /// At most so many bytes written per second, IOWriteBandwidthMax=.
        write_bandwidth as "writeBandwidthMax": Option<Size>,
        /// At most so many reads per second, IOReadIOPSMax=.
        read_iops as "readIopsMax": Option<Iops>,
        /// At most so many writes per second, IOWriteIOPSMax=.
        write_iops as "writeIopsMax": Option<Iops>,
    }

    /// Storage.
    #[derive(Default)]
    Storage {
        /// Size of the root volume.
        root: Option<Size>,
        /// Size of the data volume.
        data: Option<Size>,
    }

    /// How a tenant is reached.
    Network {
        /// How it is connected; nat if nothing is said.
        mode: Mode = Mode::Nat,
        /// The 802.1Q VLAN of its links, in bridge mode.
        vlan: Option<VlanId>,
        /// Its links.
        interfaces: Vec<Interface> = Vec::new(),
        /// Ports of the host that lead to it, in nat mode.
        forward: Vec<Forward> = Vec::new(),
    }

    /// One of a tenant's links.
    Interface {
        /// Its name in the tenant.
        name: InterfaceName,
        /// auto for one that stays the same, or a hardware address.
        mac: Hardware = Hardware::Auto,
        /// How it gets an IPv4 address; dhcp if nothing is said.
        ipv4: Addressing = Addressing::Dhcp,
        /// How it gets an IPv6 address; disabled if nothing is said.
        ipv6: Addressing = Addressing::Disabled,
        /// Its addresses with their prefix lengths, one for each family that is static.
        address: OneOrMore<InterfaceAddress> = OneOrMore::default(),
        /// Its gateways, at most one for each family that is static.
        gateway: OneOrMore<IpAddr> = OneOrMore::default(),
    }

    /// What is layered over a tenant's /usr and /etc.
    #[derive(Default)]
    Extensions {
        /// System extension images that the host has (systemd-sysext(8)), lowest layer first.
        sysext: Vec<ExtensionName> = Vec::new(),
        /// Configuration extension images (systemd-confext(8)), lowest layer first.
        confext: Vec<ExtensionName> = Vec::new(),
    }

    /// What runs in a tenant.
    #[derive(Default)]
    Services {
        /// Portable services (portablectl(1)).
        portable: Vec<ExtensionName> = Vec::new(),
        /// Units that the repository ships under units/, wanted by the tenant's multi-user.target.
        systemd: Vec<UnitName> = Vec::new(),
    }

    /// What confines a tenant beyond what always does.
    #[derive(Default)]
    Security {
        /// SELinux context of its processes: one that the policy lists. Said in status if the host has no SELinux.
        selinux_context: Option<SelinuxContext>,
        /// AppArmor profile of its processes: one that the policy lists and the host has loaded. Said in status if the host has no AppArmor.
        apparmor_profile: Option<ApparmorProfile>,
        /// Whether no program gains rights by being executed: set-user-ID programs as sudo and su run as who calls them. false if nothing is said.
        no_new_privileges: bool = false,
        /// Capabilities in its own user namespace besides those of every container (capabilities(7)).
        capabilities: Vec<Capability> = Vec::new(),
        /// System calls.
        syscalls: Syscalls = Syscalls::default(),
    }

    /// System calls and groups of them (systemd.exec(5), SystemCallFilter=).
    #[derive(Default)]
    Syscalls {
        /// Allowed besides those of every container.
        allow: Vec<SyscallSet> = Vec::new(),
        /// Refused with EPERM, also where they are allowed as well.
        deny: Vec<SyscallSet> = Vec::new(),
    }
}

choice! {
    /// What a tenant is made as.
    Kind, "a tenant's type" {
        /// systemd-nspawn.
        Container = "container",
        /// systemd-vmspawn.
        Vm = "vm",
    }

    /// When a tenant runs.
    Activation, "when a tenant runs" {
        /// From the host's boot on.
        Always = "always",
        /// From the first connection to a forwarded port on, until nobody has been connected for a while.
        OnDemand = "on-demand",
    }

    /// When a process reads and writes (ioprio_set(2)). None of a tenant's is real-time: it would keep the host from its disk.
    IoClass, "an IO scheduling class" {
        /// In its turn.
        BestEffort = "best-effort",
        /// When nobody else wants to.
        Idle = "idle",
    }

    /// Which node memory is taken from (set_mempolicy(2)).
    NumaPolicy, "a NUMA policy" {
        /// The kernel's own.
        Default = "default",
        /// One node, and others when it is full.
        Preferred = "preferred",
        /// These nodes and no others.
        Bind = "bind",
        /// These nodes in turn.
        Interleave = "interleave",
        /// The node of the processor that it runs on.
        Local = "local",
    }

    /// What the kernel ends when memory is short (systemd.service(5)).
    OomPolicy, "an OOM policy" {
        /// One process; the others go on.
        Continue = "continue",
        /// All of the tenant, which is then started anew.
        Kill = "kill",
    }

    /// What systemd-oomd(8) does.
    ManagedOom, "what systemd-oomd does" {
        /// What is set for the host.
        Auto = "auto",
        /// It ends a part of the tenant.
        Kill = "kill",
    }

    /// How a tenant is connected.
    Mode, "a network mode" {
        /// A private subnet behind the host's address.
        Nat = "nat",
        /// On the host's own segment.
        Bridge = "bridge",
        /// The host's own network namespace.
        Host = "host",
    }

    /// How a link gets its address.
    Addressing, "a way to get an address" {
        /// From a DHCP server or router.
        Dhcp = "dhcp",
        /// As written under address.
        Static = "static",
        /// Not at all.
        Disabled = "disabled",
    }
}

impl Default for Network {
    fn default() -> Self {
        Self { mode: Mode::Nat, vlan: None, interfaces: Vec::new(), forward: Vec::new() }
    }
}

bounded!(
    /// A number of processor cores.
    Cores(u32), "a number of cores", 1 to 1024
);
bounded!(
    /// A relative share of processor time.
    Shares(u32), "a processor share", 2 to 262_144
);
bounded!(
    /// A number of processes and threads.
    Tasks(u32), "a number of tasks", 64 to 4_194_304
);
bounded!(
    /// A relative share of a device.
    IoWeight(u32), "a weight", 1 to 10_000
);
bounded!(
    /// A turn within an IO scheduling class.
    IoPriority(u32), "an IO priority", 0 to 7
);
bounded!(
    /// A number of operations per second.
    Iops(u32), "a number of operations per second", 1 to 2_147_483_647
);
checked_text!(
    /// An identifier of the owner's own.
    TenantId,
    "an identifier",
    "1 to 64 printable ASCII characters without spaces",
    |text| (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()),
    schema { "pattern": "^[!-~]{1,64}$" }
);
