//! The child that only asks servers which object a reference names, for many repositories at a time: a question per line on
//! standard input, an answer per line on standard output, in the order in which servers answer.

use crate::{
    confine::confine,
    login::Login,
    sandbox::{Allowed, restrict},
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
    collections::HashMap,
    io::{self, BufRead, Write},
    process::ExitCode,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, Receiver},
    },
    thread,
    time::{Duration, Instant},
};

/// The argument with which this program looks.
pub const ARGUMENT: &str = "--looker";

/// Threads, each with one look: as many as there are looks, and as many that wait still for what nobody wants any more.
const THREADS: usize = 2 * host::lanes::AT_A_TIME;
/// How long after its time a look is answered for whoever does it: some waits cannot be ended.
const LATE: Duration = Duration::from_millis(500);
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
    /// For that server.
    pub(crate) login: Option<Login>,
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
    // All that it needs of credentials it is told, but for authorities, which its environment names.
    match confine(None).and_then(|()| restrict(&Allowed::default())).and_then(|()| serve()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => {
            eprintln!("{cause}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> io::Result<()> {
    let (give, take) = mpsc::channel();
    let (take, pending) = (Arc::new(Mutex::new(take)), Arc::<Pending>::default());
    let (mut threads, open) = (0, Arc::new(AtomicUsize::new(0)));
    let late = Arc::clone(&pending);
    thread::Builder::new().stack_size(STACK).spawn(move || late.answer_late())?;
    for line in io::stdin().lock().lines() {
        let question: Question = serde_json::from_str(&line?)?;
        pending.add(&question);
        // Nobody waits behind a server that does not answer while a thread can be had.
        if open.fetch_add(1, Ordering::Relaxed) >= threads && threads < THREADS {
            let (take, pending, open) = (Arc::clone(&take), Arc::clone(&pending), Arc::clone(&open));
            thread::Builder::new().stack_size(STACK).spawn(move || answer_all(&take, &pending, &open))?;
            threads += 1;
        }
        give.send(question).map_err(io::Error::other)?;
    }
    Ok(())
}

fn answer_all(questions: &Mutex<Receiver<Question>>, pending: &Pending, open: &AtomicUsize) {
    loop {
        let next = questions.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(question) = next else { return };
        let found = look(&question);
        open.fetch_sub(1, Ordering::Relaxed);
        if pending.remove(question.id) {
            say(&Answer { id: question.id, found });
        }
    }
}

fn say(answer: &Answer) {
    // An answer has only words that JSON has.
    let mut line = serde_json::to_vec(answer).unwrap_or_default();
    line.push(b'\n');
    let mut out = io::stdout().lock();
    if out.write_all(&line).and_then(|()| out.flush()).is_err() {
        // Nobody reads any more.
        std::process::exit(1);
    }
}

/// The looks that nobody has answered, and until when somebody has to.
#[derive(Default)]
struct Pending(Mutex<Unanswered>, Condvar);

#[derive(Default)]
struct Unanswered {
    looks: HashMap<u64, Instant>,
    /// When they are looked through next; None if whoever does so has to be told that there are any.
    next: Option<Instant>,
}

impl Pending {
    fn unanswered(&self) -> MutexGuard<'_, Unanswered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, question: &Question) {
        let until = Instant::now() + Duration::from_millis(question.milliseconds) + LATE;
        let mut unanswered = self.unanswered();
        unanswered.looks.insert(question.id, until);
        if unanswered.next.is_none_or(|next| until < next) {
            self.1.notify_one();
        }
    }

    /// Whether it was still there.
    fn remove(&self, id: u64) -> bool {
        self.unanswered().looks.remove(&id).is_some()
    }

    /// Says of each look that is late that the server is silent. Whoever does it ends by itself.
    fn answer_late(&self) {
        let mut unanswered = self.unanswered();
        loop {
            let now = Instant::now();
            for (id, _) in unanswered.looks.extract_if(|_, until| *until <= now) {
                say(&Answer { id, found: Found::Silence });
            }
            unanswered.next = unanswered.looks.values().min().copied();
            unanswered = match unanswered.next {
                Some(next) => {
                    let left = next.saturating_duration_since(now);
                    self.1.wait_timeout(unanswered, left).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.1.wait(unanswered).unwrap_or_else(PoisonError::into_inner),
            };
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
