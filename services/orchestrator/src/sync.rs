//! Brings what Git says now into the ledger: the registry from the system repository, a target from each tenant's.

use crate::{
    engine::{Engine, Look},
    store::now_usec,
};
use host::files;
use interfaces::{git_sync, tenant as instance};
use model::{
    Diagnostic, Reference, RepositoryUrl, Revision, TenantName,
    admission::{self, Host},
    config::Config,
    desired::DesiredTenant,
    document::LARGEST_DOCUMENT,
    names::RepositoryName,
    registry::{Entry, Registry},
};
use planner::TenantLedger;
use runtime::client::CallError;
use std::path::{Path, PathBuf};
use tracing::{info, warn};

/// A commit that was fetched and checked out.
struct CheckedOut {
    revision: Revision,
    path: PathBuf,
}

/// Why a repository's commit is not used.
enum Unusable {
    /// Nothing is known of it: the server or the host failed.
    Unreachable(String),
    /// It was fetched, and cannot be used.
    Refused(Revision, String),
}

impl Engine {
    /// Looks at every repository and converges.
    pub(crate) async fn sync_all(&self) {
        self.look_at_system().await;
        let tenants: Vec<TenantName> = self.store.memory().tenants.keys().cloned().collect();
        self.each(tenants, |engine, tenant| async move { drop(engine.look_at(&tenant).await) }).await;
    }

    /// Looks at the system repository, and at the tenants' of those whose entries differ.
    pub(crate) async fn sync_registry(&self) {
        let changed = self.look_at_system().await;
        self.each(changed, |engine, tenant| async move { drop(engine.look_at(&tenant).await) }).await;
    }

    /// Looks at the system repository soon. Gives the tenants that came, left, or are registered otherwise than before.
    pub(crate) fn look_at_system(&self) -> Look {
        self.look(RepositoryName::system(), |engine, begun| async move {
            let _turn = engine.system_turn.lock().await;
            drop(begun);
            engine.sync_system().await
        })
    }

    /// Looks at one tenant's repository soon, and converges.
    pub(crate) fn look_at(&self, tenant: &TenantName) -> Look {
        let tenant = tenant.clone();
        self.look(RepositoryName::from(&tenant), |engine, begun| async move {
            let _turn = engine.turns.take(&tenant).await;
            drop(begun);
            engine.sync_tenant(&tenant).await;
            vec![tenant]
        })
    }

    async fn sync_system(&self) -> Vec<TenantName> {
        let (url, reference) = {
            let memory = self.store.memory();
            let Some(url) = memory.host.url.clone() else { return Vec::new() };
            (url, memory.host.reference.clone().unwrap_or_else(Reference::main))
        };
        let read = match self.fetch(&RepositoryName::system(), &url, &reference).await {
            Ok(checkout) => read_registry(&checkout.path)
                .map(|entries| (checkout.revision.clone(), entries))
                .map_err(|fault| Unusable::Refused(checkout.revision, fault.text)),
            Err(unusable) => Err(unusable),
        };
        let mut moved = Vec::new();
        let remembered = self.store.change_host(|host| match read {
            Ok((revision, entries)) => {
                if host.revision.as_ref() != Some(&revision) {
                    info!(%revision, tenants = entries.len(), "the registry is followed");
                }
                let changed = concerned(&host.registry, &entries);
                moved = moved_away(&host.registry, &entries);
                host.wanted = Some(revision.clone());
                host.revision = Some(revision);
                host.registry = entries;
                (host.reason, host.unreachable) = (None, None);
                changed
            }
            Err(Unusable::Unreachable(reason)) => {
                host.unreachable = Some(reason);
                Vec::new()
            }
            Err(Unusable::Refused(revision, reason)) => {
                warn!(%revision, "the registry is refused:\n{reason}");
                host.wanted = Some(revision);
                (host.reason, host.unreachable) = (Some(reason), None);
                Vec::new()
            }
        });
        let mut changed = remembered.unwrap_or_else(|error| {
            warn!("{}", runtime::chain(&error));
            Vec::new()
        });
        moved.iter().for_each(|tenant| self.remember(tenant, |ledger, _| ledger.moved()));
        changed.extend(self.register());
        changed.sort();
        changed.dedup();
        self.poll().await;
        changed
    }

    /// Makes the ledger know the registry's tenants. Returns those that it did not know as they are.
    fn register(&self) -> Vec<TenantName> {
        let (registered, known): (Vec<TenantName>, Vec<(TenantName, bool)>) = {
            let memory = self.store.memory();
            let registered = memory.host.registry.iter().map(|entry| entry.name.clone()).collect();
            (registered, memory.tenants.iter().map(|(name, ledger)| (name.clone(), ledger.registered)).collect())
        };
        let mut changed = Vec::new();
        for name in &registered {
            if known.iter().all(|(known, _)| known != name) {
                changed.push(name.clone());
                if let Err(error) = self.store.remember(name, TenantLedger::new(now_usec())) {
                    warn!(tenant = %name, "{}", runtime::chain(&error));
                }
            }
        }
        for (name, was) in known {
            let is = registered.contains(&name);
            if is != was {
                if let Err(error) = self.change(&name, |ledger, _| ledger.registered = is) {
                    warn!(tenant = %name, "{}", runtime::chain(&error));
                }
                changed.push(name);
            }
        }
        changed
    }

    async fn poll(&self) {
        let tenants: Vec<TenantName> =
            self.store.memory().host.registry.iter().map(|entry| entry.name.clone()).collect();
        if let Err(error) = self.services.call(&instance::EnsurePolling { tenants }).await {
            warn!("repositories are not polled: {}", runtime::chain(&error));
        }
    }

    /// Fetches, admits and converges, in the tenant's turn: nothing that is fetched is let go of before it was read.
    async fn sync_tenant(&self, tenant: &TenantName) {
        let entry = self.store.memory().host.registry.iter().find(|entry| entry.name == *tenant).cloned();
        if let Some(entry) = entry {
            let fetched = self.fetch(&RepositoryName::from(tenant), &entry.repository, &entry.reference).await;
            if let Err(error) = self.admit(&entry, fetched) {
                warn!(%tenant, "{}", runtime::chain(&error));
                return;
            }
        }
        self.reconcile_in_turn(tenant).await;
    }

    fn admit(&self, entry: &Entry, fetched: Result<CheckedOut, Unusable>) -> Result<(), files::FileError> {
        let tenant = &entry.name;
        let taken = self.change(tenant, |ledger, memory| {
            let admitted = match fetched {
                Err(Unusable::Unreachable(reason)) => {
                    ledger.unreachable = Some(reason);
                    return None;
                }
                Err(Unusable::Refused(revision, reason)) => Err((revision, reason)),
                Ok(checkout) => {
                    let others: Vec<&DesiredTenant> = memory
                        .tenants
                        .iter()
                        .filter(|(name, other)| *name != tenant && other.registered)
                        .filter_map(|(_, other)| other.target.as_ref())
                        .collect();
                    read_request(&checkout, entry, &others).map_err(|fault| (checkout.revision, fault.text))
                }
            };
            ledger.unreachable = None;
            match admitted {
                Ok(desired) => ledger.admit(desired.clone()).then_some(desired.revision),
                Err((revision, reason)) => {
                    if ledger.wanted.as_ref() != Some(&revision) {
                        warn!(%tenant, %revision, "refused:\n{reason}");
                    }
                    ledger.refuse(revision, reason, now_usec());
                    None
                }
            }
        })?;
        if let Some(Some(revision)) = taken {
            info!(%tenant, %revision, "admitted");
        }
        Ok(())
    }

    async fn fetch(
        &self,
        repository: &RepositoryName,
        url: &RepositoryUrl,
        reference: &Reference,
    ) -> Result<CheckedOut, Unusable> {
        let fetch = git_sync::Fetch { repository: repository.clone(), url: url.clone(), reference: reference.clone() };
        let unreachable = |error: CallError<git_sync::Error>| Unusable::Unreachable(runtime::chain(&error));
        let revision = self.services.call(&fetch).await.map_err(unreachable)?.revision;
        let checkout = git_sync::Checkout { repository: repository.clone(), revision: revision.clone() };
        match self.services.call(&checkout).await {
            Ok(made) => Ok(CheckedOut { revision, path: PathBuf::from(made.path) }),
            Err(CallError::Failed(git_sync::Error::RefusedContent { path, reason, .. })) => {
                let fault = Diagnostic::of_file(&format!("{repository}:{path}"), &reason);
                Err(Unusable::Refused(revision, fault.text))
            }
            Err(error) => Err(unreachable(error)),
        }
    }
}

/// The tenants whose entries differ.
fn concerned(before: &[Entry], after: &[Entry]) -> Vec<TenantName> {
    let gone = before.iter().filter(|old| !after.contains(old));
    let new = after.iter().filter(|new| !before.contains(new));
    gone.chain(new).map(|entry| entry.name.clone()).collect()
}

/// The tenants whose repository is another one.
fn moved_away(before: &[Entry], after: &[Entry]) -> Vec<TenantName> {
    let moved = |old: &&Entry| after.iter().any(|new| new.name == old.name && new.repository != old.repository);
    before.iter().filter(moved).map(|entry| entry.name.clone()).collect()
}

fn read_registry(checkout: &Path) -> Result<Vec<Entry>, Diagnostic> {
    read_config("system", checkout)?;
    let bytes = read("system", checkout, "tenants/registry.json")?;
    Registry::parse("system:tenants/registry.json", &bytes).map(|document| document.content.tenants)
}

fn read_request(checkout: &CheckedOut, entry: &Entry, others: &[&DesiredTenant]) -> Result<DesiredTenant, Diagnostic> {
    let tenant = entry.name.as_str();
    read_config(tenant, &checkout.path)?;
    let bytes = read(tenant, &checkout.path, "metadata.json")?;
    let ships = |unit: &model::UnitName| {
        let mut names = unit.shipped_as().into_iter();
        names.any(|name| files::read_beneath(&checkout.path, &Path::new("units").join(name), LARGEST_DOCUMENT).is_ok())
    };
    let host = Host { entry, others, ships: &ships };
    admission::admit(&format!("{tenant}:metadata.json"), &bytes, &checkout.revision, &host)
}

/// A repository need not have one.
fn read_config(repository: &str, checkout: &Path) -> Result<(), Diagnostic> {
    const CONFIG: &str = ".gitops/config.yaml";
    match files::read_beneath(checkout, Path::new(CONFIG), LARGEST_DOCUMENT) {
        Ok(bytes) => Config::parse(&format!("{repository}:{CONFIG}"), &bytes).map(drop),
        Err(error) if error.is_absent() => Ok(()),
        Err(error) => Err(Diagnostic::of_file(&format!("{repository}:{CONFIG}"), &error.cause.to_string())),
    }
}

fn read(repository: &str, checkout: &Path, file: &str) -> Result<Vec<u8>, Diagnostic> {
    files::read_beneath(checkout, Path::new(file), LARGEST_DOCUMENT).map_err(|error| {
        let message = if error.is_absent() { "there is no such file".to_owned() } else { error.cause.to_string() };
        Diagnostic::of_file(&format!("{repository}:{file}"), &message)
    })
}
