//! A fetch that may turn out to be none: the server is asked which object the reference names, and if that one was fetched
//! and judged before and is checked out, the record answers.

use crate::{
    credentials::{Credentials, authorities_of_all},
    errand::{Errands, Task, passed_on},
    fault::file_error,
    looker::{Found, Question},
    place::{Place, Record},
    quiet::Quiet,
    several::{Attempt, Tried},
};
use host::lanes::Place as Lane;
use interfaces::git_sync::{Error, Fetch, Fetched};
use model::{names::RepositoryName, repository::Server};
use std::{
    collections::HashMap,
    ffi::OsString,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How long a server may take to say what a reference names.
const PATIENCE: Duration = Duration::from_secs(15);

/// What a look at one server comes to.
pub(crate) enum Shown {
    /// What was fetched and judged before, and is checked out.
    Known(Fetched),
    /// The server has no such reference.
    Nothing,
    /// The server says nothing.
    Silent(String),
    /// The server is no help.
    Away(String),
    /// It takes an errand to say.
    Unsure,
}

impl Errands {
    /// Fetches from one server. What is `quiet` ends before the mirror is touched.
    pub(crate) async fn fetch_from(
        &self,
        attempt: &Attempt,
        place: &Lane<Server>,
        until: Instant,
        quiet: &Quiet,
    ) -> Result<Tried, Error> {
        let repository = &attempt.call.repository;
        let patience = until.saturating_duration_since(Instant::now());
        match self.show(attempt, place, patience).await {
            Shown::Known(fetched) => return Ok(Tried::Fetched(fetched)),
            Shown::Nothing => {
                let (repository, reference) = (repository.clone(), attempt.call.reference.clone());
                return Err(Error::NoSuchReference { repository, reference });
            }
            Shown::Silent(reason) => return Err(attempt.unreachable(reason, true)),
            Shown::Away(reason) => return Err(attempt.unreachable(reason, false)),
            Shown::Unsure => {}
        }
        quiet.end(self, repository, until).await?;
        let answered = Place::new(&self.root, repository).answered();
        let forget =
            || host::files::remove(&answered).map_err(|cause| file_error(&format!("fetch {repository}"), &cause));
        forget()?;
        let mut tried = self.run(Task::Fetch(attempt.clone()), until).await;
        let has_answered = forget()?;
        // A look beside it may have read what was there before.
        self.records.forget(repository);
        match &mut tried {
            // One that said something and was slow with the rest is not silent.
            Err(Error::RepositoryUnreachable { silent, .. }) if Instant::now() >= until && !has_answered => {
                *silent = true;
                place.unanswered();
            }
            Ok(_) | Err(_) => place.answered(),
        }
        tried
    }

    /// Looks at one server.
    pub(crate) async fn show(&self, attempt: &Attempt, place: &Lane<Server>, patience: Duration) -> Shown {
        let patience = patience.min(PATIENCE);
        match self.glance(attempt, patience).await {
            Found::Object(object) => {
                place.answered();
                self.known(&attempt.call, &object).map_or(Shown::Unsure, Shown::Known)
            }
            Found::Nothing => {
                place.answered();
                Shown::Nothing
            }
            Found::Silence => {
                place.unanswered();
                Shown::Silent(format!("it has not answered within {} s", patience.as_millis().div_ceil(1000)))
            }
            Found::Unreachable(reason) => Shown::Away(reason),
            Found::Unsure => Shown::Unsure,
        }
    }

    /// What the server says of the reference, if it is one that can be asked beside others.
    async fn glance(&self, attempt: &Attempt, patience: Duration) -> Found {
        let login = match attempt.url().as_str().split_once("://") {
            Some(("git" | "http", _)) => None,
            Some(("https", _)) => {
                let credentials = Credentials::new(self.credentials.as_deref(), attempt);
                if credentials.has_own_authorities() {
                    return Found::Unsure;
                }
                // An errand says what is wrong with it.
                let Ok(login) = credentials.https_login() else { return Found::Unsure };
                login
            }
            _ => return Found::Unsure,
        };
        let question = Question {
            id: 0,
            url: attempt.url().clone(),
            reference: attempt.call.reference.clone(),
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
