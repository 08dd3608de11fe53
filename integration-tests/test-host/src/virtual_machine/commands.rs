//! Commands in a virtual machine, as people and tests want them: with the caller's own standard streams and terminal, or with what they
//! are fed.

use std::ffi::OsStr;
use std::io::{Write as _, stderr, stdin, stdout};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use rustix::fd::AsFd as _;
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};

use super::session::{Input, Session, Start, Stream};
use crate::inside::{Output, Running};

/// How long one question waits for its answer.
const ATTEMPT: Duration = Duration::from_secs(10);

/// Runs a command with the caller's standard streams and gives its exit code.
pub(crate) fn relay<S: AsRef<OsStr>>(host: &Running, arguments: &[S], limit: Option<Duration>) -> Result<i32> {
    let (input, kind) = (stdin(), std::env::var("TERM"));
    let interactive = isatty(&input) && isatty(stdout());
    let size = if interactive { Some(tcgetwinsize(&input).context("measuring the terminal")?) } else { None };
    let start = Start {
        arguments,
        terminal: size.map(|size| (size.ws_row, size.ws_col)),
        kind: kind.as_deref().unwrap_or("dumb"),
    };
    let _raw = if interactive { Some(Raw::enter()?) } else { None };
    run(host, &start, &Input::Descriptor(input.as_fd()), limit, |stream, content| {
        match stream {
            Stream::Output => stdout().write_all(content).and_then(|()| stdout().flush()),
            Stream::Error => stderr().write_all(content),
        }
        .context("passing on what the command says")
    })
}

/// Runs a command with this standard input.
pub(crate) fn feed<S: AsRef<OsStr>>(host: &Running, arguments: &[S], input: &[u8], limit: Duration) -> Result<Output> {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let start = Start { arguments, terminal: None, kind: "dumb" };
    let code = run(host, &start, &Input::Bytes(input), Some(limit), |stream, content| {
        match stream {
            Stream::Output => stdout.extend_from_slice(content),
            Stream::Error => stderr.extend_from_slice(content),
        }
        Ok(())
    });
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let (stdout, stderr) = (text(stdout), text(stderr));
    let code = code.with_context(|| format!("the command had said: {stdout}{stderr}"))?;
    Ok(Output { code, stdout, stderr })
}

/// Waits until the agent answers, which it does when the boot is complete.
pub(crate) fn await_agent(host: &Running, limit: Duration) -> Result<()> {
    let start = Start { arguments: &["true"], terminal: None, kind: "dumb" };
    let end = Instant::now() + limit;
    while Instant::now() < end {
        // Firmware listens on the same ports and takes what is said to it: it is said again.
        let asked = Session::open(&host.run)
            .and_then(|session| session.run(&start, &Input::Bytes(b""), Some(ATTEMPT), |_, _| Ok(())));
        if asked.map_err(|error| host.explain(error))?.is_some() {
            return Ok(());
        }
    }
    Err(host.explain(anyhow!("the boot was not complete in {limit:?}")))
}

/// Runs a command to its end. A failure tells what the host has said last.
fn run<S: AsRef<OsStr>>(
    host: &Running,
    start: &Start<'_, S>,
    input: &Input<'_>,
    limit: Option<Duration>,
    write: impl FnMut(Stream, &[u8]) -> Result<()>,
) -> Result<i32> {
    let ended = Session::open(&host.run).and_then(|session| session.run(start, input, limit, write));
    let code = ended.and_then(|code| {
        let shown: Vec<&OsStr> = start.arguments.iter().map(AsRef::as_ref).collect();
        code.with_context(|| format!("{shown:?} did not end in {:?}", limit.unwrap_or_default()))
    });
    code.map_err(|error| host.explain(error))
}

/// The caller's terminal as one that passes on every key, until it is dropped.
struct Raw(Termios);

impl Raw {
    fn enter() -> Result<Self> {
        let before = tcgetattr(stdin()).context("reading the terminal's settings")?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin(), OptionalActions::Flush, &raw).context("changing the terminal's settings")?;
        Ok(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Err(error) = tcsetattr(stdin(), OptionalActions::Flush, &self.0) {
            eprintln!("the terminal's settings cannot be restored: {error}");
        }
    }
}
