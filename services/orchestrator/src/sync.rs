//! Brings what Git says now into the ledger: the registry from the system repository, a target from each tenant's.

use crate::{
    engine::{Engine, Look},
    store::now_usec,
};
use host::files;
use interfaces::{git_sync, tenant as instance};
use model::{
    Diagnostic, Reference, Revision, TenantName,
    admission::{self, Host},
    desired::DesiredTenant,
    document::LARGEST_DOCUMENT,
    names::RepositoryName,
    registry::Registration,
    tree::{Request, System, Tree},
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
        let fetch = {
            let memory = self.store.memory();
            let host = &memory.host;
            let Some(url) = host.url.clone() else { return Vec::new() };
            git_sync::Fetch {
                repository: RepositoryName::system(),
                url,
                reference: host.reference.clone().unwrap_or_else(Reference::main),
                trust: host.trust.clone(),
                floor: host.revision.clone().filter(|_| !host.any_history),
            }
        };
        let read = match self.fetch(fetch).await {
            Ok(checkout) => match System::read("system", &Files(&checkout.path)) {
                Ok(system) => Ok((checkout.revision, system.registrations)),
                Err(faults) => Err(Unusable::Refused(checkout.revision, in_full(&faults))),
            },
            Err(unusable) => Err(unusable),
        };
        let (mut moved, mut redirected) = (Vec::new(), Vec::new());
        let remembered = self.store.change_host(|host| match read {
            Ok((revision, entries)) => {
                if host.revision.as_ref() != Some(&revision) {
                    info!(%revision, tenants = entries.len(), "the registry is followed");
                }
                let changed = concerned(&host.registry, &entries);
                moved = differing(&host.registry, &entries, |entry| entry.repository.as_str());
                redirected = differing(&host.registry, &entries, |entry| entry.reference.as_str());
                host.wanted = Some(revision.clone());
                host.revision = Some(revision);
                host.any_history = false;
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
        redirected.iter().for_each(|tenant| self.remember(tenant, |ledger, _| ledger.accept_history()));
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
        let mut seen = None;
        if let Some(entry) = entry {
            let fetch = git_sync::Fetch {
                repository: RepositoryName::from(tenant),
                url: entry.repository.clone(),
                reference: entry.reference.clone(),
                trust: entry.trust.clone(),
                floor: self.store.tenant(tenant).and_then(|ledger| ledger.floor),
            };
            // What there is does not depend on what is wanted: it is looked at meanwhile.
            let (fetched, looked) = tokio::join!(self.fetch(fetch), self.see(tenant));
            seen = Some(looked);
            self.admit(&entry, fetched);
        }
        self.reconcile_in_turn(tenant, seen).await;
        // What nothing had to be done for is not written yet.
        if let Err(error) = self.store.flush(tenant) {
            warn!(%tenant, "{}", runtime::chain(&error));
        }
    }

    /// Written together with the plan that follows from it, or after it was seen that nothing does.
    fn admit(&self, entry: &Registration, fetched: Result<CheckedOut, Unusable>) {
        let tenant = &entry.name;
        let taken = self.change_unwritten(tenant, |ledger, memory| {
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
                    Request::read(tenant.as_str(), &Files(&checkout.path))
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
        });
        if let Some(Some(revision)) = taken {
            info!(%tenant, %revision, "admitted");
        }
    }

    async fn fetch(&self, fetch: git_sync::Fetch) -> Result<CheckedOut, Unusable> {
        let repository = fetch.repository.clone();
        let unreachable = |error: CallError<git_sync::Error>| Unusable::Unreachable(runtime::chain(&error));
        let revision = match self.services.call(&fetch).await {
            Ok(fetched) => fetched.revision,
            Err(CallError::Failed(git_sync::Error::NotTrusted { revision, reason, .. })) => {
                return Err(Unusable::Refused(revision, reason));
            }
            Err(CallError::Failed(git_sync::Error::HistoryRewritten { revision, floor, .. })) => {
                let reason = format!(
                    "its history does not contain {}, the last commit that held; if that is meant, run: bitbuilder accept {repository}",
                    floor.short()
                );
                return Err(Unusable::Refused(revision, reason));
            }
            Err(error) => return Err(unreachable(error)),
        };
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

/// The tenants that were and are registered, and of whom `part` differs.
fn differing(before: &[Registration], after: &[Registration], part: fn(&Registration) -> &str) -> Vec<TenantName> {
    let differs = |old: &&Registration| after.iter().any(|new| new.name == old.name && part(new) != part(old));
    before.iter().filter(differs).map(|entry| entry.name.clone()).collect()
}

/// A checkout, whose every path is the repository owner's and leads nowhere else.
struct Files<'a>(&'a Path);

impl Tree for Files<'_> {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
        match files::read_beneath(self.0, Path::new(path), LARGEST_DOCUMENT) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.is_absent() => Ok(None),
            Err(error) => Err(error.cause.to_string()),
        }
    }

    fn has(&self, path: &str) -> bool {
        matches!(self.read(path), Ok(Some(_)))
    }
}

fn in_full(faults: &[Diagnostic]) -> String {
    let texts: Vec<&str> = faults.iter().map(|fault| fault.text.as_str()).collect();
    texts.join("\n\n")
}
