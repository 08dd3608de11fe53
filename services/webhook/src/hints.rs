//! Hints become looks: the first at once, and whatever comes soon after it one more, however many there are. There is no
//! queue: of each repository it is only known whether another hint has come since it was last asked for.

use interfaces::orchestrator::Sync;
use model::names::RepositoryName;
use runtime::Client;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::{Notify, watch};
use tracing::{info, warn};

/// How long hints are gathered after a look was asked for, and the longest that doubling makes of it while they keep coming.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));
/// The orchestrator only takes the request down.
const PATIENCE: Duration = Duration::from_secs(30);
/// More repositories than a host follows. Only who knows the common secret can name so many.
const MOST: usize = 8192;

/// What asks the orchestrator.
#[derive(Clone)]
pub(crate) struct Hints(Arc<Common>);

struct Common {
    client: Client,
    /// The repositories that were asked for a moment ago, and whether another hint has come since.
    asked: Mutex<HashMap<RepositoryName, bool>>,
    settled: Notify,
    hurry: watch::Sender<bool>,
}

impl Hints {
    pub(crate) fn new(client: &Client) -> Self {
        let (asked, settled) = (Mutex::default(), Notify::new());
        Self(Arc::new(Common { client: client.waiting(PATIENCE), asked, settled, hurry: watch::channel(false).0 }))
    }

    /// There may be something new.
    pub(crate) fn take(&self, repository: &RepositoryName) {
        let mut asked = self.asked();
        if let Some(again) = asked.get_mut(repository) {
            *again = true;
        } else if asked.len() < MOST {
            asked.insert(repository.clone(), false);
            tokio::spawn(self.clone().ask(repository.clone()));
        } else {
            warn!(%repository, "a hint is left out: too many repositories are asked for at a time");
        }
    }

    async fn ask(self, repository: RepositoryName) {
        let (mut pause, longest) = PAUSE;
        let mut hurry = self.0.hurry.subscribe();
        loop {
            let look = Sync { tenant: Some(repository.clone()), wait: Some(false), poll: None };
            match self.0.client.call(&look).await {
                Ok(_) => info!(%repository, "asked to look"),
                Err(cause) => warn!(%repository, "cannot ask for a look: {}", runtime::chain(&cause)),
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                // The sender lives as long as this task does.
                _ = hurry.wait_for(|hurry| *hurry) => {}
            }
            let mut asked = self.asked();
            match asked.get_mut(&repository) {
                Some(again) if *again => *again = false,
                Some(_) | None => {
                    asked.remove(&repository);
                    break;
                }
            }
            pause = (pause * 2).min(longest);
        }
        self.0.settled.notify_waiters();
    }

    /// Whether nothing is still to be asked.
    pub(crate) fn are_settled(&self) -> bool {
        self.asked().is_empty()
    }

    /// Asks at once for what waits, and returns when that is done.
    pub(crate) async fn settle(&self) {
        self.0.hurry.send_replace(true);
        loop {
            let mut settled = std::pin::pin!(self.0.settled.notified());
            settled.as_mut().enable();
            if self.are_settled() {
                return;
            }
            settled.await;
        }
    }

    fn asked(&self) -> MutexGuard<'_, HashMap<RepositoryName, bool>> {
        self.0.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
