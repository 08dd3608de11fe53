//! The child that only asks servers which object a reference names, for many repositories at a time: a question per line on
//! standard input, an answer per line on standard output, in the order in which servers answer.

use crate::{
    confine::confine,
    transport::{Bound, connect_within, identify},
};
use gix::{
    progress::Discard,
    protocol::{
        LsRefsCommand,
        handshake::Ref,
        ls_refs::RefPrefixes,
        transport::{Protocol, Service},
    },
};
use model::{Reference, RepositoryUrl};
use serde::{Deserialize, Serialize};
use std::{
    cell::Cell,
    io::{self, BufRead, Write},
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, Receiver},
    },
    thread,
    time::{Duration, Instant},
};

/// The argument with which this program looks.
pub const ARGUMENT: &str = "--looker";

/// Threads, each with one look.
const THREADS: usize = host::lanes::AT_A_TIME;
/// A look's stack. What a server says is parsed without recursion.
pub(crate) const STACK: usize = 512 << 10;
/// The most that a server may say until the reference is found: one that does not know protocol 2 shows all that it has.
const MOST_SAID: u64 = 256 << 10;

/// What to look at.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Question {
    pub(crate) id: u64,
    pub(crate) url: RepositoryUrl,
    pub(crate) reference: Reference,
    /// The file with the user and the password, if there is one.
    pub(crate) login: Option<PathBuf>,
    pub(crate) milliseconds: u64,
}

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Found {
    /// The object that the reference names: a commit or an annotated tag.
    Object(String),
    /// The server has no such reference.
    Nothing,
    /// The server has not answered in time.
    Silence,
    /// There is no way to the server.
    Unreachable(String),
    /// It takes an errand to say.
    Unsure,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) id: u64,
    pub(crate) found: Found,
}

/// Answers until standard input is closed.
#[must_use]
pub fn main() -> ExitCode {
    match confine(None).and_then(|()| serve()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => {
            eprintln!("{cause}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> io::Result<()> {
    let (give, take) = mpsc::channel();
    let (take, open) = (Arc::new(Mutex::new(take)), Arc::new(AtomicUsize::new(0)));
    let mut threads = 0;
    for line in io::stdin().lock().lines() {
        let question: Question = serde_json::from_str(&line?)?;
        // Nobody waits behind a server that does not answer while a thread can be had.
        if open.fetch_add(1, Ordering::Relaxed) >= threads && threads < THREADS {
            let (take, open) = (Arc::clone(&take), Arc::clone(&open));
            thread::Builder::new().stack_size(STACK).spawn(move || answer_all(&take, &open))?;
            threads += 1;
        }
        give.send(question).map_err(io::Error::other)?;
    }
    Ok(())
}

fn answer_all(questions: &Mutex<Receiver<Question>>, open: &AtomicUsize) {
    loop {
        let next = questions.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(question) = next else { return };
        let answer = Answer { id: question.id, found: look(&question) };
        open.fetch_sub(1, Ordering::Relaxed);
        // An answer has only words that JSON has.
        let mut line = serde_json::to_vec(&answer).unwrap_or_default();
        line.push(b'\n');
        let mut out = io::stdout().lock();
        if out.write_all(&line).and_then(|()| out.flush()).is_err() {
            // Nobody reads any more.
            std::process::exit(1);
        }
    }
}

fn look(question: &Question) -> Found {
    let until = Instant::now() + Duration::from_millis(question.milliseconds);
    match references(question, Bound { until, bytes: MOST_SAID }) {
        Ok(Some(references)) => {
            let named = references.iter().find_map(|reference| named_by(reference, question.reference.as_str()));
            named.map_or(Found::Nothing, Found::Object)
        }
        Ok(None) => Found::Unsure,
        Err(_) if Instant::now() >= until => Found::Silence,
        Err(cause) => match cause.downcast_any_ref::<io::Error>().filter(|cause| is_no_way(cause.kind())) {
            Some(cause) => Found::Unreachable(cause.to_string()),
            // An errand says what is wrong in its own words.
            None => Found::Unsure,
        },
    }
}

/// What the server shows of the references that begin with the wanted one; nothing if it wants to know who asks.
fn references(question: &Question, bound: Bound) -> Result<Option<Vec<Ref>>, gix::Error> {
    let Question { url, reference, login, .. } = question;
    let parsed = gix::url::parse(url.as_str())?;
    let login = login.as_deref().map(crate::credentials::read_login).transpose().map_err(gix::Error::from_error)?;
    let mut transport = connect_within(&parsed, bound)?;
    let asked = Cell::new(false);
    let authenticate = |action| {
        asked.set(true);
        Ok(identify(action, url.as_str(), login.as_ref()))
    };
    let greeted = gix::protocol::handshake(&mut transport, Service::UploadPack, authenticate, Vec::new(), &mut Discard);
    let greeted = match greeted {
        Ok(greeted) => greeted,
        Err(_) if asked.get() => return Ok(None),
        Err(cause) => return Err(cause),
    };
    match greeted.server_protocol_version {
        Protocol::V2 => {
            let mut prefixes = RefPrefixes::new();
            prefixes.extend([reference.as_str().into()]);
            let agent = ("agent", Some(gix::protocol::agent(gix::env::agent())));
            LsRefsCommand::new(Some(prefixes), &greeted.capabilities, agent)
                .invoke_blocking(&mut transport, &mut Discard, false)
                .map(Some)
        }
        Protocol::V0 | Protocol::V1 => Ok(greeted.refs),
    }
}

fn named_by(shown: &Ref, wanted: &str) -> Option<String> {
    let (name, object) = match shown {
        Ref::Peeled { full_ref_name, tag, .. } => (full_ref_name, tag),
        Ref::Direct { full_ref_name, object } => (full_ref_name, object),
        Ref::Symbolic { full_ref_name, tag, object, .. } => (full_ref_name, tag.as_ref().unwrap_or(object)),
        Ref::Unborn { .. } => return None,
    };
    (name == wanted).then(|| object.to_string())
}

/// Whether nothing that is sent would reach the server.
fn is_no_way(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::TimedOut
    )
}
