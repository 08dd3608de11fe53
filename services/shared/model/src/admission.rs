//! A tenant's request, held against what the host allows and has: a desired tenant, or every reason why not, each at its
//! place in the request.

mod dependencies;
mod machine;
mod resources;
mod retention;
mod security;

use crate::{
    claim::Claim,
    config,
    desired::DesiredTenant,
    diagnostic::{self, Diagnostic},
    document::{Document, Step},
    inherited::Inherited,
    manifest::{self, Activation, Manifest, Tenant},
    names::{ExtensionName, TenantName},
    path,
    policy::{Limit, Pattern, Policy},
    registry::Registration,
    repository::Revision,
    security::SecurityModules,
    time::TimeSpan,
    tree::{Request, System, distinct},
    wake,
};
use std::{collections::BTreeSet, fmt};

pub use machine::{KEPT_FREE, Machine, OLDEST_SYSTEMD, systemd_version};

/// How long a tenant's services have to hold if its repository does not say.
const HEALTHY_FOR: TimeSpan = TimeSpan::of(5);

/// What the host has, apart from what its policy allows.
#[derive(Debug)]
pub struct Host<'a> {
    /// The other tenants of this host.
    pub others: &'a [&'a DesiredTenant],
    /// All tenants that are registered.
    pub registered: &'a BTreeSet<TenantName>,
    /// What could be learnt of the machine, if the tenant's root has yet to be made.
    pub machine: Option<&'a Machine>,
    /// The security modules that its kernel runs, if that could be learnt.
    pub modules: Option<SecurityModules>,
}

/// A request and everything that it is held against.
struct Case<'a> {
    request: &'a Request,
    registration: &'a Registration,
    host: &'a Host<'a>,
}

type Check = fn(&Case<'_>) -> Vec<Diagnostic>;

/// The checks, by name, so that a test can leave out each in turn.
const CHECKS: [(&str, Check); 28] = [
    ("name", |case| case.name()),
    ("cores", |case| {
        case.within(path!["resources", "cpu", "cores"], case.asks().resources.cpu.cores, &case.policy().cores, "cores")
    }),
    ("memory", |case| {
        case.within(
            path!["resources", "memory", "limit"],
            case.asks().resources.memory.limit,
            &case.policy().memory,
            "of memory",
        )
    }),
    ("swap", |case| {
        case.within(
            path!["resources", "memory", "swap"],
            case.asks().resources.memory.swap,
            &case.policy().swap,
            "of swap",
        )
    }),
    ("allowed processors", |case| case.allowed_cpus()),
    ("allowed memory nodes", |case| case.allowed_memory_nodes()),
    ("tasks", |case| case.tasks()),
    ("io", |case| case.io()),
    ("root", |case| {
        case.within(
            path!["resources", "storage", "root"],
            case.asks().resources.storage.root,
            &case.policy().root,
            "for the root volume",
        )
    }),
    ("data", |case| {
        case.within(
            path!["resources", "storage", "data"],
            case.asks().resources.storage.data,
            &case.policy().data,
            "for the data volume",
        )
    }),
    ("snapshots", |case| case.snapshots()),
    ("grace", |case| case.grace()),
    ("leaving", |case| case.leaving()),
    ("modes", |case| case.mode()),
    ("vlans", |case| case.vlan()),
    ("ports", |case| case.ports()),
    ("images", |case| case.image()),
    ("sysext", |case| case.names(path!["extensions", "sysext"], &case.asks().extensions.sysext)),
    ("confext", |case| case.names(path!["extensions", "confext"], &case.asks().extensions.confext)),
    ("portable", |case| case.names(path!["services", "portable"], &case.asks().services.portable)),
    ("capabilities", |case| case.capabilities()),
    ("syscalls", |case| case.syscalls()),
    ("selinux", |case| case.selinux()),
    ("apparmor", |case| case.apparmor()),
    ("claims", |case| case.claims()),
    ("dependencies", |case| case.dependencies()),
    ("cycles", |case| case.cycles()),
    ("machine", |case| case.machine()),
];

/// Turns the request of `revision` into a desired tenant.
///
/// # Errors
/// Every part of the request that goes beyond the tenant's policy, belongs to another tenant, or cannot be had on this host.
pub fn admit(
    request: &Request,
    registration: &Registration,
    revision: &Revision,
    host: &Host<'_>,
) -> Result<DesiredTenant, Vec<Diagnostic>> {
    let case = Case { request, registration, host };
    let faults: Vec<Diagnostic> = CHECKS.iter().flat_map(|(_, check)| check(&case)).collect();
    if faults.is_empty() { Ok(case.desired(revision)) } else { Err(diagnostic::in_order(faults)) }
}

impl Case<'_> {
    fn asks(&self) -> &Manifest {
        &self.request.manifest.content
    }

    fn document(&self) -> &Document<Manifest> {
        &self.request.manifest
    }

    fn policy(&self) -> &Policy {
        &self.registration.policy
    }

    fn fault(&self, path: &[Step<'_>], message: &str) -> Vec<Diagnostic> {
        vec![self.document().fault(path, message)]
    }

    fn name(&self) -> Vec<Diagnostic> {
        if self.asks().tenant.name == self.registration.name {
            return Vec::new();
        }
        let message = format!(
            "the registry calls this tenant {}, not {}, at {}",
            self.registration.name,
            self.asks().tenant.name,
            self.registration.place
        );
        self.fault(path!["tenant", "name"], &message)
    }

    fn within<T: PartialOrd + fmt::Display>(
        &self,
        path: &[Step<'_>],
        asked: Option<T>,
        limit: &Limit<T>,
        what: &str,
    ) -> Vec<Diagnostic> {
        match asked {
            Some(asked) if asked > limit.most => {
                let message = format!("{asked} {what} is more than {}, the limit set by {}", limit.most, limit.place);
                self.fault(path, &message)
            }
            Some(_) | None => Vec::new(),
        }
    }

    fn snapshots(&self) -> Vec<Diagnostic> {
        let Some(config) = &self.request.config else { return Vec::new() };
        let (asked, limit) = (config.content.retention.snapshots, &self.policy().snapshots);
        match asked {
            Some(asked) if asked > limit.most => {
                let message =
                    format!("{asked} snapshots are more than {}, the limit set by {}", limit.most, limit.place);
                vec![config.fault(path!["retention", "snapshots"], &message)]
            }
            Some(_) | None => Vec::new(),
        }
    }

    /// Each item is allowed by `limit`, or is a fault that says what is.
    fn among<T: fmt::Display, U: fmt::Display>(
        &self,
        path: &[Step<'_>],
        items: &[T],
        limit: &Limit<Vec<U>>,
        allows: impl Fn(&U, &T) -> bool,
    ) -> Vec<Diagnostic> {
        let refused =
            items.iter().enumerate().filter(|(_, item)| !limit.most.iter().any(|allowed| allows(allowed, item)));
        refused
            .flat_map(|(index, item)| {
                let path: Vec<_> = path.iter().copied().chain([Step::Element(index)]).collect();
                self.fault(&path, &not_allowed(item, limit))
            })
            .collect()
    }

    fn listed<T: PartialEq + fmt::Display>(
        &self,
        path: &[Step<'_>],
        items: &[T],
        limit: &Limit<Vec<T>>,
    ) -> Vec<Diagnostic> {
        self.among(path, items, limit, PartialEq::eq)
    }

    fn names(&self, path: &[Step<'_>], names: &[ExtensionName]) -> Vec<Diagnostic> {
        self.among(path, names, &self.policy().extensions, |pattern: &Pattern, name| pattern.matches(name.as_str()))
    }

    fn image(&self) -> Vec<Diagnostic> {
        let (image, limit) = (&self.asks().image, &self.policy().images);
        if limit.most.iter().any(|pattern| pattern.matches(image.as_str())) {
            return Vec::new();
        }
        self.fault(path!["image"], &not_allowed(image, limit))
    }

    fn mode(&self) -> Vec<Diagnostic> {
        let (mode, limit) = (self.asks().network.mode, &self.policy().modes);
        if limit.most.contains(&mode) {
            return Vec::new();
        }
        self.fault(path!["network", "mode"], &not_allowed(&format!("the network mode {mode}"), limit))
    }

    fn vlan(&self) -> Vec<Diagnostic> {
        let limit = &self.policy().vlans;
        match self.asks().network.vlan {
            Some(vlan) if !limit.most.iter().any(|range| range.contains(vlan)) => {
                self.fault(path!["network", "vlan"], &not_allowed(&format!("VLAN {vlan}"), limit))
            }
            Some(_) | None => Vec::new(),
        }
    }

    fn ports(&self) -> Vec<Diagnostic> {
        let limit = &self.policy().ports;
        let forwards = self.asks().network.forward.iter().enumerate();
        let refused = forwards.filter(|(_, forward)| !limit.most.iter().any(|range| range.contains(forward.host)));
        refused
            .flat_map(|(index, forward)| {
                let message = not_allowed(&format!("the host's port {}", forward.host), limit);
                self.fault(path!["network", "forward", index, "host"], &message)
            })
            .collect()
    }

    fn claims(&self) -> Vec<Diagnostic> {
        let others = self.host.others.iter().filter(|other| other.name != self.registration.name && other.enabled);
        let held: BTreeSet<Claim> = others.flat_map(|other| other.claims()).collect();
        let own = Claim::of(self.asks()).into_iter().filter(|(claim, _)| held.contains(claim));
        own.flat_map(|(claim, path)| {
            // Whose it is, is not this tenant's business.
            self.fault(&path, &format!("{claim} belongs to another tenant of this host already"))
        })
        .collect()
    }

    fn sleep_after(&self) -> Option<TimeSpan> {
        let Tenant { activation, sleep_after, .. } = self.asks().tenant;
        let healthy_for = self.request.settings().healthy.unwrap_or(HEALTHY_FOR);
        match activation {
            Activation::Always => None,
            Activation::OnDemand => Some(wake::sleep_after(sleep_after, healthy_for)),
        }
    }

    fn desired(&self, revision: &Revision) -> DesiredTenant {
        let (asks, policy) = (self.asks(), self.policy());
        let verify = self.request.settings();
        DesiredTenant {
            name: self.registration.name.clone(),
            revision: revision.clone(),
            enabled: asks.tenant.enabled,
            image: asks.image.clone(),
            depends_on: asks.depends_on.clone(),
            limits: resources::granted(&asks.resources, policy),
            inherited: Inherited::asked(&asks.resources),
            security: security::granted(&asks.security),
            forwards: asks.network.forward.clone(),
            claims: Claim::of(asks).into_iter().map(|(claim, _)| claim).collect(),
            sysext: distinct(&asks.extensions.sysext),
            services: self.request.services.iter().map(|service| service.spec(revision)).collect(),
            secrets: self.request.secrets.iter().flat_map(|file| &file.content.secrets).map(Into::into).collect(),
            hooks: self.request.hooks(),
            healthy_for_usec: healthy_for_usec(verify.healthy),
            noticing: self.request.noticing(),
            confirm: verify.confirm,
            sleep_after: self.sleep_after(),
            retention: self.retention(),
            not_in_effect: self.not_in_effect(),
        }
    }
}

fn not_allowed<T: fmt::Display, U: fmt::Display>(asked: &T, limit: &Limit<Vec<U>>) -> String {
    let allowed: Vec<String> = limit.most.iter().map(ToString::to_string).collect();
    let allowed = if allowed.is_empty() { "none".to_owned() } else { allowed.join(", ") };
    format!("{asked} is not allowed; allowed: {allowed}, set by {}", limit.place)
}

fn healthy_for_usec(said: Option<TimeSpan>) -> u64 {
    let long = said.unwrap_or(HEALTHY_FOR).duration();
    u64::try_from(long.as_micros()).unwrap_or(u64::MAX)
}

/// CPUWeight= for cgroup v1 style shares: 1024 shares are the default weight of 100.
fn cpu_weight(shares: u32) -> u32 {
    (shares.saturating_mul(100) / 1024).clamp(1, 10_000)
}

/// What can be asked for, is checked, and has no effect on hosts of this version yet: fields by file.
pub const NOT_IN_EFFECT: [(&str, &[&str]); 2] = [
    (
        manifest::PATH,
        &["resources.storage", "network.interfaces", "network.vlan", "extensions.confext", "services.portable"],
    ),
    (config::PATH, &["retention.snapshots", "maintenance"]),
];

/// What is asked for, valid, and without effect here: said in `status` rather than passed over.
#[must_use]
pub fn not_in_effect(request: &Request) -> Vec<String> {
    let mut said = said_without_effect(&request.manifest, manifest::PATH);
    said.extend(request.config.iter().flat_map(|config| said_without_effect(config, config::PATH)));
    said
}

/// The same of a system repository.
#[must_use]
pub fn system_not_in_effect(system: &System) -> Vec<String> {
    system.config.iter().flat_map(|config| said_without_effect(config, config::PATH)).collect()
}

/// The same of one file.
fn said_without_effect<T>(document: &Document<T>, file: &str) -> Vec<String> {
    let fields = NOT_IN_EFFECT.iter().filter(|(path, _)| *path == file).flat_map(|(_, fields)| fields.iter());
    let said = fields.filter(|field| document.says(&field.split('.').map(Step::Field).collect::<Vec<_>>()));
    said.map(|field| (*field).to_owned()).collect()
}

/// What hosts of this version refuse, whatever their policy.
#[must_use]
pub fn not_supported(request: &Request) -> Vec<Diagnostic> {
    machine::not_supported(&request.manifest)
}

#[cfg(test)]
mod tests;
