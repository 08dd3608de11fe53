//! The servers of each repository that has several: what the last look found of them.

use crate::engine::{Common, Engine};
use interfaces::{
    git_sync::{self, Fetch, Fetched, List},
    orchestrator::PushMirror,
};
use model::{Remote, RemoteState, TenantName, names::RepositoryName};
use runtime::client::CallError;
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

/// How a repository's servers are doing.
#[derive(Debug, Default)]
pub(crate) struct Servers {
    pub(crate) remotes: Vec<Remote>,
    pub(crate) push_mirror: Option<PushMirror>,
}

/// What the last look at each repository found of its servers. Not remembered: git-sync does, and every look asks it.
#[derive(Debug, Default)]
pub(crate) struct Remotes(Mutex<HashMap<RepositoryName, Vec<Remote>>>);

impl Remotes {
    /// Those of one repository.
    pub(crate) fn of(&self, repository: &RepositoryName) -> Vec<Remote> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(repository).cloned().unwrap_or_default()
    }

    /// What a look found of them; nothing if there is but one.
    pub(crate) fn set(&self, repository: &RepositoryName, remotes: Vec<Remote>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if remotes.is_empty() {
            known.remove(repository);
        } else {
            known.insert(repository.clone(), remotes);
        }
    }
}

impl Engine {
    /// Fetches, and takes down how the repository's servers are doing.
    pub(crate) async fn fetch_from_several(&self, fetch: &Fetch) -> Result<Fetched, CallError<git_sync::Error>> {
        let repository = &fetch.repository;
        let fetched = self.services.call(fetch).await;
        let several = fetch.mirrors.as_ref().is_some_and(|mirrors| !mirrors.as_slice().is_empty());
        let remotes = match &fetched {
            Ok(fetched) => fetched.remotes.clone(),
            // An error says nothing of them.
            Err(_) if several => {
                let held = self.services.call(&List { repository: Some(repository.clone()) }).await;
                held.map(|held| held.repositories.into_iter().flat_map(|held| held.remotes).collect())
                    .unwrap_or_default()
            }
            Err(_) => Vec::new(),
        };
        self.remotes.set(repository, remotes);
        fetched
    }
}

impl Common {
    /// Who shows what is refused, if that is a mirror: the words for a reason.
    pub(crate) fn refused_by(&self, repository: &RepositoryName) -> String {
        let remotes = self.remotes.of(repository);
        let refused = remotes.iter().skip(1).find(|remote| remote.state == RemoteState::Refused);
        let first = remotes.first().is_some_and(|first| first.state == RemoteState::Refused);
        refused.filter(|_| !first).map(|remote| format!(", as its mirror {} shows it,", remote.url)).unwrap_or_default()
    }

    /// How a tenant's servers are doing: those that it comes from, and the one that it goes to.
    pub(crate) fn servers_of(&self, tenant: &TenantName) -> Servers {
        self.servers(&RepositoryName::from(tenant))
    }

    /// The same of a repository.
    pub(crate) fn servers(&self, repository: &RepositoryName) -> Servers {
        Servers { remotes: self.remotes.of(repository), push_mirror: self.pushes.of(repository) }
    }
}
