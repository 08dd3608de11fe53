//! One change at a time per tenant, while different tenants go on side by side.

use model::TenantName;
use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError, Weak},
};
use tokio::sync::OwnedMutexGuard;

/// Who is changing which tenant, or what else a service keeps apart.
#[derive(Debug)]
pub struct Turns<K = TenantName>(Arc<Mutex<HashMap<K, Weak<tokio::sync::Mutex<()>>>>>);

impl<K> Default for Turns<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K> Clone for Turns<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: Clone + Eq + Hash> Turns<K> {
    /// Waits for the tenant's turn and holds it until the guard is dropped.
    pub async fn take(&self, tenant: &K) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            turns.retain(|_, turn| turn.strong_count() > 0);
            let held = turns.get(tenant).and_then(Weak::upgrade);
            held.unwrap_or_else(|| {
                let turn = Arc::default();
                turns.insert(tenant.clone(), Arc::downgrade(&turn));
                turn
            })
        };
        turn.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_tenant_waits_and_another_does_not() {
        let turns = Turns::default();
        let (web, mail): (TenantName, TenantName) = ("web".parse().unwrap(), "mail".parse().unwrap());
        let held = turns.take(&web).await;
        let _other = turns.take(&mail).await;
        let waiting = tokio::spawn({
            let (turns, web) = (turns.clone(), web.clone());
            async move { drop(turns.take(&web).await) }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(held);
        waiting.await.unwrap();
    }
}
