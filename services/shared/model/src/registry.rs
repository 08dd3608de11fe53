//! tenants/registry.json of the system repository: which tenants there are, where each one's repository is, and what it
//! may ask for.

use crate::{
    diagnostic::Diagnostic,
    document::{Document, declare::record},
    manifest::Version,
    names::TenantName,
    path,
    policy::{Limits, Policy, PolicyFile, PolicyName},
    remote::Mirrors,
    repository::{PushUrl, Reference, RepositoryUrl},
    signer::Trust,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Where it stands in the system repository.
pub const PATH: &str = "tenants/registry.json";

record! {
    /// The tenants of a host.
    Registry {
        /// The format's version, "1.0".
        version: Version,
        /// The policy of the tenants that name none: policies/NAME.json. The built-in one if nothing is said.
        policy: Option<PolicyName>,
        /// The tenants.
        tenants: Vec<Entry>,
    }

    /// One tenant.
    Entry {
        /// Its name, the same as in its metadata.json.
        name: TenantName,
        /// Where its repository is: https://, http://, git://, ssh:// or file://, without user:password@.
        repository: RepositoryUrl,
        /// Where else it is, for the time in which that server does not answer; at most 8, asked in this order.
        mirrors: Mirrors,
        /// Where each commit of it that held is pushed to, over SSH.
        push_mirror as "pushMirror": Option<PushUrl>,
        /// Which of its references counts; refs/heads/main if nothing is said.
        reference: Reference = Reference::main(),
        /// Its policy: policies/NAME.json.
        policy: Option<PolicyName>,
        /// What it may ask for, where that is not as its policy says.
        limits: Limits = Limits::default(),
    }
}

/// A registered tenant and all that it may ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Registration {
    /// Whose.
    pub name: TenantName,
    /// Where its repository is.
    pub repository: RepositoryUrl,
    /// Where else it is.
    #[serde(default)]
    pub mirrors: Mirrors,
    /// Where each commit that held is pushed to.
    #[serde(default)]
    pub push_mirror: Option<PushUrl>,
    /// Which of its references counts.
    pub reference: Reference,
    /// What it may ask for.
    pub policy: Policy,
    /// Who may sign its commits, with their keys; nothing if a commit needs no signature.
    pub trust: Option<Trust>,
    /// Where it is registered: `repository:path:line`.
    pub place: String,
}

impl Registration {
    /// A tenant that nobody registered, as its owner checks it without a host.
    #[must_use]
    pub fn unregistered(name: TenantName, repository: RepositoryUrl) -> Self {
        let (reference, policy) = (Reference::main(), Policy::built_in());
        let mirrors = Mirrors::default();
        Self {
            name,
            repository,
            mirrors,
            push_mirror: None,
            reference,
            policy,
            trust: None,
            place: "nowhere".to_owned(),
        }
    }
}

/// The tenants of a registry, each with its policy from `files`, which holds each policy that could be read. Their
/// signers' keys are not read here.
///
/// # Errors
/// Everything that contradicts itself: two tenants of one name, a policy that is not there.
pub fn resolve(
    registry: &Document<Registry>,
    files: &BTreeMap<PolicyName, Document<PolicyFile>>,
    is_broken: impl Fn(&PolicyName) -> bool,
) -> Result<Vec<Registration>, Vec<Diagnostic>> {
    let (mut faults, mut seen, mut registrations) = (Vec::new(), BTreeMap::new(), Vec::new());
    let Registry { policy: usual, tenants, .. } = &registry.content;
    let mut named = |name: &PolicyName, path: &[crate::document::Step<'_>]| {
        let file = files.get(name);
        // What is wrong with a broken file is said there.
        if file.is_none() && !is_broken(name) {
            faults.push(
                registry.fault(path, &format!("there is no policy {name}: the repository has no file {}", name.path())),
            );
        }
        file
    };
    let usual_file = usual.as_ref().and_then(|name| named(name, path!["policy"]));
    let files: Vec<_> = tenants
        .iter()
        .enumerate()
        .map(|(index, entry)| match &entry.policy {
            Some(name) => named(name, path!["tenants", index, "policy"]),
            None => usual_file,
        })
        .collect();
    for (index, (entry, file)) in tenants.iter().zip(files).enumerate() {
        if let Some(first) = seen.insert(&entry.name, index) {
            let place = registry.place(path!["tenants", first, "name"]);
            let message = format!("the tenant {} is registered already, at {place}", entry.name);
            faults.push(registry.fault(path!["tenants", index, "name"], &message));
        }
        if let Some(mirror) = entry.mirrors.as_slice().iter().position(|mirror| *mirror == entry.repository) {
            let place = registry.place(path!["tenants", index, "repository"]);
            let message = format!("{} is the repository itself, at {place}, and no mirror of it", entry.repository);
            faults.push(registry.fault(path!["tenants", index, "mirrors", mirror], &message));
        }
        let policy = file.map_or_else(Policy::built_in, |file| Policy::built_in().overlaid_by_file(file));
        let policy = policy.overlaid(&entry.limits, |field| {
            let field: Vec<_> = path!["tenants", index, "limits"].iter().chain(field).copied().collect();
            registry.place(&field)
        });
        registrations.push(Registration {
            name: entry.name.clone(),
            repository: entry.repository.clone(),
            mirrors: entry.mirrors.clone(),
            push_mirror: entry.push_mirror.clone(),
            reference: entry.reference.clone(),
            policy,
            trust: None,
            place: registry.place(path!["tenants", index]),
        });
    }
    if faults.is_empty() { Ok(registrations) } else { Err(faults) }
}
