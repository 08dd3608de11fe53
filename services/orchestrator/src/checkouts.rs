//! Which checkouts a tenant needs, and letting go of the others.

use crate::engine::Engine;
use interfaces::{git_sync, tenant as instance};
use model::{Revision, TenantName, names::RepositoryName};
use std::{collections::HashMap, sync::PoisonError};
use tracing::warn;

impl Engine {
    /// Lets go of everybody's checkouts that nothing refers to any more: one question for all, as after a start.
    pub(crate) async fn let_go_of_checkouts(&self) {
        let held = match self.services.call(&git_sync::List { repository: None }).await {
            Ok(held) => held.repositories,
            Err(error) => return warn!("old checkouts stay: {}", runtime::chain(&error)),
        };
        for git_sync::Repository { repository, checkouts, .. } in held {
            let Ok(tenant) = repository.as_str().parse::<TenantName>() else { continue };
            let _turn = self.turns.take(&tenant).await;
            let Some(keep) = self.kept(&tenant) else { continue };
            if checkouts.iter().all(|checkout| keep.contains(checkout)) {
                self.pruned.lock().unwrap_or_else(PoisonError::into_inner).insert(tenant, keep);
            } else {
                self.prune(&tenant).await;
            }
        }
    }

    /// The commits that a tenant may be made into, or that somebody may ask about.
    fn kept(&self, tenant: &TenantName) -> Option<Vec<Revision>> {
        let memory = self.store.memory();
        let ledger = memory.tenants.get(tenant)?;
        let kept = [&ledger.target, &ledger.verified, &ledger.quarantined];
        let mut keep: Vec<_> = kept.into_iter().flatten().map(|desired| desired.revision.clone()).collect();
        keep.extend(ledger.wanted.clone());
        Some(keep)
    }

    /// Lets go of checkouts that nothing refers to any more.
    pub(crate) async fn prune(&self, tenant: &TenantName) {
        let Some(mut keep) = self.kept(tenant) else { return };
        if self.store.tenant(tenant).is_some_and(|ledger| ledger.target.is_none()) {
            // What runs of a tenant that the ledger forgot reads its checkout.
            let Ok(held) = self.services.call(&instance::List { tenant: Some(tenant.clone()) }).await else { return };
            let specs = held.instances.into_iter().flat_map(|held| [Some(held.spec), held.running]);
            keep.extend(specs.flatten().map(|spec| spec.revision));
        }
        // Nothing was checked out since it was done last.
        let done = |pruned: &HashMap<_, Vec<_>>| pruned.get(tenant) == Some(&keep);
        if done(&self.pruned.lock().unwrap_or_else(PoisonError::into_inner)) {
            return;
        }
        let prune = git_sync::Prune { repository: RepositoryName::from(tenant), keep };
        match self.services.call(&prune).await {
            Ok(_) => {
                self.pruned.lock().unwrap_or_else(PoisonError::into_inner).insert(tenant.clone(), prune.keep);
            }
            Err(error) => warn!(%tenant, "old checkouts stay: {}", runtime::chain(&error)),
        }
    }
}
