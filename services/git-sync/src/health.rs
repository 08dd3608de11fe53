//! How the servers of each repository that has several are doing: in memory, and on disk when it changes.

use crate::{place::Place, remotes::Remotes};
use host::files::FileError;
use interfaces::git_sync::Fetch;
use model::names::RepositoryName;
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};
use tracing::warn;

/// What is known of them; of a repository with one server nothing is kept.
#[derive(Debug, Default)]
pub(crate) struct Health(Mutex<HashMap<RepositoryName, Remotes>>);

impl Health {
    /// Takes down what was learnt of a call's servers. Returns how they are doing.
    pub(crate) fn learn(&self, place: &Place, call: &Fetch, what: impl FnOnce(&mut Remotes, u64)) -> Remotes {
        let now = now_usec();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.entry(call.repository.clone()).or_insert_with(|| place.remotes());
        let mut after = before.clone().at(call.addresses(), now);
        what(&mut after, now);
        if *before != after {
            if let Err(cause) = place.write_remotes(&after) {
                // It is in memory.
                not_kept(&call.repository, &cause);
            }
            before.clone_from(&after);
        }
        after
    }

    /// The repository has one server: nothing is to be said of others.
    pub(crate) fn forget(&self, place: &Place, repository: &RepositoryName) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.get(repository).is_some_and(Remotes::is_empty) {
            return;
        }
        match place.forget_remotes() {
            Ok(()) => drop(known.insert(repository.clone(), Remotes::default())),
            Err(cause) => not_kept(repository, &cause),
        }
    }
}

fn not_kept(repository: &RepositoryName, cause: &FileError) {
    warn!(%repository, "how its servers are doing is not remembered: {}", runtime::chain(cause));
}

pub(crate) fn now_usec() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
