//! What is done with a mirror while nobody else wants anything of it: one at a time, ended at once when somebody does. What
//! was ended often, or is pressing, is done first.

use crate::{
    errand::{Errands, Task},
    place::Place,
    tidy::{is_pressing, is_untidy},
};
use interfaces::git_sync::{Changed, Error};
use model::names::RepositoryName;
use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{sync::Semaphore, task::JoinHandle, time::timeout_at};
use tracing::{info, warn};

/// How long one mirror may take.
const PATIENCE: Duration = Duration::from_secs(300);
/// How often one is ended before it is finished first.
const OFTEN: u32 = 3;

/// What is going on quietly.
#[derive(Debug, Clone)]
pub(crate) struct Quiet {
    state: Arc<Mutex<State>>,
    /// One at a time of those that nobody waits for, and of those that somebody does.
    unhurried: Arc<Semaphore>,
    hurried: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct State {
    going: HashMap<RepositoryName, Going>,
    /// The mirrors that nobody has written to since they were looked at.
    looked_at: HashSet<RepositoryName>,
    /// How often in a row one was ended.
    ended: HashMap<RepositoryName, u32>,
    /// It was tried and failed: nobody waits for it before it has been done.
    failed: HashSet<RepositoryName>,
}

#[derive(Debug)]
struct Going {
    task: JoinHandle<()>,
    /// Whether it has its turn.
    begun: Arc<AtomicBool>,
}

impl Default for Quiet {
    fn default() -> Self {
        let one = || Arc::new(Semaphore::new(1));
        Self { state: Arc::default(), unhurried: one(), hurried: one() }
    }
}

impl Quiet {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing was new: there is time to tidy, if there is anything to be tidied since somebody wrote last.
    pub(crate) fn begin(&self, errands: &Errands, repository: &RepositoryName) {
        let mut state = self.state();
        if state.looked_at.contains(repository) {
            return;
        }
        state.looked_at.insert(repository.clone());
        if is_untidy(&Place::new(&errands.root, repository), errands.budget) {
            let going = self.start(errands, repository, &self.unhurried);
            state.going.insert(repository.clone(), going);
        }
    }

    fn start(&self, errands: &Errands, repository: &RepositoryName, turns: &Arc<Semaphore>) -> Going {
        let (quiet, errands, name, turns) = (self.clone(), errands.clone(), repository.clone(), Arc::clone(turns));
        let begun = Arc::new(AtomicBool::new(false));
        let begins = Arc::clone(&begun);
        let task = tokio::spawn(async move {
            // The semaphore is never closed.
            let _turn = turns.acquire().await;
            begins.store(true, Ordering::Relaxed);
            let tidied: Result<Changed, Error> = errands.run(Task::Tidy(name.clone()), Instant::now() + PATIENCE).await;
            let mut state = quiet.state();
            state.ended.remove(&name);
            match tidied {
                Ok(Changed { changed }) => {
                    state.failed.remove(&name);
                    if changed {
                        info!(repository = %name, "tidied");
                    }
                }
                Err(cause) => {
                    warn!(repository = %name, "not tidied: {}", runtime::chain(&cause));
                    state.failed.insert(name);
                }
            }
        });
        Going { task, begun }
    }

    /// Somebody is about to write: what goes on ends, half done, and what it leaves is removed by who writes. If it was ended
    /// too often, or is pressing, who writes waits until then at most.
    ///
    /// # Errors
    /// It takes longer.
    pub(crate) async fn end(
        &self,
        errands: &Errands,
        repository: &RepositoryName,
        until: Instant,
    ) -> Result<(), Error> {
        let is_pressing = is_pressing(&Place::new(&errands.root, repository), errands.budget);
        let (going, first) = {
            let mut state = self.state();
            state.looked_at.remove(repository);
            let often = state.ended.get(repository).is_some_and(|ended| *ended >= OFTEN);
            (state.going.remove(repository), (is_pressing || often) && !state.failed.contains(repository))
        };
        let mut going = match going {
            Some(going) if first && (going.begun.load(Ordering::Relaxed) || going.task.is_finished()) => going,
            other => {
                let was_going = other.is_some();
                self.abort(repository, other).await;
                if !first || !(was_going || is_pressing) {
                    return Ok(());
                }
                self.start(errands, repository, &self.hurried)
            }
        };
        if timeout_at(until.into(), &mut going.task).await.is_ok() {
            return Ok(());
        }
        self.state().going.insert(repository.clone(), going);
        let reason = "its mirror has to be tidied first, which is going on".to_owned();
        Err(Error::Failed { action: format!("work on the repository {repository}"), reason })
    }

    /// The repository is about to be removed: what goes on with it ends, and nothing is known of it any more.
    pub(crate) async fn forget(&self, repository: &RepositoryName) {
        let going = {
            let mut state = self.state();
            state.looked_at.remove(repository);
            state.failed.remove(repository);
            state.going.remove(repository)
        };
        self.abort(repository, going).await;
        self.state().ended.remove(repository);
    }

    async fn abort(&self, repository: &RepositoryName, going: Option<Going>) {
        let Some(Going { task, begun }) = going else { return };
        task.abort();
        // It ended by itself or was ended.
        let is_ended = task.await.is_err_and(|ended| ended.is_cancelled());
        if is_ended && begun.load(Ordering::Relaxed) {
            *self.state().ended.entry(repository.clone()).or_default() += 1;
        }
    }
}
