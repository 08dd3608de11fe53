//! What a tenant should be once its repository's request was admitted: one specification per owning service.

use crate::{
    claim::Claim,
    hooks::{Hook, HookSpec},
    identity::{PREFIX_LENGTH, Slot, UidRange},
    ids::IdSet,
    inherited::Inherited,
    manifest::ManagedOom,
    names::{ExtensionName, ImageName, TenantName, UnitName},
    network::{Forward, LinkName, MacAddress, NetworkSpec},
    noticing::Noticing,
    repository::Revision,
    retention::Retention,
    secrets::SecretSpec,
    security::Security,
    services::ServiceSpec,
    size::Size,
    time::TimeSpan,
    wake::Wake,
};
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// A tenant as one commit asks for it and the host allows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DesiredTenant {
    /// Whose.
    pub name: TenantName,
    /// The commit that asks.
    pub revision: Revision,
    /// Whether it should run.
    pub enabled: bool,
    /// The base image of its root.
    pub image: ImageName,
    /// Tenants that have to run before it does.
    pub depends_on: Vec<TenantName>,
    /// What it may use.
    pub limits: Limits,
    /// What its processes have from the first one.
    #[serde(default)]
    pub inherited: Inherited,
    /// What confines it beyond what always does.
    #[serde(default)]
    pub security: Security,
    /// The ports that lead to it.
    pub forwards: Vec<Forward>,
    /// What no other tenant of the host may have.
    pub claims: Vec<Claim>,
    /// Its system extensions, lowest layer first.
    pub sysext: Vec<ExtensionName>,
    /// Its services: units that its repository ships, wanted by its multi-user.target.
    pub services: Vec<ServiceSpec>,
    /// The sealed values that it is started with.
    #[serde(default)]
    pub secrets: Vec<SecretSpec>,
    /// Its scripts that run around changes.
    #[serde(default)]
    pub hooks: Vec<HookSpec>,
    /// How long its services have to be active without a break, in microseconds.
    pub healthy_for_usec: u64,
    /// How new commits of its repository are noticed.
    #[serde(default)]
    pub noticing: Noticing,
    /// How long somebody has to confirm it, or it is taken back; none if nobody has to.
    #[serde(default)]
    pub confirm: Option<TimeSpan>,
    /// It sleeps when nobody has been connected to its ports for so long; none if it always runs.
    #[serde(default)]
    pub sleep_after: Option<TimeSpan>,
    /// What becomes of it when it leaves.
    #[serde(default)]
    pub retention: Retention,
    /// What its repository says, is valid and has no effect on this host yet, as `security`.
    pub not_in_effect: Vec<String>,
}

/// What a tenant may use of the machine. Nothing said means no limit of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Limits {
    /// Processor time, in cores.
    pub cpu_cores: Option<u32>,
    /// CPUWeight= (systemd.resource-control(5)), 1 to 10000.
    pub cpu_weight: Option<u32>,
    /// MemoryMax=.
    pub memory: Option<Size>,
    /// MemorySwapMax=.
    pub swap: Option<Size>,
    /// AllowedCPUs=.
    pub allowed_cpus: Option<IdSet>,
    /// AllowedMemoryNodes=.
    pub allowed_memory_nodes: Option<IdSet>,
    /// ManagedOOMMemoryPressure=.
    pub managed_oom: Option<ManagedOom>,
    /// TasksMax=.
    pub tasks: Option<u32>,
    /// IOWeight=, 1 to 10000.
    pub io_weight: Option<u32>,
    /// IOReadBandwidthMax= of the device that holds the tenant, per second.
    pub io_read: Option<Size>,
    /// IOWriteBandwidthMax= of the same.
    pub io_write: Option<Size>,
    /// IOReadIOPSMax= of the same.
    pub io_reads: Option<u32>,
    /// IOWriteIOPSMax= of the same.
    pub io_writes: Option<u32>,
}

/// What storage keeps for a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StorageSpec {
    /// The base image that the tenant's root was made from.
    pub image: ImageName,
}

/// What the extension service keeps for a tenant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExtensionSpec {
    /// The system extensions, lowest layer first.
    pub sysext: Vec<ExtensionName>,
}

/// What the tenant manager starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InstanceSpec {
    /// The commit whose checkout the tenant sees at /srv/config.
    pub revision: Revision,
    /// The base image that its root was made from.
    pub image: ImageName,
    /// The uids of its user namespace.
    pub uids: UidRange,
    /// The bridge that its link is put on.
    pub bridge: LinkName,
    /// The hardware address of its side of the link.
    pub mac: MacAddress,
    /// Its address, for people.
    pub address: Ipv4Addr,
    /// What it may use.
    pub limits: Limits,
    /// What its processes have from the first one.
    #[serde(default)]
    pub inherited: Inherited,
    /// What confines it beyond what always does.
    #[serde(default)]
    pub security: Security,
    /// Its system extensions, lowest layer first.
    pub sysext: Vec<ExtensionName>,
    /// The units from its repository, and what each is started with.
    pub services: Vec<ServiceSpec>,
    /// The sealed values of its commit that it is started with.
    #[serde(default)]
    pub secrets: Vec<SecretSpec>,
    /// The tenants that are started before it, if they are started with it.
    #[serde(default)]
    pub depends_on: Vec<TenantName>,
    /// Its scripts that run around changes.
    #[serde(default)]
    pub hooks: Vec<HookSpec>,
    /// What wakes it, if it is activated on demand.
    #[serde(default)]
    pub wake: Option<Wake>,
}

impl InstanceSpec {
    /// What runs at a moment, if anything does.
    #[must_use]
    pub fn hook(&self, hook: Hook) -> Option<&HookSpec> {
        self.hooks.iter().find(|spec| spec.hook == hook)
    }

    /// The same with what of `wanted` is nothing that is shown inside: it counts at once.
    #[must_use]
    pub fn hot(&self, wanted: &Self) -> Self {
        Self {
            limits: wanted.limits.clone(),
            depends_on: wanted.depends_on.clone(),
            wake: wanted.wake.clone(),
            ..self.clone()
        }
    }

    /// Whether what runs `running` can become this without being started anew: what is shown to it and what it may use may
    /// be others, but for the ground that it stands on.
    #[must_use]
    pub fn stands_on_the_same(&self, running: &Self) -> bool {
        let Self { revision, limits, depends_on, services, secrets, hooks, wake, .. } = self.clone();
        Self { revision, limits, depends_on, services, secrets, hooks, wake, ..running.clone() } == *self
    }

    /// The services that run with something else than what this has for them.
    pub fn changed_services<'a>(&'a self, running: &'a Self) -> impl Iterator<Item = &'a ServiceSpec> {
        self.services.iter().filter(|wanted| {
            running.services.iter().any(|runs| runs.unit == wanted.unit && runs.digest != wanted.digest)
        })
    }

    /// The units of this that `other` does not have.
    pub fn services_beyond<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a UnitName> {
        self.services.iter().map(|own| &own.unit).filter(|unit| other.services.iter().all(|have| have.unit != **unit))
    }
}

impl DesiredTenant {
    /// What no other tenant of the host may have.
    pub fn claims(&self) -> impl Iterator<Item = Claim> {
        self.claims.iter().copied()
    }

    /// What storage should hold.
    #[must_use]
    pub fn storage(&self) -> StorageSpec {
        StorageSpec { image: self.image.clone() }
    }

    /// What the network should hold for the tenant in `slot`.
    #[must_use]
    pub fn network(&self, slot: Slot) -> NetworkSpec {
        NetworkSpec {
            bridge: slot.bridge(),
            gateway: slot.gateway(),
            prefix_length: PREFIX_LENGTH,
            address: slot.address(),
            mac: slot.mac(),
            forwards: self.forwards_in_order(),
            on_demand: self.sleep_after.is_some(),
        }
    }

    fn forwards_in_order(&self) -> Vec<Forward> {
        let mut forwards = self.forwards.clone();
        forwards.sort_unstable();
        forwards
    }

    /// What the extension service should hold.
    #[must_use]
    pub fn extensions(&self) -> ExtensionSpec {
        ExtensionSpec { sysext: self.sysext.clone() }
    }

    /// What should run for the tenant in `slot`.
    #[must_use]
    pub fn instance(&self, slot: Slot) -> InstanceSpec {
        InstanceSpec {
            revision: self.revision.clone(),
            image: self.image.clone(),
            uids: slot.uids(),
            bridge: slot.bridge(),
            mac: slot.mac(),
            address: slot.address(),
            limits: self.limits.clone(),
            inherited: self.inherited.clone(),
            security: self.security.clone(),
            sysext: self.sysext.clone(),
            services: self.services.clone(),
            secrets: self.secrets.clone(),
            depends_on: self.depends_on.clone(),
            hooks: self.hooks.clone(),
            wake: self.sleep_after.map(|sleep_after| Wake { forwards: self.forwards_in_order(), sleep_after }),
        }
    }
}
