//! The shapes of the types that the contracts share with the rest of the product.

use crate::{
    macros::shaped,
    shape::{Shape, Shaped},
};
use model::{
    Diagnostic, ExtensionName, ExtensionSpec, Forward, Hook, HookSpec, ImageName, InstanceSpec, Limits, MacAddress,
    Mirrors, NetworkSpec, Protocol, PushUrl, Reference, Remote, RemoteState, RepositoryUrl, Revision, ServiceSpec,
    Size, StorageSpec, TenantName, UnitName, Wake,
    archive::Manifest,
    config::Script,
    identity::UidRange,
    ids::IdSet,
    inherited::Inherited,
    manifest::{IoClass, ManagedOom, NumaPolicy, OomPolicy},
    names::{RepositoryName, TargetName},
    network::{LinkName, Port},
    notification::{Endpoint, Kind, Occasion, ProjectPath, Target},
    observed::{InstanceState, Listening},
    retention::Data,
    secrets::{Digest, Reason, Recipient, Sealed, SealedSecret, SecretName, SecretSpec, SecretValue},
    security::{ApparmorProfile, Capability, Security, SelinuxContext, Syscalls},
    signer::{Certificate, Signer, SignerName, SshKey, Trust},
    time::TimeSpan,
};
use std::net::Ipv4Addr;

macro_rules! simple {
    ($shape:ident: $($type:ty),*) => {
        $(impl Shaped for $type {
            fn shape() -> Shape {
                Shape::$shape
            }
        })*
    };
}

simple!(Bool: bool);
simple!(Int: u8, u32, u64, i64, Port);
simple!(String: String, TenantName, RepositoryName, ImageName, ExtensionName, UnitName, RepositoryUrl, PushUrl, Reference, Revision, Size, MacAddress, LinkName, Ipv4Addr, SignerName, SshKey, Certificate, TimeSpan, SecretName, Recipient, Digest, Sealed, SecretValue, TargetName, Endpoint, ProjectPath, Script, Capability, Syscalls, SelinuxContext, ApparmorProfile, IdSet, IoClass);
simple!(Any: serde_json::Value);

impl<T: Shaped> Shaped for Option<T> {
    fn shape() -> Shape {
        Shape::Optional(Box::new(T::shape()))
    }
}

impl<T: Shaped> Shaped for Vec<T> {
    fn shape() -> Shape {
        Shape::Array(Box::new(T::shape()))
    }
}

/// The words of an enumeration, which a test of each keeps complete.
fn words(words: &[&str]) -> Shape {
    Shape::Enum(words.iter().map(|word| (*word).to_owned()).collect())
}

impl Shaped for Protocol {
    fn shape() -> Shape {
        words(&["tcp", "udp"])
    }
}

impl Shaped for Hook {
    fn shape() -> Shape {
        words(&["pre_provision", "post_provision", "pre_start", "post_start", "pre_stop"])
    }
}

impl Shaped for InstanceState {
    fn shape() -> Shape {
        words(&["inactive", "activating", "active", "deactivating", "failed"])
    }
}

impl Shaped for Listening {
    fn shape() -> Shape {
        words(&["no", "as_written", "otherwise"])
    }
}

impl Shaped for model::progress::TenantState {
    fn shape() -> Shape {
        words(&[
            "pending",
            "refused",
            "applying",
            "verifying",
            "confirming",
            "verified",
            "stopped",
            "rolled_back",
            "failed",
            "leaving",
        ])
    }
}

impl Shaped for Data {
    fn shape() -> Shape {
        words(&["archive", "delete", "keep"])
    }
}

impl Shaped for Kind {
    fn shape() -> Shape {
        words(&["github", "gitlab", "gitea", "webhook"])
    }
}

impl Shaped for Occasion {
    fn shape() -> Shape {
        model::progress::EventKind::shape()
    }
}

shaped!(Target {
    name: TargetName,
    kind: Kind,
    address: Endpoint,
    project: Option<ProjectPath>,
    events: Vec<Occasion>,
    tenants: Option<Vec<RepositoryName>>,
    since_u_sec: u64,
});
shaped!(Signer { name: SignerName, ssh: Vec<SshKey>, openpgp: Vec<Certificate> });
shaped!(Trust { signers: Vec<Signer>, revoked: Vec<SshKey> });
impl Shaped for model::progress::EventKind {
    fn shape() -> Shape {
        words(&[
            "registered",
            "left",
            "admitted",
            "refused",
            "planned",
            "verified",
            "stopped",
            "rolled_back",
            "failed",
            "floor_lost",
            "suspended",
            "resumed",
            "retried",
            "confirming",
            "confirmed",
            "kept",
            "removed",
        ])
    }
}

impl Shaped for Reason {
    fn shape() -> Shape {
        words(&["wrong_key", "damaged", "wrong_place", "foreign"])
    }
}

shaped!(SealedSecret { name: SecretName, sealed: Sealed });
shaped!(ServiceSpec { unit: UnitName, digest: Digest });
shaped!(SecretSpec { name: SecretName, digest: Digest });
impl Shaped for RemoteState {
    fn shape() -> Shape {
        words(&["used", "spare", "behind", "away", "refused"])
    }
}

impl Shaped for Mirrors {
    fn shape() -> Shape {
        Vec::<RepositoryUrl>::shape()
    }
}

shaped!(Remote { url: RepositoryUrl, state: RemoteState, since_u_sec: u64, reason: Option<String> });
shaped!(Diagnostic { origin: String, line: u32, column: u32, message: String, text: String });
shaped!(Manifest {
    tenant: TenantName,
    left_u_sec: u64,
    repository: Option<RepositoryUrl>,
    reference: Option<Reference>,
    revision: Option<Revision>,
    image: Option<ImageName>,
    uids: Option<UidRange>,
});
shaped!(StorageSpec { image: ImageName });
shaped!(ExtensionSpec { sysext: Vec<ExtensionName> });
shaped!(UidRange { first: u32, count: u32 });
shaped!(Forward { host: Port, tenant: Port, protocol: Protocol });
impl Shaped for NumaPolicy {
    fn shape() -> Shape {
        words(&["default", "preferred", "bind", "interleave", "local"])
    }
}

impl Shaped for OomPolicy {
    fn shape() -> Shape {
        words(&["continue", "kill"])
    }
}

impl Shaped for ManagedOom {
    fn shape() -> Shape {
        words(&["auto", "kill"])
    }
}

shaped!(Limits {
    cpu_cores: Option<u32>,
    cpu_weight: Option<u32>,
    memory: Option<Size>,
    swap: Option<Size>,
    allowed_cpus: Option<IdSet>,
    allowed_memory_nodes: Option<IdSet>,
    managed_oom: Option<ManagedOom>,
    tasks: Option<u32>,
    io_weight: Option<u32>,
    io_read: Option<Size>,
    io_write: Option<Size>,
    io_reads: Option<u32>,
    io_writes: Option<u32>,
});
shaped!(Inherited {
    io_class: Option<IoClass>,
    io_priority: Option<u32>,
    numa_policy: Option<NumaPolicy>,
    numa_mask: Option<IdSet>,
    oom_policy: Option<OomPolicy>,
});
shaped!(Security {
    capabilities: Vec<Capability>,
    allow: Vec<Syscalls>,
    deny: Vec<Syscalls>,
    no_new_privileges: bool,
    selinux_context: Option<SelinuxContext>,
    apparmor_profile: Option<ApparmorProfile>,
});
shaped!(NetworkSpec {
    bridge: LinkName,
    gateway: Ipv4Addr,
    prefix_length: u8,
    address: Ipv4Addr,
    mac: MacAddress,
    forwards: Vec<Forward>,
    on_demand: bool,
});
shaped!(InstanceSpec {
    revision: Revision,
    image: ImageName,
    uids: UidRange,
    bridge: LinkName,
    mac: MacAddress,
    address: Ipv4Addr,
    limits: Limits,
    inherited: Inherited,
    security: Security,
    sysext: Vec<ExtensionName>,
    services: Vec<ServiceSpec>,
    secrets: Vec<SecretSpec>,
    depends_on: Vec<TenantName>,
    hooks: Vec<HookSpec>,
    wake: Option<Wake>,
});
shaped!(Wake { forwards: Vec<Forward>, sleep_after: TimeSpan });
shaped!(HookSpec { hook: Hook, script: Script, timeout: TimeSpan });

/// `prefix_length` as `prefixLength`; systemd spells microseconds `USec`.
pub(crate) fn camel_case(field: &str) -> String {
    let mut words = field.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let mut letters = word.chars();
        name + &letters.next().map(|c| c.to_ascii_uppercase()).into_iter().chain(letters).collect::<String>()
    })
}
