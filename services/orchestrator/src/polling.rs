//! Which repositories a timer looks at, and how often: as the registry and the commits in effect say, not the refused ones.

use crate::engine::Engine;
use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use interfaces::tenant::{EnsurePolling, Timer};
use model::{Noticing, TenantName, names::RepositoryName};
use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;
use tracing::warn;

/// How long to wait before timers that could not be made are tried again: without them nothing else would.
const RETRY: Duration = Duration::from_secs(30);
/// How long after the timers were made they are made again at the earliest: it is done for all of them, and what changes
/// meanwhile is done with it.
const PAUSE: Duration = Duration::from_millis(500);

/// What the timers were last made to be.
#[derive(Debug, Default)]
pub(crate) struct Polling {
    /// Empty if that is not known.
    made: Mutex<BTreeMap<RepositoryName, Timer>>,
    /// Held by the one who makes them, with when that was done last: what is said last is what was known last.
    making: tokio::sync::Mutex<Option<Instant>>,
    /// The one who will, and has not begun: he sees all that is said until he does.
    next: Mutex<Option<Shared<BoxFuture<'static, ()>>>>,
    waiting: AtomicBool,
}

impl Engine {
    /// Makes the timers match. Whoever asks until that begins waits for the same.
    pub(crate) async fn poll(&self) {
        let next = {
            let mut next = self.polling.next.lock().unwrap_or_else(PoisonError::into_inner);
            match &*next {
                Some(next) => next.clone(),
                None => {
                    let making = self.clone().make_timers().boxed().shared();
                    // It goes on when nobody waits for it any more.
                    tokio::spawn(making.clone());
                    next.insert(making).clone()
                }
            }
        };
        next.await;
    }

    async fn make_timers(self) {
        let mut last = self.polling.making.lock().await;
        if let Some(last) = *last {
            tokio::time::sleep_until(last + PAUSE).await;
        }
        self.polling.next.lock().unwrap_or_else(PoisonError::into_inner).take();
        let wanted = self.timers();
        let made = self.services.call(&EnsurePolling { timers: wanted.values().cloned().collect() }).await;
        *last = Some(Instant::now());
        let is_made = made.is_ok();
        *self.polling.made.lock().unwrap_or_else(PoisonError::into_inner) =
            if is_made { wanted } else { BTreeMap::new() };
        if let Err(error) = made {
            warn!("repositories are not polled: {}", runtime::chain(&error));
            self.poll_later();
        }
    }

    /// Makes the timers match if another commit of a tenant is in effect by now, which says something else. Not in the tenant's
    /// turn: others' timers are made with it.
    pub(crate) async fn poll_as_said(&self, tenant: &TenantName) {
        let repository = RepositoryName::from(tenant);
        let wanted = timer(repository.clone(), self.noticing(&repository));
        let differs = {
            let made = self.polling.made.lock().unwrap_or_else(PoisonError::into_inner);
            made.get(&repository).is_some_and(|made| *made != wanted)
        };
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;
    use std::{
        io::{BufRead, BufReader, Write},
        os::unix::net::UnixListener,
        sync::mpsc,
        thread,
    };

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn however_many_ask_while_timers_are_made_they_are_made_once_more() {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("io.bitbuilder.Tenant")).unwrap();
        let (begin, begun) = mpsc::channel();
        let (go, gone) = mpsc::channel();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = BufReader::new(stream.unwrap());
                let mut call = Vec::new();
                stream.read_until(0, &mut call).unwrap();
                begin.send(call.windows(7).any(|word| word == b"Polling")).unwrap();
                gone.recv().unwrap();
                stream.get_mut().write_all(b"{\"parameters\":{\"changed\":true}}\0").unwrap();
            }
        });
        let services = runtime::Client::in_directory(directory.path());
        let engine = Engine::new(Store::open(directory.path()).unwrap(), &directory.path().join("floors"), services);
        let ask = || {
            let engine = engine.clone();
            tokio::spawn(async move { engine.poll().await })
        };
        let first = ask();
        assert!(begun.recv().unwrap());
        let others: Vec<_> = (0..100).map(|_| ask()).collect();
        while engine.polling.next.lock().unwrap().is_none() {
            tokio::task::yield_now().await;
        }
        go.send(()).unwrap();
        first.await.unwrap();
        assert!(begun.recv().unwrap());
        go.send(()).unwrap();
        futures_util::future::join_all(others).await;
        assert!(begun.try_recv().is_err(), "the timers were made for each who asked");
        assert!(!engine.polling.made.lock().unwrap().is_empty());
    }
}
