//! Which checkouts a repository needs, letting go of the others, and of all that is held for tenants who are gone.

use crate::{engine::Engine, observe};
use interfaces::{git_sync, tenant as instance};
use model::{
    Revision, TenantName,
    names::RepositoryName,
    observed::{Known, ObservedTenant},
};
use std::sync::PoisonError;
use tracing::warn;

impl Engine {
    /// Lets go of everybody's checkouts that nothing refers to any more: one question for all, as after a start.
    pub(crate) async fn let_go_of_checkouts(&self) {
        let held = match self.services.call(&git_sync::List { repository: None }).await {
            Ok(held) => held.repositories,
            Err(error) => return warn!("old checkouts stay: {}", runtime::chain(&error)),
        };
        for git_sync::Repository { repository, checkouts, .. } in held {
            let Ok(tenant) = repository.as_str().parse::<TenantName>() else {
                let _turn = self.system_turn.lock().await;
                self.prune_system().await;
                continue;
            };
            let _turn = self.turns.take(&tenant).await;
            match self.kept(&tenant) {
                Some(keep) if checkouts.iter().all(|checkout| keep.contains(checkout)) => {
                    self.note_pruned(&repository, keep);
                }
                Some(_) => self.prune(&tenant).await,
                // Nobody remembers it.
                None if is_gone(&observe::tenant(&self.services, &tenant).await) => self.forget(&tenant).await,
                None => {}
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
        self.prune_to(RepositoryName::from(tenant), keep).await;
    }

    /// The same of the system repository, in its turn: what is followed stays, and what is asked for.
    pub(crate) async fn prune_system(&self) {
        let keep: Vec<Revision> = {
            let host = &self.store.memory().host;
            // Who has forgotten what is followed lets go of nothing.
            let Some(followed) = host.revision.clone() else { return };
            [followed].into_iter().chain(host.wanted.clone()).collect()
        };
        self.prune_to(RepositoryName::system(), keep).await;
    }

    async fn prune_to(&self, repository: RepositoryName, keep: Vec<Revision>) {
        if self.was_pruned(&repository, &keep) {
            return;
        }
        let prune = git_sync::Prune { repository, keep };
        match self.services.call(&prune).await {
            Ok(_) => self.note_pruned(&prune.repository, prune.keep),
            Err(error) => warn!(repository = %prune.repository, "old checkouts stay: {}", runtime::chain(&error)),
        }
    }

    /// Lets go of all that is held of the repository of a tenant that is not registered and of which nothing is left on this
    /// host. How far its history had come is still remembered: nothing goes back behind that if it returns.
    pub(crate) async fn forget(&self, tenant: &TenantName) {
        let repository = RepositoryName::from(tenant);
        let is_registered = {
            let memory = self.store.memory();
            memory.host.revision.is_none() || memory.registered.contains(tenant)
        };
        if is_registered || self.was_pruned(&repository, &[]) {
            return;
        }
        // Before its commits are gone, so that nothing asks for one of them.
        self.remember(tenant, |ledger, _| ledger.forget_commits());
        match self.services.call(&git_sync::Forget { repository: repository.clone() }).await {
            Ok(_) => self.note_pruned(&repository, Vec::new()),
            Err(error) => warn!(%repository, "what is held of it stays: {}", runtime::chain(&error)),
        }
    }

    /// Whether nothing was checked out since it was done last.
    fn was_pruned(&self, repository: &RepositoryName, keep: &[Revision]) -> bool {
        let pruned = self.pruned.lock().unwrap_or_else(PoisonError::into_inner);
        pruned.get(repository).is_some_and(|pruned| pruned == keep)
    }

    fn note_pruned(&self, repository: &RepositoryName, keep: Vec<Revision>) {
        self.pruned.lock().unwrap_or_else(PoisonError::into_inner).insert(repository.clone(), keep);
    }
}

/// Whether a tenant has nothing on this host that could be made to run again: it never had, or somebody removed it.
pub(crate) fn is_gone(observed: &ObservedTenant) -> bool {
    match &observed.storage {
        Known::Known(held) => held.as_ref().is_none_or(|held| !held.intact),
        Known::Unknown => false,
    }
}
