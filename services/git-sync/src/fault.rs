//! What a caller is told of an errand that failed: the server, the commit, or this host.

use crate::{
    checkout::CheckoutError,
    confine::MEMORY,
    errand::{PROCESSOR_TIME, Task},
    fetch::FetchError,
    import::ImportError,
    push::PushError,
    record::RecordError,
    several::Attempt,
    tidy::TidyError,
};
use host::{command::CommandError, files::FileError};
use interfaces::git_sync::{Checkout, Error, Fetch, Push, Record};
use model::names::RepositoryName;
use nix::sys::signal::Signal;

pub(crate) fn failed(task: &Task, reason: String) -> Error {
    Error::Failed { action: format!("work on the repository {}", task.repository()), reason }
}

pub(crate) fn no_answer(task: &Task, cause: CommandError) -> Error {
    match (cause, task) {
        (CommandError::TimedOut { seconds, .. }, Task::Fetch(Attempt { call: Fetch { repository, .. }, .. })) => {
            let reason = format!("it has not sent everything within {seconds} s");
            Error::RepositoryUnreachable { repository: repository.clone(), reason, silent: false }
        }
        (CommandError::TimedOut { seconds, .. }, Task::Push(Push { repository, .. })) => {
            let reason = format!("it has not taken everything within {seconds} s");
            Error::RepositoryUnreachable { repository: repository.clone(), reason, silent: false }
        }
        (CommandError::TimedOut { seconds, .. }, _) => failed(task, format!("it was ended after {seconds} s")),
        (CommandError::Start { cause, .. }, _) => failed(task, format!("no child can be started: {cause}")),
        (CommandError::Failed { stderr, .. }, Task::Fetch(Attempt { call: Fetch { repository, .. }, .. }))
            if stderr.contains(NO_MEMORY) =>
        {
            let reason = "it sends something too large for this host: a fetch has no more memory".to_owned();
            Error::RepositoryUnreachable { repository: repository.clone(), reason, silent: false }
        }
        // It would be the same the next time: the commit is what takes so much.
        (CommandError::Failed { status, stderr, .. }, Task::Checkout(Checkout { repository, .. }))
            if stderr.contains(NO_MEMORY) || is_out_of_time(&status) =>
        {
            let reason = if stderr.contains(NO_MEMORY) {
                format!("to read its files takes more than {} MiB of memory", MEMORY >> 20)
            } else {
                format!("to read its files takes more than {PROCESSOR_TIME} s of a processor")
            };
            Error::RefusedContent { repository: repository.clone(), path: ".".to_owned(), reason }
        }
        (CommandError::Failed { stderr, .. }, _) if stderr.contains(NO_MEMORY) => {
            failed(task, format!("it takes more than {} MiB of memory", MEMORY >> 20))
        }
        (CommandError::Failed { status, stderr, .. }, _) => {
            failed(task, format!("its child ended ({status}) {stderr}"))
        }
    }
}

/// Whether the kernel ended it for its processor time (setrlimit(2), RLIMIT_CPU), in the words of an exit status.
fn is_out_of_time(status: &str) -> bool {
    status.starts_with(&format!("signal: {} ", Signal::SIGXCPU as i32))
}

/// What Rust says last when the kernel gives no more memory (std::alloc::handle_alloc_error).
const NO_MEMORY: &str = "memory allocation of";

pub(crate) fn push_error(call: &Push, cause: PushError) -> Error {
    let repository = call.repository.clone();
    match cause {
        PushError::NoRevision => Error::NoSuchRevision { repository, revision: call.revision.clone() },
        PushError::Unreachable(reason) => Error::RepositoryUnreachable { repository, reason, silent: false },
        PushError::Refused(reason) => Error::NotPushed { repository, reason },
        PushError::File(cause) => file_error(&format!("push {repository}"), &cause),
    }
}

pub(crate) fn import_error(cause: &ImportError) -> Error {
    let reason = runtime::chain(cause);
    if cause.is_ours() {
        Error::Failed { action: "read the bundle".to_owned(), reason }
    } else {
        Error::RefusedBundle { reason }
    }
}

pub(crate) fn fetch_error(call: &Fetch, cause: FetchError) -> Error {
    let (repository, reference) = (call.repository.clone(), call.reference.clone());
    match cause {
        FetchError::Unreachable(_) | FetchError::TooLarge(_) | FetchError::NoRoom(_) => {
            Error::RepositoryUnreachable { repository, reason: cause.to_string(), silent: false }
        }
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

pub(crate) fn checkout_error(call: &Checkout, cause: CheckoutError) -> Error {
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

pub(crate) fn record_error(call: &Record, cause: &RecordError) -> Error {
    match cause {
        RecordError::NoRepository => Error::NoSuchRepository { repository: call.repository.clone() },
        RecordError::Mirror(_) | RecordError::File(_) => {
            Error::Failed { action: format!("write the history of {}", call.repository), reason: runtime::chain(cause) }
        }
    }
}

pub(crate) fn tidy_error(repository: &RepositoryName, cause: &TidyError) -> Error {
    Error::Failed { action: format!("tidy the mirror of {repository}"), reason: runtime::chain(cause) }
}

pub(crate) fn file_error(action: &str, cause: &FileError) -> Error {
    Error::Failed { action: action.to_owned(), reason: runtime::chain(cause) }
}
