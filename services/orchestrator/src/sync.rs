//! Brings what Git says now into the ledger: the registry from the system repository, a target from each tenant's.

use crate::{
    engine::{Cause, Engine, Look},
    judge::{self, Ground},
    looks::what_to_fetch,
    reconcile::Seen,
    secrets,
    store::{HostLedger, now_usec},
};
use host::worktree::WorkTree;
use interfaces::git_sync;
use model::{
    Diagnostic, ImageName, Reference, Revision, TenantName,
    names::RepositoryName,
    registry::Registration,
    tree::{Request, System},
};
use planner::TenantLedger;
use runtime::client::CallError;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};
use tracing::{info, warn};

/// A commit that was fetched and checked out.
pub(crate) struct CheckedOut {
    pub(crate) revision: Revision,
    pub(crate) path: PathBuf,
}

/// What a commit asks for, and the machine that it would need a root on.
struct Asked {
    revision: Revision,
    request: Request,
    ground: Option<Ground>,
}

/// Why a repository's commit is not used.
pub(crate) enum Unusable {
    /// Nothing is known of it: the server failed, or what it sent made the fetch fail.
    Unreachable(String),
    /// There is none, and there may be one any moment: the server answered, or our own service is about to.
    Absent(String),
    /// It was fetched, and cannot be used.
    Refused(Revision, String),
    /// It was fetched, and the host failed to find out whether it can be used.
    Undecided(String),
}

impl Engine {
    /// Looks at every repository and converges.
    pub(crate) async fn sync_all(&self, cause: Cause) {
        self.look_at_system(cause).await;
        let tenants: Vec<TenantName> = self.store.memory().tenants.keys().cloned().collect();
        self.look_at_many(tenants, cause).await;
        self.overview.forget().await;
    }

    /// Looks at the system repository, and at the tenants' of those whose entries differ.
    pub(crate) async fn sync_registry(&self, cause: Cause) {
        let changed = self.look_at_system(cause).await;
        let look = |engine: Self, tenant| async move { drop(engine.look_at(&tenant, Cause::Asked).await) };
        self.each(changed, look).await;
    }

    /// Looks at the system repository soon. Gives the tenants that came, left, or are registered otherwise than before.
    pub(crate) fn look_at_system(&self, cause: Cause) -> Look {
        self.look(RepositoryName::system(), cause, |engine, begun| async move {
            let _turn = engine.system_turn.lock().await;
            engine.sync_system(begun.now()).await
        })
    }

    /// Looks at one tenant's repository soon, and converges.
    pub(crate) fn look_at(&self, tenant: &TenantName, cause: Cause) -> Look {
        self.look_with(tenant, cause, false)
    }

    async fn sync_system(&self, cause: Cause) -> Vec<TenantName> {
        let fetch = {
            let memory = self.store.memory();
            let host = &memory.host;
            let Some(url) = host.url.clone().filter(|_| !cause.waits(host.back_off)) else { return Vec::new() };
            git_sync::Fetch {
                repository: RepositoryName::system(),
                url,
                reference: host.reference.clone().unwrap_or_else(Reference::main),
                trust: host.trust.clone(),
                floor: host.revision.as_ref().or(host.floor.as_ref()).filter(|_| !host.any_history).cloned(),
            }
        };
        let read = match self.fetch_in_lane(fetch).await {
            Ok(checkout) => match System::read("system", &WorkTree::at(&checkout.path)) {
                Ok(system) => Ok((checkout.revision, system)),
                Err(faults) => Err(Unusable::Refused(checkout.revision, in_full(&faults))),
            },
            Err(unusable) => Err(unusable),
        };
        let (mut moved, mut redirected) = (Vec::new(), Vec::new());
        let before = self.store.memory().host.clone();
        let remembered = self.store.change_host(|host| match read {
            Ok((revision, system)) => {
                host.not_in_effect = model::admission::system_not_in_effect(&system);
                host.noticing = system.noticing();
                let entries = system.registrations;
                if host.revision.as_ref() != Some(&revision) {
                    info!(%revision, tenants = entries.len(), "the registry is followed");
                }
                let mut changed = Vec::new();
                if host.registry != entries {
                    changed = concerned(&host.registry, &entries);
                    moved = differing(&host.registry, &entries, |entry| entry.repository.as_str());
                    redirected = differing(&host.registry, &entries, |entry| entry.reference.as_str());
                }
                host.wanted = Some(revision.clone());
                let before = host.revision.replace(revision);
                host.floor_lost &= before.is_none() || before == host.revision;
                host.floor = None;
                host.any_history = false;
                host.registry = entries;
                host.reason = None;
                host.reached(None);
                changed
            }
            Err(Unusable::Unreachable(reason) | Unusable::Undecided(reason)) => {
                host.unreachable = Some(reason);
                host.back_off.failed(now_usec(), fastrand::u64(..));
                Vec::new()
            }
            Err(Unusable::Absent(reason)) => {
                host.reached(Some(reason));
                Vec::new()
            }
            Err(Unusable::Refused(revision, reason)) => {
                warn!(%revision, "the registry is refused:\n{reason}");
                host.wanted = Some(revision);
                host.reason = Some(reason);
                host.reached(None);
                Vec::new()
            }
        });
        let mut changed = remembered.unwrap_or_else(|error| {
            warn!("{}", runtime::chain(&error));
            Vec::new()
        });
        let after = self.store.memory().host.clone();
        let told = |host: &HostLedger| (host.revision.clone(), host.wanted.clone(), host.reason.clone());
        let told = planner::history::of_registry(&told(&before), told(&after), now_usec());
        self.note(&RepositoryName::system(), told.as_slice());
        moved.iter().for_each(|tenant| self.remember(tenant, |ledger, _| ledger.moved()));
        for tenant in &redirected {
            self.remember(tenant, |ledger, _| {
                ledger.accept_history();
            });
        }
        changed.extend(self.register());
        changed.sort();
        changed.dedup();
        self.keep_floors(&[]);
        self.poll().await;
        changed
    }

    /// Makes the ledger know the registry's tenants. Returns those that it did not know as they are. Who knows of no
    /// registry says of nobody that he left.
    fn register(&self) -> Vec<TenantName> {
        let (registered, known): (BTreeSet<TenantName>, BTreeMap<TenantName, bool>) = {
            let memory = self.store.memory();
            if memory.host.revision.is_none() {
                return Vec::new();
            }
            (
                memory.registered.clone(),
                memory.tenants.iter().map(|(name, ledger)| (name.clone(), ledger.registered)).collect(),
            )
        };
        let mut changed = Vec::new();
        for name in &registered {
            if !known.contains_key(name) {
                changed.push(name.clone());
                match self.store.remember(name, self.unknown(name)) {
                    Ok(()) => self.note(&RepositoryName::from(name), &[planner::history::registered(now_usec())]),
                    Err(error) => warn!(tenant = %name, "{}", runtime::chain(&error)),
                }
            }
        }
        for (name, was) in known {
            let is = registered.contains(&name);
            if is != was {
                if let Err(error) = self.change(&name, |ledger, _| ledger.register(is)) {
                    warn!(tenant = %name, "{}", runtime::chain(&error));
                }
                changed.push(name);
            }
        }
        changed
    }

    /// A tenant that the ledger does not know, and may have known once.
    fn unknown(&self, name: &TenantName) -> TenantLedger {
        let mut ledger = TenantLedger::new(now_usec());
        let entry = self.store.memory().host.registry.iter().find(|entry| entry.name == *name).cloned();
        if let Some(Registration { repository, reference, .. }) = entry {
            ledger.floor = self.floors.recall(&RepositoryName::from(name), &repository, &reference);
        }
        if let Some(floor) = &ledger.floor {
            warn!(tenant = %name, "the ledger had forgotten it; it goes on from {floor}");
        }
        ledger
    }

    /// Fetches, admits and converges, in the tenant's turn: nothing that is fetched is let go of before it was read.
    /// What was `found` already is not looked for again.
    pub(crate) async fn sync_tenant(
        &self,
        tenant: &TenantName,
        cause: Cause,
        together: bool,
        found: Option<CheckedOut>,
    ) {
        let ledger = self.store.tenant(tenant);
        let entry = self.store.memory().host.registry.iter().find(|entry| entry.name == *tenant).cloned();
        let (mut seen, mut undecided) = (None, None);
        let rests = |ledger: &TenantLedger| ledger.is_suspended() || cause.waits(ledger.back_off);
        if let Some(entry) = entry.filter(|_| !ledger.as_ref().is_some_and(rests)) {
            let fetch = what_to_fetch(&entry, ledger.as_ref());
            let fetch = async {
                match found {
                    Some(found) => Ok(found),
                    None => self.fetch_in_lane(fetch).await,
                }
            };
            let without_bound = ledger.as_ref().is_some_and(|ledger| ledger.any_history);
            let wanted = ledger.as_ref().and_then(|ledger| ledger.wanted.clone());
            let held = ledger.and_then(|ledger| ledger.verified).map(|desired| desired.image);
            // What there is does not depend on what is wanted: it is looked at meanwhile, and the machine if a root will have
            // to be made.
            let ground = Ground::for_image(&self.services, None, held.as_ref(), None);
            let (fetched, looked, ground) = if together {
                let fetched = fetch.await;
                let new = fetched.as_ref().is_ok_and(|checkout| wanted.as_ref() != Some(&checkout.revision));
                let looked = if new { None } else { self.see_together(tenant).await };
                let looked = match looked {
                    Some(looked) => looked,
                    None => self.see(tenant).await,
                };
                (fetched, looked, ground.await)
            } else {
                tokio::join!(fetch, self.see(tenant), ground)
            };
            let asked = self.read(tenant, fetched, held.as_ref(), ground).await;
            if let Err(Unusable::Undecided(reason)) = &asked {
                warn!(%tenant, "{reason}");
                undecided = Some(reason.clone());
            }
            self.admit(&entry, asked, without_bound, &looked);
            seen = Some(looked);
        }
        self.reconcile_in_turn(tenant, seen).await;
        // What runs is as it was; what was pushed is looked at again with the next poll.
        if undecided.is_some() {
            self.remember(tenant, |ledger, _| ledger.unconverged = undecided);
        }
        self.poll_as_said(tenant).await;
        // What nothing had to be done for is not written yet.
        if let Err(error) = self.store.flush(tenant) {
            warn!(%tenant, "{}", runtime::chain(&error));
        }
    }

    /// Reads what was fetched, and looks at the machine if that is only wanted now.
    async fn read(
        &self,
        tenant: &TenantName,
        fetched: Result<CheckedOut, Unusable>,
        held: Option<&ImageName>,
        ground: Option<Ground>,
    ) -> Result<Asked, Unusable> {
        let CheckedOut { revision, path } = fetched?;
        match Request::read(tenant.as_str(), &WorkTree::at(&path)) {
            Ok(request) => {
                self.opens(tenant, &revision, &request).await?;
                let image = &request.manifest.content.image;
                let ground = Ground::for_image(&self.services, Some(image), held, ground).await;
                Ok(Asked { revision, request, ground })
            }
            Err(faults) => Err(Unusable::Refused(revision, in_full(&faults))),
        }
    }

    /// Whether the host can open what the commit holds sealed. What was admitted once is not asked again.
    async fn opens(&self, tenant: &TenantName, revision: &Revision, request: &Request) -> Result<(), Unusable> {
        let target = self.store.tenant(tenant).and_then(|ledger| ledger.target);
        if target.is_some_and(|target| target.revision == *revision) {
            return Ok(());
        }
        match secrets::refused(&self.services, tenant, request).await {
            Ok(faults) if faults.is_empty() => Ok(()),
            Ok(faults) => Err(Unusable::Refused(revision.clone(), in_full(&faults))),
            Err(reason) => Err(Unusable::Undecided(reason)),
        }
    }

    /// Written together with the plan that follows from it, or after it was seen that nothing does.
    fn admit(&self, entry: &Registration, asked: Result<Asked, Unusable>, without_bound: bool, looked: &Seen) {
        let tenant = &entry.name;
        let mut judged_at = None;
        let taken = self.change_unwritten(tenant, |ledger, memory| {
            // Somebody may have asked meanwhile that it be left alone.
            if ledger.is_suspended() {
                return None;
            }
            if ledger.found(looked.observed.generation() > 0) {
                warn!(%tenant, "it exists, and nothing is remembered of what held: its history is taken as it is");
            }
            let admitted = match asked {
                Err(Unusable::Unreachable(reason)) => {
                    ledger.unreachable = Some(reason);
                    ledger.back_off.failed(now_usec(), fastrand::u64(..));
                    return None;
                }
                Err(Unusable::Absent(reason)) => {
                    ledger.reached(Some(reason));
                    return None;
                }
                Err(Unusable::Undecided(_)) => {
                    ledger.unreachable = None;
                    return None;
                }
                Err(Unusable::Refused(revision, reason)) => Err((revision, reason)),
                Ok(Asked { revision, request, ground }) => {
                    let judged = judge::admit(memory, entry, &request, &revision, ground.as_ref(), &looked.observed);
                    // Each look asks again, so that a range that becomes free is taken.
                    let full = looked.finds_no_range().then(|| judge::no_range(&request));
                    full.map_or(judged, |fault| Err(vec![fault])).map_err(|faults| (revision, in_full(&faults)))
                }
            };
            ledger.reached(None);
            match admitted {
                Ok(desired) => {
                    ledger.history_admitted(without_bound);
                    let taken = ledger.admit(desired.clone()).then_some(desired.revision.clone());
                    judged_at = (ledger.target == Some(desired)).then_some(memory.version);
                    taken
                }
                Err((revision, reason)) => {
                    if ledger.wanted.as_ref() != Some(&revision) {
                        warn!(%tenant, %revision, "refused:\n{reason}");
                    }
                    ledger.refuse(revision, reason, now_usec());
                    None
                }
            }
        });
        self.note_judged(tenant, judged_at);
        if let Some(Some(revision)) = taken {
            info!(%tenant, %revision, "admitted");
        }
    }

    pub(crate) async fn fetch(&self, fetch: git_sync::Fetch) -> Result<CheckedOut, Unusable> {
        let repository = fetch.repository.clone();
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
            Err(error) => return Err(without_commit(&error)),
        };
        let checkout = git_sync::Checkout { repository: repository.clone(), revision: revision.clone() };
        match self.services.call(&checkout).await {
            Ok(made) => Ok(CheckedOut { revision, path: PathBuf::from(made.path) }),
            Err(CallError::Failed(git_sync::Error::RefusedContent { path, reason, .. })) => {
                let fault = Diagnostic::of_file(&format!("{repository}:{path}"), &reason);
                Err(Unusable::Refused(revision, fault.text))
            }
            Err(error) => Err(without_commit(&error)),
        }
    }
}

/// Why nothing was fetched.
fn without_commit(error: &CallError<git_sync::Error>) -> Unusable {
    let reason = runtime::chain(error);
    let CallError::Failed(git_sync::Error::RepositoryUnreachable { .. } | git_sync::Error::Failed { .. }) = error
    else {
        return Unusable::Absent(reason);
    };
    Unusable::Unreachable(reason)
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

fn in_full(faults: &[Diagnostic]) -> String {
    let texts: Vec<&str> = faults.iter().map(|fault| fault.text.as_str()).collect();
    texts.join("\n\n")
}

#[cfg(test)]
mod tests;
