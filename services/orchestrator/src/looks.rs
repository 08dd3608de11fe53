//! A look at many tenants' repositories at a time: what is new goes the way that every push goes, and for all others, which
//! are nearly all, nothing is done twice.

use crate::{
    engine::{Cause, Engine, Look as Going},
    store::now_usec,
    sync::CheckedOut,
};
use futures_util::StreamExt;
use interfaces::git_sync::{self, Fetch, Look, Looked};
use model::{TenantName, names::RepositoryName, registry::Registration};
use planner::TenantLedger;
use std::{collections::HashMap, path::PathBuf, sync::PoisonError, time::Duration};
use tokio::{task::JoinSet, time::timeout};
use tracing::{error, warn};

/// How many are asked for with one call: their signers' keys go with it.
const TOGETHER: usize = 200;
/// How long nothing may be seen before it is not waited for.
const PATIENCE: Duration = Duration::from_secs(60);

impl Engine {
    /// Looks at many tenants' repositories and converges.
    pub(crate) async fn look_at_many(&self, tenants: Vec<TenantName>, cause: Cause) {
        let asked: Vec<(TenantName, Option<Fetch>)> = {
            let memory = self.store.memory();
            let entries: HashMap<_, _> = memory.host.registry.iter().map(|entry| (&entry.name, entry)).collect();
            let wanted = |tenant: &TenantName| {
                let rests = |ledger: &&TenantLedger| ledger.is_suspended() || cause.waits(ledger.back_off);
                let ledger = memory.tenants.get(tenant).filter(|ledger| !rests(ledger))?;
                Some(what_to_fetch(entries.get(tenant)?, Some(ledger)))
            };
            tenants.into_iter().map(|tenant| (tenant.clone(), wanted(&tenant))).collect()
        };
        let mut tasks = JoinSet::new();
        for some in asked.chunks(TOGETHER) {
            let (engine, some) = (self.clone(), some.to_vec());
            tasks.spawn(async move { engine.look_at_some(some, cause).await });
        }
        while let Some(ended) = tasks.join_next().await {
            if let Err(cause) = ended {
                error!("a look ended by itself: {cause}");
            }
        }
    }

    async fn look_at_some(&self, asked: Vec<(TenantName, Option<Fetch>)>, cause: Cause) {
        let look = Look { repositories: asked.iter().filter_map(|(_, fetch)| fetch.clone()).collect() };
        let mut open: HashMap<String, (TenantName, Option<Fetch>)> =
            asked.into_iter().map(|(tenant, fetch)| (tenant.to_string(), (tenant, fetch))).collect();
        let mut tasks = JoinSet::new();
        match self.services.stream(&look).await {
            Ok(sights) => {
                let mut sights = std::pin::pin!(sights);
                // Some look ends all the time: each has a deadline.
                while let Ok(Some(sight)) = timeout(PATIENCE, sights.next()).await {
                    let seen = match sight {
                        Ok(sight) => sight.repositories,
                        Err(error) => {
                            warn!("not looked at together: {}", runtime::chain(&error));
                            break;
                        }
                    };
                    for looked in seen {
                        let Some((tenant, Some(asked))) = open.remove(looked.repository.as_str()) else { continue };
                        let engine = self.clone();
                        tasks.spawn(async move { engine.follow(&tenant, cause, &asked, looked).await });
                    }
                }
            }
            Err(error) => warn!("not looked at together: {}", runtime::chain(&error)),
        }
        // Who is not looked at, has left, is suspended or left alone for now; who was not shown takes a look of his own.
        for (tenant, _) in open.into_values() {
            let engine = self.clone();
            tasks.spawn(async move { drop(engine.look_with(&tenant, cause, true).await) });
        }
        while let Some(ended) = tasks.join_next().await {
            if let Err(cause) = ended {
                error!("a convergence ended by itself: {cause}");
            }
        }
    }

    /// Goes on from what was seen of a tenant's repository outside of its turn, if that is still what would be asked.
    async fn follow(&self, tenant: &TenantName, cause: Cause, asked: &Fetch, looked: Looked) {
        let Looked { revision, path, unreachable, remotes, .. } = looked;
        self.remotes.set(&asked.repository, remotes);
        if revision.is_some() || unreachable.is_some() {
            let turn = self.turns.take(tenant).await;
            let (ledger, version, is_asked) = {
                let memory = self.store.memory();
                let entry = memory.host.registry.iter().find(|entry| entry.name == *tenant);
                let ledger = memory.tenants.get(tenant).cloned();
                let is_asked = entry.is_some_and(|entry| what_to_fetch(entry, ledger.as_ref()) == *asked);
                (ledger, memory.version, is_asked)
            };
            let ledger = ledger.filter(|ledger| is_asked && !ledger.is_suspended());
            match (ledger, revision, path) {
                // Only the checkout of a commit that is wanted stays until it was read.
                (Some(ledger), Some(revision), Some(path)) if ledger.wanted.as_ref() == Some(&revision) => {
                    if self.is_judged(tenant, &ledger, version) {
                        return self.settle_unchanged(tenant).await;
                    }
                    let found = CheckedOut { revision, path: PathBuf::from(path) };
                    self.sync_tenant(tenant, cause, true, Some(found)).await;
                    drop(turn);
                    return self.poll_as_said(tenant).await;
                }
                (Some(_), None, None) => {
                    self.change_unwritten(tenant, |ledger, _| {
                        ledger.unreachable = unreachable;
                        ledger.back_off.failed(now_usec(), fastrand::u64(..));
                    });
                    return self.settle_unchanged(tenant).await;
                }
                _ => {}
            }
        }
        drop(self.look_with(tenant, cause, true).await);
    }

    /// Looks at one tenant's repository; `together` if it is one of many, for whom nothing may be new.
    pub(crate) fn look_with(&self, tenant: &TenantName, cause: Cause, together: bool) -> Going {
        let tenant = tenant.clone();
        self.look(RepositoryName::from(&tenant), cause, move |engine, begun| async move {
            {
                let _turn = engine.turns.take(&tenant).await;
                engine.sync_tenant(&tenant, begun.now(), together, None).await;
            }
            engine.poll_as_said(&tenant).await;
            vec![tenant]
        })
    }

    /// Converges without anything new from Git.
    async fn settle_unchanged(&self, tenant: &TenantName) {
        let seen = self.see_together(tenant).await;
        self.reconcile_in_turn(tenant, seen).await;
        if let Err(error) = self.store.flush(tenant) {
            warn!(%tenant, "{}", runtime::chain(&error));
        }
    }

    /// Whether judging the wanted commit again would give the target that there is: it did, and nothing that is remembered
    /// has changed since.
    fn is_judged(&self, tenant: &TenantName, ledger: &TenantLedger, version: u64) -> bool {
        let same = ledger.target.as_ref().map(|target| &target.revision) == ledger.wanted.as_ref();
        let judged = self.judged.lock().unwrap_or_else(PoisonError::into_inner).get(tenant) == Some(&version);
        same && judged && ledger.unreachable.is_none() && ledger.reason.is_none() && ledger.accepted.is_none()
    }

    /// Remembers by which version of the memory a tenant's target was judged, if it was the target that came of it.
    pub(crate) fn note_judged(&self, tenant: &TenantName, version: Option<u64>) {
        let mut judged = self.judged.lock().unwrap_or_else(PoisonError::into_inner);
        match version {
            Some(version) => judged.insert(tenant.clone(), version),
            None => judged.remove(tenant),
        };
    }
}

/// What a tenant's entry and its memory ask for.
pub(crate) fn what_to_fetch(entry: &Registration, ledger: Option<&TenantLedger>) -> git_sync::Fetch {
    git_sync::Fetch {
        repository: RepositoryName::from(&entry.name),
        url: entry.repository.clone(),
        mirrors: entry.mirrors.clone().into_call(),
        reference: entry.reference.clone(),
        trust: entry.trust.clone(),
        floor: ledger.and_then(TenantLedger::asked_bound).cloned(),
    }
}
