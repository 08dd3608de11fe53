//! A fetch that may turn out to be none: the server is asked which object the reference names, and if that one was fetched
//! and judged before and is checked out, the record answers.

use crate::{
    credentials::{Credentials, authorities_of_all},
    errand::{Errands, Task, passed_on},
    looker::{Found, Question},
    place::{Place, Record},
};
use host::lanes::Silent;
use interfaces::git_sync::{Error, Fetch, Fetched, Looked};
use model::names::RepositoryName;
use std::{
    collections::HashMap,
    ffi::OsString,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How long a server may take to say what a reference names.
const PATIENCE: Duration = Duration::from_secs(15);

impl Errands {
    /// Fetches within one deadline, which begins when there is a place with the server. `about_to_write` comes before the
    /// mirror is touched, which it is not if nothing was pushed.
    pub(crate) async fn fetch(&self, call: Fetch, about_to_write: impl AsyncFnOnce()) -> Result<Fetched, Error> {
        let unreachable = |reason| Error::RepositoryUnreachable { repository: call.repository.clone(), reason };
        let place = self.servers.enter(&call.url.server()).await;
        let place = place.map_err(|silent: Silent| unreachable(silent.to_string()))?;
        let until = Instant::now() + self.patience;
        match self.glance(&call, self.patience.min(PATIENCE)).await {
            Found::Object(object) => {
                place.answered();
                if let Some(fetched) = self.known(&call, &object) {
                    return Ok(fetched);
                }
            }
            Found::Nothing => {
                place.answered();
                let Fetch { repository, reference, .. } = call;
                return Err(Error::NoSuchReference { repository, reference });
            }
            Found::Silence => {
                place.unanswered();
                return Err(unreachable(self.silence()));
            }
            Found::Unreachable(reason) => return Err(unreachable(reason)),
            Found::Unsure => {}
        }
        about_to_write().await;
        let repository = call.repository.clone();
        let fetched = self.run(Task::Fetch(call), until).await;
        // A look beside it may have read what was there before.
        self.records.forget(&repository);
        match &fetched {
            Err(Error::RepositoryUnreachable { .. }) if Instant::now() >= until => place.unanswered(),
            Ok(_) | Err(_) => place.answered(),
        }
        fetched
    }

    /// Looks, and does nothing else.
    pub(crate) async fn look(&self, call: Fetch) -> Looked {
        let looked = |unreachable: Option<String>| Looked {
            repository: call.repository.clone(),
            revision: None,
            path: None,
            unreachable,
        };
        let place = match self.servers.enter(&call.url.server()).await {
            Ok(place) => place,
            Err(silent) => return looked(Some(silent.to_string())),
        };
        match self.glance(&call, self.patience.min(PATIENCE)).await {
            Found::Object(object) => {
                place.answered();
                let Some(Fetched { revision, .. }) = self.known(&call, &object) else { return looked(None) };
                let path = Place::new(&self.root, &call.repository).checkout(&revision).display().to_string();
                Looked { revision: Some(revision), path: Some(path), ..looked(None) }
            }
            Found::Silence => {
                place.unanswered();
                looked(Some(self.silence()))
            }
            Found::Unreachable(reason) => looked(Some(reason)),
            Found::Nothing | Found::Unsure => looked(None),
        }
    }

    fn silence(&self) -> String {
        format!("it has not answered within {} s", self.patience.min(PATIENCE).as_secs())
    }

    /// What the server says of the reference, if it is one that can be asked beside others.
    async fn glance(&self, call: &Fetch, patience: Duration) -> Found {
        let login = match call.url.as_str().split_once("://") {
            Some(("git" | "http", _)) => None,
            Some(("https", _)) => {
                let credentials = Credentials::new(self.credentials.as_deref(), &call.repository);
                if credentials.has_own_authorities() {
                    return Found::Unsure;
                }
                credentials.https_login_path()
            }
            _ => return Found::Unsure,
        };
        let question = Question {
            id: 0,
            url: call.url.clone(),
            reference: call.reference.clone(),
            login,
            milliseconds: u64::try_from(patience.as_millis()).unwrap_or(u64::MAX),
        };
        let environment = || -> Vec<(&'static str, OsString)> {
            let authorities = authorities_of_all(self.credentials.as_deref());
            passed_on().chain(authorities.map(|path| ("SSL_CERT_FILE", path.into()))).collect()
        };
        self.looks.look(&self.program, environment, question, patience).await
    }

    /// What is known of the object. What is not checked out may be damaged, which an errand finds.
    fn known(&self, call: &Fetch, object: &str) -> Option<Fetched> {
        let place = Place::new(&self.root, &call.repository);
        let record = self.records.of(&call.repository, &place)?;
        let fetched = record.answer(call, object)?;
        place.checkout(&fetched.revision).is_dir().then_some(fetched)
    }
}

/// The records as they were read since somebody wrote last.
#[derive(Debug, Default)]
pub(crate) struct Records(Mutex<HashMap<RepositoryName, Arc<Record>>>);

impl Records {
    fn of(&self, repository: &RepositoryName, place: &Place) -> Option<Arc<Record>> {
        if let Some(record) = self.lock().get(repository) {
            return Some(Arc::clone(record));
        }
        let record = Arc::new(place.record()?);
        self.lock().insert(repository.clone(), Arc::clone(&record));
        Some(record)
    }

    /// Somebody writes.
    pub(crate) fn forget(&self, repository: &RepositoryName) {
        self.lock().remove(repository);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RepositoryName, Arc<Record>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
