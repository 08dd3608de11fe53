//! Keeps push mirrors in step: each commit that held is pushed to the repository's push mirror, if it has one, beside all
//! else and as often as it takes. Nothing waits for it.

use crate::{engine::Engine, store::now_usec};
use host::lanes::{Lanes, Silent};
use interfaces::{git_sync, orchestrator::PushMirror};
use model::{PushUrl, Reference, Revision, TenantName, names::RepositoryName, repository::Server};
use runtime::client::CallError;
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tracing::{info, warn};

/// How long to wait before the next try, and the longest that doubling makes of it.
const RETRY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));

/// Pushes that are asked for at a time, and with one server.
const AT_A_TIME: (usize, usize) = (16, 4);

/// How far each push mirror is. Not remembered: git-sync does, and a push of what was pushed costs nothing.
#[derive(Debug)]
pub(crate) struct Pushes {
    progress: Mutex<HashMap<RepositoryName, Progress>>,
    servers: Lanes<Server>,
}

impl Default for Pushes {
    fn default() -> Self {
        let (in_all, each) = AT_A_TIME;
        Self { progress: Mutex::default(), servers: Lanes::new(in_all, each) }
    }
}

#[derive(Debug)]
struct Progress {
    url: PushUrl,
    /// What it has from here.
    revision: Option<Revision>,
    behind_since_usec: Option<u64>,
    reason: Option<String>,
    /// Whether somebody is pushing, or waits for the next try.
    working: bool,
}

impl Pushes {
    fn lock(&self) -> MutexGuard<'_, HashMap<RepositoryName, Progress>> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How far a repository's is.
    pub(crate) fn of(&self, repository: &RepositoryName) -> Option<PushMirror> {
        self.lock().get(repository).map(|progress| PushMirror {
            url: progress.url.clone(),
            revision: progress.revision.clone(),
            behind_since_u_sec: progress.behind_since_usec,
            reason: progress.reason.clone(),
        })
    }

    /// What holds is this. Returns whether it has to be pushed, and nobody is about to.
    fn wants(&self, push: &git_sync::Push, now_usec: u64) -> bool {
        let mut all = self.lock();
        let progress = all.entry(push.repository.clone()).or_insert_with(|| Progress::of(push.url.clone()));
        if progress.url != push.url {
            *progress = Progress { working: progress.working, ..Progress::of(push.url.clone()) };
        }
        if progress.revision.as_ref() == Some(&push.revision) {
            return false;
        }
        progress.behind_since_usec.get_or_insert(now_usec);
        !std::mem::replace(&mut progress.working, true)
    }

    /// It was pushed, or not, for this reason.
    fn ended(&self, push: &git_sync::Push, failed: Option<String>) {
        let mut all = self.lock();
        let Some(progress) = all.get_mut(&push.repository).filter(|progress| progress.url == push.url) else { return };
        if failed.is_none() {
            (progress.revision, progress.behind_since_usec) = (Some(push.revision.clone()), None);
        }
        progress.reason = failed;
    }

    /// Nobody works on it any more.
    fn rest(&self, repository: &RepositoryName) {
        if let Some(progress) = self.lock().get_mut(repository) {
            progress.working = false;
        }
    }
}

impl Progress {
    fn of(url: PushUrl) -> Self {
        Self { url, revision: None, behind_since_usec: None, reason: None, working: false }
    }
}

impl Engine {
    /// Pushes what holds of a repository, if it has a push mirror and that does not have it yet. Returns at once.
    pub(crate) fn keep_in_step(&self, repository: &RepositoryName) {
        let Some(push) = self.to_push(repository) else {
            self.pushes.lock().remove(repository);
            return;
        };
        if self.pushes.wants(&push, now_usec()) {
            let (engine, repository) = (self.clone(), repository.clone());
            tokio::spawn(async move {
                engine.push_until_done(&repository).await;
                engine.pushes.rest(&repository);
                // Something may have held while the last push ended.
                engine.keep_in_step(&repository);
            });
        }
    }

    /// The same of everything that has a push mirror, as after a start.
    pub(crate) fn keep_all_in_step(&self) {
        let tenants: Vec<RepositoryName> = {
            let memory = self.store.memory();
            let pushed = memory.host.registry.iter().filter(|entry| entry.push_mirror.is_some());
            pushed.map(|entry| RepositoryName::from(&entry.name)).collect()
        };
        [RepositoryName::system()].iter().chain(&tenants).for_each(|repository| self.keep_in_step(repository));
    }

    async fn push_until_done(&self, repository: &RepositoryName) {
        let (mut pause, longest) = RETRY;
        // What holds by now counts, not what held when this began.
        while let Some(push) = self.to_push(repository) {
            match self.push(&push).await {
                Ok(changed) => {
                    if changed {
                        info!(%repository, revision = %push.revision, url = %push.url, "pushed to its mirror");
                    }
                    return self.pushes.ended(&push, None);
                }
                Err(reason) => {
                    warn!(%repository, url = %push.url, "its push mirror is behind: {reason}");
                    self.pushes.ended(&push, Some(reason));
                }
            }
            // Those of one server do not come back all at once.
            tokio::time::sleep(pause / 2 + pause.mul_f64(fastrand::f64() / 2.0)).await;
            pause = pause.saturating_mul(2).min(longest);
        }
    }

    /// Pushes once, when there is a place with the server. Returns whether that was not done before, or why it was not done.
    async fn push(&self, push: &git_sync::Push) -> Result<bool, String> {
        let place = self.pushes.servers.enter(&push.url.server()).await.map_err(|silent: Silent| silent.to_string())?;
        let pushed = self.services.call(push).await;
        match &pushed {
            Err(CallError::Failed(git_sync::Error::RepositoryUnreachable { silent: true, .. })) => place.unanswered(),
            Ok(_) | Err(_) => place.answered(),
        }
        pushed.map(|pushed| pushed.changed).map_err(|error| runtime::chain(&error))
    }

    /// The commit that held last, and where it goes: never one that was refused or is only tried.
    fn to_push(&self, repository: &RepositoryName) -> Option<git_sync::Push> {
        let memory = self.store.memory();
        let (url, reference, revision) = match repository.as_str().parse::<TenantName>() {
            Ok(tenant) => {
                let entry = memory.host.registry.iter().find(|entry| entry.name == tenant)?;
                let held = memory.tenants.get(&tenant).filter(|ledger| ledger.registered)?.verified.as_ref()?;
                (entry.push_mirror.clone()?, entry.reference.clone(), held.revision.clone())
            }
            // "system" is the one repository name that is no tenant's.
            Err(_) => {
                let host = &memory.host;
                let reference = host.reference.clone().unwrap_or_else(Reference::main);
                (host.push_mirror.clone()?, reference, host.revision.clone()?)
            }
        };
        Some(git_sync::Push { repository: repository.clone(), url, reference, revision })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(url: &str, digit: &str) -> git_sync::Push {
        git_sync::Push {
            repository: "web".parse().unwrap(),
            url: url.parse().unwrap(),
            reference: Reference::main(),
            revision: digit.repeat(40).parse().unwrap(),
        }
    }

    #[test]
    fn one_pushes_at_a_time_and_what_is_there_is_not_pushed_again() {
        let pushes = Pushes::default();
        let (first, second) = (push("ssh://git@h/web", "a"), push("ssh://git@h/web", "b"));
        let shown = || pushes.of(&first.repository).unwrap();
        assert!(pushes.wants(&first, 1) && !pushes.wants(&first, 2) && !pushes.wants(&second, 3));
        pushes.ended(&first, Some("away".to_owned()));
        assert_eq!((shown().behind_since_u_sec, shown().reason.as_deref()), (Some(1), Some("away")));
        pushes.ended(&second, None);
        pushes.rest(&first.repository);
        assert!(!pushes.wants(&second, 4));
        assert_eq!((shown().revision, shown().behind_since_u_sec, shown().reason), (Some(second.revision), None, None));
        // Another mirror has nothing yet, and what is told of the former one is not about it.
        let other = push("ssh://git@i/web", "b");
        assert!(pushes.wants(&other, 5));
        pushes.ended(&first, None);
        assert_eq!(shown().revision, None);
    }
}
