//! What this host follows, for the host that takes its place.

use crate::store::Memory;
use interfaces::orchestrator::Error;
use model::{
    Reference,
    export::{Export, Repository},
    names::RepositoryName,
    registry::Registration,
};

/// The system repository at the commit that is followed, and each tenant's at the commit that held last, or else at the one
/// that the host is made into.
///
/// # Errors
/// The host follows nothing.
pub(crate) fn export(memory: &Memory) -> Result<String, Error> {
    let host = &memory.host;
    let Some(url) = host.url.clone() else { return Err(Error::NotInitialized {}) };
    let failed = |reason: &str| Error::Failed { action: "export".to_owned(), reason: reason.to_owned() };
    let revision =
        host.revision.clone().ok_or_else(|| failed("no commit of the system repository was followed yet"))?;
    let system = Repository {
        name: RepositoryName::system(),
        url,
        mirrors: host.mirrors.clone(),
        reference: host.reference.clone().unwrap_or_else(Reference::main),
        floor: host.bound().cloned(),
        revision,
    };
    let tenants = host.registry.iter().filter_map(|entry| tenant(memory, entry));
    let export = Export::of(host.trust.clone(), [system].into_iter().chain(tenants).collect());
    export.text().map_err(|cause| failed(&cause.to_string()))
}

fn tenant(memory: &Memory, entry: &Registration) -> Option<Repository> {
    let ledger = memory.tenants.get(&entry.name)?;
    let desired = ledger.verified.as_ref().or(ledger.target.as_ref())?;
    Some(Repository {
        name: RepositoryName::from(&entry.name),
        url: entry.repository.clone(),
        mirrors: entry.mirrors.clone(),
        reference: entry.reference.clone(),
        revision: desired.revision.clone(),
        floor: ledger.bound().cloned(),
    })
}
