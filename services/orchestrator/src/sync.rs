//! Brings what Git says now into the ledger: a target from each tenant's repository.

use crate::{
    engine::{Cause, Engine, Look},
    judge::{self, Ground},
    looks::what_to_fetch,
    reconcile::Seen,
    secrets,
    store::now_usec,
};
use host::worktree::WorkTree;
use interfaces::git_sync;
use model::{Diagnostic, ImageName, Revision, TenantName, registry::Registration, tree::Request};
use planner::TenantLedger;
use runtime::client::CallError;
use std::path::PathBuf;
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
    /// Nothing is known of it: its servers said nothing.
    Silent(String),
    /// There is none, and there may be one any moment: the server answered, or our own service is about to.
    Absent(String),
    /// It was fetched, and cannot be used.
    Refused(Revision, String),
    /// What the reference names cannot be used, and is no commit.
    NoCommit(String),
    /// It is there, and what held is not in its history.
    Strayed(Revision, String),
    /// It was fetched, and the host failed to find out whether it can be used.
    Undecided(String),
}

impl Engine {
    /// Looks at every repository and converges.
    pub(crate) async fn sync_all(&self, cause: Cause) {
        let changed = self.look_at_system(cause).await;
        self.see_off(&changed).await;
        let tenants: Vec<TenantName> = self.store.memory().tenants.keys().cloned().collect();
        self.look_at_many(tenants, cause).await;
        self.overview.forget().await;
    }

    /// Looks at one tenant's repository soon, and converges.
    pub(crate) fn look_at(&self, tenant: &TenantName, cause: Cause) -> Look {
        self.look_with(tenant, cause, false)
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
            let accepted = ledger.as_ref().and_then(|ledger| Some((ledger.accepted.clone()?, ledger.floor.clone())));
            let other =
                |found: &CheckedOut| ledger.as_ref().is_some_and(|held| held.accepted_other_than(&found.revision));
            let found = found.filter(|found| !other(found));
            let fetch = async {
                match found {
                    Some(found) => Ok(found),
                    None => self.fetch_accepted(fetch, accepted).await,
                }
            };
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
            self.admit(&entry, asked, &looked);
            seen = Some(looked);
        }
        self.reconcile_in_turn(tenant, seen).await;
        // What runs is as it was; what was pushed is looked at again with the next poll.
        if undecided.is_some() {
            self.remember(tenant, |ledger, _| ledger.unconverged = undecided);
        }
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
    fn admit(&self, entry: &Registration, asked: Result<Asked, Unusable>, looked: &Seen) {
        let tenant = &entry.name;
        let mut judged_at = None;
        let taken = self.change_unwritten(tenant, |ledger, memory| {
            // Somebody may have asked meanwhile that it be left alone, or registered another repository in its name.
            if ledger.is_suspended() || !ledger.is_of(entry) {
                return None;
            }
            if ledger.found(looked.observed.generation() > 0) {
                warn!(%tenant, "it exists, and nothing is remembered of what held: its history is taken as it is");
            }
            let admitted = match asked {
                Err(Unusable::Unreachable(reason) | Unusable::Silent(reason)) => {
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
                Err(Unusable::NoCommit(reason)) => {
                    if ledger.reason.as_ref() != Some(&reason) {
                        warn!(%tenant, "refused: {reason}");
                    }
                    ledger.reached(None);
                    ledger.refuse_what_is_no_commit(reason, now_usec());
                    return None;
                }
                Err(Unusable::Strayed(revision, reason)) => {
                    if ledger.strayed.as_ref() != Some(&revision) {
                        warn!(%tenant, %revision, "refused: {reason}");
                    }
                    ledger.reached(None);
                    ledger.strays(revision, reason, now_usec());
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
        let revision = match self.fetch_from_several(&fetch).await {
            Ok(fetched) => fetched.revision,
            Err(CallError::Failed(git_sync::Error::NotTrusted { revision, reason, .. })) => {
                return Err(Unusable::Refused(revision, reason));
            }
            Err(CallError::Failed(git_sync::Error::HistoryRewritten { revision, floor, .. })) => {
                let reason = format!(
                    "its history{} does not contain {}, the last commit that held; if that is meant, run: bitbuilder accept {repository}",
                    self.refused_by(&repository),
                    floor.short()
                );
                return Err(Unusable::Strayed(revision, reason));
            }
            Err(CallError::Failed(git_sync::Error::RefusedContent { path, reason, .. })) => {
                return Err(Unusable::NoCommit(Diagnostic::of_file(&format!("{repository}:{path}"), &reason).text));
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
    let CallError::Failed(cause @ (git_sync::Error::RepositoryUnreachable { .. } | git_sync::Error::Failed { .. })) =
        error
    else {
        return Unusable::Absent(reason);
    };
    let is_silent = matches!(cause, git_sync::Error::RepositoryUnreachable { silent: true, .. });
    if is_silent { Unusable::Silent(reason) } else { Unusable::Unreachable(reason) }
}

pub(crate) fn in_full(faults: &[Diagnostic]) -> String {
    let texts: Vec<&str> = faults.iter().map(|fault| fault.text.as_str()).collect();
    texts.join("\n\n")
}

#[cfg(test)]
mod tests;
