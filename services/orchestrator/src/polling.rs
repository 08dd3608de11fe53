//! Which repositories a timer looks at, and how often: as the registry and the commits in effect say, not the refused ones.

use crate::engine::Engine;
use futures_util::{FutureExt, future::BoxFuture};
use interfaces::tenant::{EnsurePolling, Timer};
use model::{Noticing, TenantName, names::RepositoryName};
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use tracing::warn;

/// How long to wait before timers that could not be made are tried again: without them nothing else would.
const RETRY: Duration = Duration::from_secs(30);

/// What the timers were last made to be.
#[derive(Debug, Default)]
pub(crate) struct Polling {
    /// Empty if that is not known. Held over the call, so that what is said last is what was known last.
    made: tokio::sync::Mutex<BTreeMap<RepositoryName, Timer>>,
    waiting: AtomicBool,
}

impl Engine {
    /// Makes the timers match.
    pub(crate) async fn poll(&self) {
        let mut made = self.polling.made.lock().await;
        let wanted = self.timers();
        match self.services.call(&EnsurePolling { timers: wanted.values().cloned().collect() }).await {
            Ok(_) => *made = wanted,
            Err(error) => {
                warn!("repositories are not polled: {}", runtime::chain(&error));
                made.clear();
                self.poll_later();
            }
        }
    }

    /// Makes the timers match if another commit of a tenant is in effect by now, which says something else.
    pub(crate) async fn poll_as_said(&self, tenant: &TenantName) {
        let repository = RepositoryName::from(tenant);
        let wanted = timer(repository.clone(), self.noticing(&repository));
        let differs = self.polling.made.lock().await.get(&repository).is_some_and(|made| *made != wanted);
        if differs {
            self.poll().await;
        }
    }

    /// How new commits of a repository are noticed.
    pub(crate) fn noticing(&self, repository: &RepositoryName) -> Noticing {
        match repository.as_str().parse::<TenantName>() {
            Ok(tenant) => {
                let ledger = self.store.tenant(&tenant);
                ledger.and_then(|ledger| ledger.target).map(|target| target.noticing).unwrap_or_default()
            }
            // "system" is the one name that is no tenant's.
            Err(_) => self.store.memory().host.noticing,
        }
    }

    fn timers(&self) -> BTreeMap<RepositoryName, Timer> {
        let memory = self.store.memory();
        let tenants = memory.host.registry.iter().map(|entry| {
            let target = memory.tenants.get(&entry.name).and_then(|ledger| ledger.target.as_ref());
            (RepositoryName::from(&entry.name), target.map(|target| target.noticing).unwrap_or_default())
        });
        let all = tenants.chain([(RepositoryName::system(), memory.host.noticing)]);
        all.map(|(repository, noticing)| (repository.clone(), timer(repository, noticing))).collect()
    }

    fn poll_later(&self) {
        if !self.polling.waiting.swap(true, Ordering::Relaxed) {
            tokio::spawn(self.clone().poll_after_a_while());
        }
    }

    /// Boxed, because it ends where it began.
    fn poll_after_a_while(self) -> BoxFuture<'static, ()> {
        async move {
            tokio::time::sleep(RETRY).await;
            self.polling.waiting.store(false, Ordering::Relaxed);
            self.poll().await;
        }
        .boxed()
    }
}

fn timer(repository: RepositoryName, noticing: Noticing) -> Timer {
    Timer { repository, interval: noticing.interval, jitter: noticing.jitter }
}
