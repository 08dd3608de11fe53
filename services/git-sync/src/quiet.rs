//! What is done with a mirror while nobody else wants anything of it: one at a time, ended at once when somebody does.

use crate::{
    errand::{Errands, Task},
    place::Place,
    tidy::is_untidy,
};
use interfaces::git_sync::{Changed, Error};
use model::names::RepositoryName;
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::{sync::Semaphore, task::JoinHandle};
use tracing::{info, warn};

/// How long one mirror may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// What is going on quietly.
#[derive(Debug, Clone)]
pub(crate) struct Quiet(Arc<Mutex<State>>, Arc<Semaphore>);

#[derive(Debug, Default)]
struct State {
    going: HashMap<RepositoryName, JoinHandle<()>>,
    /// The mirrors that nobody has written to since they were looked at.
    looked_at: HashSet<RepositoryName>,
}

impl Default for Quiet {
    fn default() -> Self {
        Self(Arc::default(), Arc::new(Semaphore::new(1)))
    }
}

impl Quiet {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing was new: there is time to tidy, if there is anything to be tidied since somebody wrote last.
    pub(crate) fn begin(&self, errands: &Errands, repository: &RepositoryName) {
        let mut state = self.state();
        if state.looked_at.contains(repository) {
            return;
        }
        state.looked_at.insert(repository.clone());
        if !is_untidy(&Place::new(&errands.root, repository)) {
            return;
        }
        let (errands, name, one) = (errands.clone(), repository.clone(), Arc::clone(&self.1));
        let task = tokio::spawn(async move {
            // The semaphore is never closed.
            let _one = one.acquire().await;
            let tidied: Result<Changed, Error> = errands.run(Task::Tidy(name.clone()), Instant::now() + PATIENCE).await;
            match tidied {
                Ok(Changed { changed: true }) => info!(repository = %name, "tidied"),
                Ok(Changed { changed: false }) => {}
                Err(cause) => warn!(repository = %name, "not tidied: {}", runtime::chain(&cause)),
            }
        });
        state.going.insert(repository.clone(), task);
    }

    /// Somebody is about to write: what goes on ends, half done, and what it leaves is removed by who writes.
    pub(crate) async fn end(&self, repository: &RepositoryName) {
        let going = {
            let mut state = self.state();
            state.looked_at.remove(repository);
            state.going.remove(repository)
        };
        if let Some(going) = going {
            going.abort();
            // It ended by itself or was ended.
            let _either = going.await;
        }
    }
}
