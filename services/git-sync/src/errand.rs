//! One piece of work with what a server sent, done by a child of ours: this program, run once more, with limits of its own,
//! the call on standard input and the reply on standard output. gix blocks, and hostile packs are made to exhaust.

use crate::{
    checkout::{CheckoutError, checkout},
    credentials::Credentials,
    fetch::{FetchError, fetch},
    place::Place,
    prune::prune,
    record::{RecordError, record},
    tree::Bounds,
};
use host::{
    command::{Command, CommandError},
    files::FileError,
};
use interfaces::git_sync::{Changed, CheckedOut, Checkout, Error, Fetch, Prune, Record};
use model::names::RepositoryName;
use nix::sys::{
    prctl::set_pdeathsig,
    resource::{Resource, setrlimit},
    signal::{SigSet, Signal},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::{
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};
use tokio::sync::Semaphore;

/// The argument with which this program does an errand.
pub const ARGUMENT: &str = "--errand";

/// Errands at a time. Servers that do not answer hold one for the whole of its deadline.
const AT_A_TIME: usize = 64;
/// What an administrator may set for the service and the child needs: proxies and authorities.
const PASSED_ON: [&str; 6] = ["http_proxy", "https_proxy", "all_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR"];

/// What a child is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Task {
    Fetch(Fetch),
    Checkout(Checkout),
    Prune(Prune),
    Record(Record),
}

impl Task {
    pub(crate) fn repository(&self) -> &RepositoryName {
        match self {
            Self::Fetch(Fetch { repository, .. })
            | Self::Checkout(Checkout { repository, .. })
            | Self::Prune(Prune { repository, .. })
            | Self::Record(Record { repository, .. }) => repository,
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Errand {
    root: PathBuf,
    credentials: Option<PathBuf>,
    bounds: Bounds,
    task: Task,
}

/// Has errands done.
#[derive(Debug, Clone)]
pub struct Errands {
    pub(crate) root: PathBuf,
    credentials: Option<PathBuf>,
    program: String,
    bounds: Bounds,
    patience: Duration,
    places: Arc<Semaphore>,
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
            bounds: Bounds::default(),
            patience: Duration::from_secs(60),
            places: Arc::new(Semaphore::new(AT_A_TIME)),
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

    /// The same, with other bounds for checkouts.
    #[must_use]
    pub fn with_bounds(self, bounds: Bounds) -> Self {
        Self { bounds, ..self }
    }

    /// The same, with another deadline.
    #[must_use]
    pub fn within(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Does one errand. The child and what it started are killed when the deadline is over or nobody waits any more.
    pub(crate) async fn run<R: DeserializeOwned>(&self, task: Task) -> Result<R, Error> {
        // The semaphore is never closed.
        let _place = self.places.acquire().await;
        let (root, credentials) = (self.root.clone(), self.credentials.clone());
        let errand = Errand { root, credentials, bounds: self.bounds, task };
        let request = serde_json::to_vec(&errand).map_err(|cause| failed(&errand.task, cause.to_string()))?;
        let Errand { task, .. } = errand;
        let answer = self.child(&task).input(request).run().await.map_err(|cause| no_answer(&task, cause))?;
        let answer: Result<Value, Error> =
            serde_json::from_str(&answer).map_err(|cause| failed(&task, cause.to_string()))?;
        serde_json::from_value(answer?).map_err(|cause| failed(&task, cause.to_string()))
    }

    fn child(&self, task: &Task) -> Command {
        let child = Command::new(&self.program)
            .arg(ARGUMENT)
            .in_group()
            .within(self.patience)
            .env("GIT_CONFIG_GLOBAL", Place::new(&self.root, task.repository()).git_config())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_NO_LAZY_FETCH", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            // Arenas count as address space, however little of them is used.
            .env("MALLOC_ARENA_MAX", "2");
        let set = PASSED_ON.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
        let child = set.fold(child, |child, (name, value)| child.env(name, value));
        match Credentials::new(self.credentials.as_deref(), task.repository()).authorities() {
            Some(path) => child.env("SSL_CERT_FILE", path),
            None => child,
        }
    }
}

fn failed(task: &Task, reason: String) -> Error {
    Error::Failed { action: format!("work on the repository {}", task.repository()), reason }
}

fn no_answer(task: &Task, cause: CommandError) -> Error {
    match (cause, task) {
        (CommandError::TimedOut { seconds, .. }, Task::Fetch(Fetch { repository, .. })) => {
            let reason = format!("it has not sent everything within {seconds} s");
            Error::RepositoryUnreachable { repository: repository.clone(), reason }
        }
        (CommandError::TimedOut { seconds, .. }, Task::Checkout(_) | Task::Prune(_) | Task::Record(_)) => {
            failed(task, format!("it was ended after {seconds} s"))
        }
        (CommandError::Start { cause, .. }, _) => failed(task, format!("no child can be started: {cause}")),
        (CommandError::Failed { status, stderr, .. }, _) => {
            failed(task, format!("its child ended ({status}) {stderr}"))
        }
    }
}

/// Does the errand on standard input.
#[must_use]
pub fn main() -> ExitCode {
    let done = confine().and_then(|()| {
        let mut request = Vec::new();
        io::stdin().read_to_end(&mut request)?;
        let errand = serde_json::from_slice(&request)?;
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

/// Bounds what this process may use, and how long it may outlive the service that started it.
fn confine() -> io::Result<()> {
    set_pdeathsig(Signal::SIGKILL)?;
    // A file that grows too large is an error of the write, not the end of the process.
    let mut blocked = SigSet::empty();
    blocked.add(Signal::SIGXFSZ);
    blocked.thread_block()?;
    let limits = [
        (Resource::RLIMIT_AS, 2 << 30),
        (Resource::RLIMIT_FSIZE, 1 << 30),
        (Resource::RLIMIT_CPU, 120),
        (Resource::RLIMIT_NOFILE, 1024),
        (Resource::RLIMIT_CORE, 0),
    ];
    for (resource, limit) in limits {
        setrlimit(resource, limit, limit)?;
    }
    Ok(())
}

fn perform(Errand { root, credentials, bounds, task }: &Errand) -> Result<Value, Error> {
    let place = Place::new(root, task.repository());
    match task {
        Task::Fetch(call) => {
            let credentials = Credentials::new(credentials.as_deref(), task.repository());
            fetch(&place, call, &credentials)
                .map(|fetched| to_value(&fetched))
                .map_err(|cause| fetch_error(call, cause))
        }
        Task::Checkout(call) => {
            let path = place.checkout(&call.revision).display().to_string();
            checkout(&place, &call.revision, *bounds)
                .map(|changed| to_value(&CheckedOut { path, changed }))
                .map_err(|cause| checkout_error(call, cause))
        }
        Task::Prune(call) => prune(&place, &call.keep)
            .map(|changed| to_value(&Changed { changed }))
            .map_err(|cause| file_error(&format!("remove checkouts of {}", call.repository), &cause)),
        Task::Record(call) => record(&place, call)
            .map(|changed| to_value(&Changed { changed }))
            .map_err(|cause| record_error(call, &cause)),
    }
}

/// Twins hold nothing that JSON cannot: text keys, whole numbers, text.
fn to_value<T: Serialize>(reply: &T) -> Value {
    serde_json::to_value(reply).unwrap_or(Value::Null)
}

fn fetch_error(call: &Fetch, cause: FetchError) -> Error {
    let (repository, reference) = (call.repository.clone(), call.reference.clone());
    match cause {
        FetchError::Unreachable(reason) => Error::RepositoryUnreachable { repository, reason },
        FetchError::NoReference => Error::NoSuchReference { repository, reference },
        FetchError::NotACommit(_) => {
            Error::RefusedContent { repository, path: reference.as_str().to_owned(), reason: cause.to_string() }
        }
        FetchError::Untrusted { revision, reason } => Error::NotTrusted { repository, revision, reason },
        FetchError::Rewritten { revision, floor } => Error::HistoryRewritten { repository, revision, floor },
        FetchError::File(cause) => file_error(&format!("fetch {repository}"), &cause),
        FetchError::Judge(_) | FetchError::Full(_) | FetchError::Init(_) => {
            Error::Failed { action: format!("fetch {repository}"), reason: cause.to_string() }
        }
    }
}

fn checkout_error(call: &Checkout, cause: CheckoutError) -> Error {
    let (repository, revision) = (call.repository.clone(), call.revision.clone());
    match cause {
        CheckoutError::NoRepository => Error::NoSuchRepository { repository },
        CheckoutError::NoRevision => Error::NoSuchRevision { repository, revision },
        CheckoutError::Refused { path, reason } => {
            Error::RefusedContent { repository, path, reason: reason.to_string() }
        }
        CheckoutError::File(cause) => file_error(&format!("check {repository} out"), &cause),
        CheckoutError::Damaged { .. } => {
            Error::Failed { action: format!("check {repository} out"), reason: runtime::chain(&cause) }
        }
    }
}

fn record_error(call: &Record, cause: &RecordError) -> Error {
    match cause {
        RecordError::NoRepository => Error::NoSuchRepository { repository: call.repository.clone() },
        RecordError::Mirror(_) | RecordError::File(_) => {
            Error::Failed { action: format!("write the history of {}", call.repository), reason: runtime::chain(cause) }
        }
    }
}

pub(crate) fn file_error(action: &str, cause: &FileError) -> Error {
    Error::Failed { action: action.to_owned(), reason: runtime::chain(cause) }
}
