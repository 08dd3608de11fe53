//! The repositories of which something is still to be said to another service: each once, however much became of it, and in the
//! order in which they came, so that one with which it fails again and again holds up no other.

use model::names::RepositoryName;
use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};
use tokio::sync::Notify;

/// Who waits, and how the one who serves them hears of more.
#[derive(Debug, Default)]
pub(crate) struct Due {
    names: Mutex<VecDeque<RepositoryName>>,
    more: Notify,
}

impl Due {
    /// Something is to be said of this repository, behind what is to be said of others.
    pub(crate) fn insert(&self, repository: &RepositoryName) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if !names.contains(repository) {
            names.push_back(repository.clone());
        }
        drop(names);
        self.more.notify_one();
    }

    /// Takes out the one that waits longest.
    pub(crate) async fn next(&self) -> RepositoryName {
        loop {
            let next = self.names.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            match next {
                Some(name) => return name,
                None => self.more.notified().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_waits_once_and_goes_behind_the_others_when_it_comes_again() {
        let due = Due::default();
        let [a, b]: [RepositoryName; 2] = ["a", "b"].map(|name| name.parse().unwrap());
        [&a, &b, &a].into_iter().for_each(|name| due.insert(name));
        assert_eq!(due.next().await, a);
        due.insert(&a);
        assert_eq!((due.next().await, due.next().await), (b.clone(), a));
        // Whoever serves them hears of one that comes while nobody waits.
        let (next, ()) = tokio::join!(due.next(), async { due.insert(&b) });
        assert_eq!(next, b);
    }
}
