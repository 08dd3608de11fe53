//! Brings what Git says now into the ledger: the registry from the system repository, a target from each tenant's.

use crate::{
    engine::{Engine, Look},
    store::now_usec,
};
use host::{files, worktree::WorkTree};
use interfaces::{git_sync, tenant as instance};
use model::{
    Diagnostic, Reference, RepositoryUrl, Revision, TenantName,
    admission::{self, Host},
    desired::DesiredTenant,
    names::RepositoryName,
    registry::Registration,
    tree::{Request, System},
};
use planner::TenantLedger;
use runtime::client::CallError;
use std::path::PathBuf;
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
            Ok(checkout) => match System::read("system", &WorkTree::at(&checkout.path)) {
                Ok(system) => Ok((checkout.revision, system.registrations)),
                Err(faults) => Err(Unusable::Refused(checkout.revision, in_full(&faults))),
            },
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

    fn admit(&self, entry: &Registration, fetched: Result<CheckedOut, Unusable>) -> Result<(), files::FileError> {
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
                    let registered = memory.host.registry.iter().map(|entry| entry.name.clone()).collect();
                    let host = Host { others: &others, registered: &registered, machine: None };
                    Request::read(tenant.as_str(), &WorkTree::at(&checkout.path))
                        .and_then(|request| admission::admit(&request, entry, &checkout.revision, &host))
                        .map_err(|faults| (checkout.revision, in_full(&faults)))
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
fn concerned(before: &[Registration], after: &[Registration]) -> Vec<TenantName> {
    let gone = before.iter().filter(|old| !after.contains(old));
    let new = after.iter().filter(|new| !before.contains(new));
    gone.chain(new).map(|entry| entry.name.clone()).collect()
}

/// The tenants whose repository is another one.
fn moved_away(before: &[Registration], after: &[Registration]) -> Vec<TenantName> {
    let moved = |old: &&Registration| after.iter().any(|new| new.name == old.name && new.repository != old.repository);
    before.iter().filter(moved).map(|entry| entry.name.clone()).collect()
}

fn in_full(faults: &[Diagnostic]) -> String {
    let texts: Vec<&str> = faults.iter().map(|fault| fault.text.as_str()).collect();
    texts.join("\n\n")
}
