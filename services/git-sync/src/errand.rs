//! One piece of work with what a server sent, done by a child of ours: this program, run once more, with limits of its own,
//! the call on standard input and the reply on standard output. gix blocks, and hostile packs are made to exhaust.

use crate::{
    checkout::checkout,
    confine::confine,
    credentials::Credentials,
    export,
    fault::{
        checkout_error, failed, fetch_error, file_error, import_error, no_answer, push_error, record_error, tidy_error,
    },
    fetch::{Access, fetch},
    forget::forget,
    glance::Records,
    health::Health,
    import::import,
    login::{Login, NotALogin},
    looks::Looks,
    place::Place,
    prune::prune,
    push::push,
    record::record,
    sandbox::{Allowed, restrict},
    seed::Seeds,
    several::Attempt,
    tidy::tidy,
};
use host::{
    command::Command,
    lanes::{self, Lanes},
};
use interfaces::git_sync::{Changed, CheckedOut, Checkout, Error, Exported, Fetch, Imported, Prune, Push, Record};
use model::{export::Export, names::RepositoryName, repository::Server};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::{
    ffi::OsString,
    io::{self, Read, Write},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::Semaphore;

/// The argument with which this program does an errand.
pub const ARGUMENT: &str = "--errand";

/// Errands at a time that need no server.
const HERE_AT_A_TIME: usize = 8;
/// What the packs of a mirror may have together, in bytes.
const BUDGET: u64 = 4 << 30;
/// Seconds of processor time for one.
pub(crate) const PROCESSOR_TIME: u64 = 120;
/// What an administrator may set for the service and the child needs: proxies and authorities.
const PASSED_ON: [&str; 6] = ["http_proxy", "https_proxy", "all_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR"];

/// What a child is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Task {
    Fetch(Attempt),
    Checkout(Checkout),
    Prune(Prune),
    Record(Record),
    Tidy(RepositoryName),
    Forget(RepositoryName),
    Push(Push),
    /// Makes what `Stream` writes to standard output, in place of an answer.
    Gather(Export),
    Stream,
    Import,
}

impl Task {
    pub(crate) fn repository(&self) -> RepositoryName {
        match self {
            Self::Fetch(Attempt { call: Fetch { repository, .. }, .. })
            | Self::Checkout(Checkout { repository, .. })
            | Self::Prune(Prune { repository, .. })
            | Self::Record(Record { repository, .. })
            | Self::Push(Push { repository, .. })
            | Self::Tidy(repository)
            | Self::Forget(repository) => repository.clone(),
            Self::Gather(_) | Self::Stream | Self::Import => RepositoryName::system(),
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Errand {
    root: PathBuf,
    credentials: Option<PathBuf>,
    /// For the one server that is fetched from: a child reads no file that has others.
    login: Option<Login>,
    budget: u64,
    task: Task,
}

impl Errand {
    /// What it has to read and to write besides what the system is made of.
    fn allowed(&self, place: &Place) -> Allowed {
        let shown = self.credentials.as_deref();
        let read = match &self.task {
            Task::Fetch(attempt) => {
                let here = attempt.url().as_str().strip_prefix("file://").map(PathBuf::from);
                Credentials::new(shown, attempt).files().into_iter().chain(here).collect()
            }
            Task::Push(call) => Credentials::files_to_push(shown, call),
            Task::Checkout(_) | Task::Prune(_) | Task::Record(_) | Task::Tidy(_) => Vec::new(),
            // Root asks for all mirrors, or for the end of a directory.
            Task::Gather(_) | Task::Stream | Task::Import | Task::Forget(_) => {
                return Allowed { read: Vec::new(), write: vec![self.root.clone()] };
            }
        };
        Allowed { read, write: vec![place.directory.clone()] }
    }
}

/// Has errands done.
#[derive(Debug, Clone)]
pub struct Errands {
    pub(crate) root: PathBuf,
    pub(crate) credentials: Option<PathBuf>,
    pub(crate) program: String,
    pub(crate) patience: Duration,
    pub(crate) budget: u64,
    pub(crate) servers: Lanes<Server>,
    pub(crate) looks: Arc<Looks>,
    pub(crate) records: Arc<Records>,
    pub(crate) health: Arc<Health>,
    pub(crate) seeds: Arc<Seeds>,
    here: Arc<Semaphore>,
}

impl Errands {
    /// Errands below `root`, of 60 s each, done by this very program.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            credentials: std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from),
            // Also after an upgrade has replaced its file.
            program: "/proc/self/exe".to_owned(),
            patience: Duration::from_secs(60),
            budget: BUDGET,
            servers: Lanes::new(lanes::AT_A_TIME, lanes::WITH_ONE_SERVER),
            looks: Arc::default(),
            records: Arc::default(),
            health: Arc::default(),
            seeds: Arc::default(),
            here: Arc::new(Semaphore::new(HERE_AT_A_TIME)),
        }
    }

    /// The same, done by another program than this one.
    #[must_use]
    pub fn with_program(self, program: &str) -> Self {
        Self { program: program.to_owned(), ..self }
    }

    /// The same, with the credentials in another directory than systemd's.
    #[must_use]
    pub fn with_credentials(self, directory: &Path) -> Self {
        Self { credentials: Some(directory.to_owned()), ..self }
    }

    /// The same, with another deadline.
    #[must_use]
    pub fn within(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// The same, with mirrors of so many bytes at most.
    #[must_use]
    pub fn with_budget(self, budget: u64) -> Self {
        Self { budget, ..self }
    }

    /// Until when somebody who asks now waits.
    pub(crate) fn patient(&self) -> Instant {
        Instant::now() + self.patience
    }

    /// Does an errand that needs no server.
    pub(crate) async fn run_here<R: DeserializeOwned>(&self, task: Task) -> Result<R, Error> {
        // The semaphore is never closed.
        let _place = self.here.acquire().await;
        self.run(task, self.patient()).await
    }

    /// Does one errand. The child and what it started are killed when the deadline is over or nobody waits any more.
    pub(crate) async fn run<R: DeserializeOwned>(&self, task: Task, until: Instant) -> Result<R, Error> {
        let (task, request) = self.request(task)?;
        let answer = self.child(&task, until).input(request).run().await.map_err(|cause| no_answer(&task, cause))?;
        let answer: Result<Value, Error> =
            serde_json::from_str(&answer).map_err(|cause| failed(&task, cause.to_string()))?;
        serde_json::from_value(answer?).map_err(|cause| failed(&task, cause.to_string()))
    }

    /// Pushes when there is a place with the server.
    pub(crate) async fn push(&self, call: Push) -> Result<Changed, Error> {
        let repository = call.repository.clone();
        let place = match self.servers.enter(&call.url.server()).await {
            Ok(place) => place,
            Err(cause) => {
                return Err(Error::RepositoryUnreachable { repository, reason: cause.to_string(), silent: true });
            }
        };
        let until = Instant::now() + self.patience;
        let mut pushed = self.run(Task::Push(call), until).await;
        match &mut pushed {
            Err(Error::RepositoryUnreachable { silent, .. }) if Instant::now() >= until => {
                *silent = true;
                place.unanswered();
            }
            Ok(_) | Err(_) => place.answered(),
        }
        pushed
    }

    /// Does one that needs no server and writes to `into` instead of answering.
    pub(crate) async fn stream_here(&self, task: Task, into: OwnedFd) -> Result<(), Error> {
        // The semaphore is never closed.
        let _place = self.here.acquire().await;
        let (task, request) = self.request(task)?;
        let child = self.child(&task, Instant::now() + self.patience).input(request).output_into(into);
        child.run().await.map(drop).map_err(|cause| no_answer(&task, cause))
    }

    fn request(&self, task: Task) -> Result<(Task, Vec<u8>), Error> {
        let (root, credentials) = (self.root.clone(), self.credentials.clone());
        let login = if let Task::Fetch(attempt) = &task {
            let refused = |cause: NotALogin| attempt.unreachable(cause.to_string(), false);
            Credentials::new(credentials.as_deref(), attempt).https_login().map_err(refused)?
        } else {
            None
        };
        let errand = Errand { root, credentials, login, budget: self.budget, task };
        let request = serde_json::to_vec(&errand).map_err(|cause| failed(&errand.task, cause.to_string()))?;
        Ok((errand.task, request))
    }

    fn child(&self, task: &Task, until: Instant) -> Command {
        let child = Command::new(&self.program)
            .arg(ARGUMENT)
            .in_group()
            .within(until.saturating_duration_since(Instant::now()))
            // Only who judges a signature needs one, and it can write nowhere else.
            .env("TMPDIR", Place::new(&self.root, &task.repository()).keys())
            .env("GIT_CONFIG_GLOBAL", Place::new(&self.root, &task.repository()).git_config())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_NO_LAZY_FETCH", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            // Arenas count as address space, however little of them is used.
            .env("MALLOC_ARENA_MAX", "2");
        let child = passed_on().fold(child, |child, (name, value)| child.env(name, value));
        let Task::Fetch(attempt) = task else { return child };
        match Credentials::new(self.credentials.as_deref(), attempt).authorities() {
            Some(path) => child.env("SSL_CERT_FILE", path),
            None => child,
        }
    }
}

/// What of the service's environment a child has, too.
pub(crate) fn passed_on() -> impl Iterator<Item = (&'static str, OsString)> {
    PASSED_ON.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)))
}

/// Does the errand on standard input.
#[must_use]
pub fn main() -> ExitCode {
    let done = confine(Some(PROCESSOR_TIME)).and_then(|()| {
        let mut request = Vec::new();
        io::stdin().read_to_end(&mut request)?;
        let errand: Errand = serde_json::from_slice(&request)?;
        let place = Place::new(&errand.root, &errand.task.repository());
        if let Task::Fetch(_) = errand.task {
            // What cannot be made now cannot be made later either, and is said then.
            let _later = place.make();
        }
        restrict(&errand.allowed(&place))?;
        if let Task::Stream = errand.task {
            return export::stream(&errand.root).map_err(|cause| io::Error::other(runtime::chain(&cause)));
        }
        let answer = perform(&errand);
        io::stdout().write_all(&serde_json::to_vec(&answer)?)
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => {
            eprintln!("{cause}");
            ExitCode::FAILURE
        }
    }
}

fn perform(Errand { root, credentials, login, budget, task }: &Errand) -> Result<Value, Error> {
    let place = Place::new(root, &task.repository());
    match task {
        Task::Fetch(attempt) => {
            let credentials = Credentials::new(credentials.as_deref(), attempt);
            fetch(&place, attempt, Access { credentials: &credentials, login: login.as_ref(), budget: *budget })
                .map(|tried| to_value(&tried))
                .map_err(|cause| fetch_error(&attempt.call, cause))
        }
        Task::Checkout(call) => {
            let path = place.checkout(&call.revision).display().to_string();
            checkout(&place, &call.revision)
                .map(|changed| to_value(&CheckedOut { path, changed }))
                .map_err(|cause| checkout_error(call, cause))
        }
        Task::Prune(call) => prune(&place, &call.keep)
            .map(|changed| to_value(&Changed { changed }))
            .map_err(|cause| file_error(&format!("remove checkouts of {}", call.repository), &cause)),
        Task::Record(call) => record(&place, call)
            .map(|changed| to_value(&Changed { changed }))
            .map_err(|cause| record_error(call, &cause)),
        Task::Tidy(repository) => tidy(&place, *budget)
            .map(|changed| to_value(&Changed { changed }))
            .map_err(|cause| tidy_error(repository, &cause)),
        Task::Forget(repository) => forget(&place)
            .map(|changed| to_value(&Changed { changed }))
            .map_err(|cause| file_error(&format!("remove what is held of {repository}"), &cause)),
        Task::Push(call) => push(&place, call, Credentials::push_command(credentials.as_deref(), call))
            .map(|changed| to_value(&Changed { changed }))
            .map_err(|cause| push_error(call, cause)),
        Task::Gather(export) => export::gather(root, export)
            .map(|missing| to_value(&Exported { missing }))
            .map_err(|cause| failed(task, runtime::chain(&cause))),
        Task::Import => {
            import(root).map(|document| to_value(&Imported { document })).map_err(|cause| import_error(&cause))
        }
        Task::Stream => Err(failed(task, "it answers nothing".to_owned())),
    }
}

/// Twins hold nothing that JSON cannot: text keys, whole numbers, text.
fn to_value<T: Serialize>(reply: &T) -> Value {
    serde_json::to_value(reply).unwrap_or(Value::Null)
}
