//! The emulator's monitor (QMP): what is asked of a virtual machine from outside, and what it says happened.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::event::PollFlags;
use rustix::fd::{AsFd as _, OwnedFd};
use serde_json::{Value, json};

use crate::notify::{Woken, await_any};

/// What is asked is answered at once; what takes long says so by an event.
const ANSWER: Duration = Duration::from_secs(60);

/// An emulator that has its turn starts in far less.
const START: Duration = Duration::from_secs(5);

/// A connection to a monitor.
#[derive(Debug)]
pub(crate) struct Monitor {
    stream: BufReader<UnixStream>,
    events: VecDeque<Value>,
}

impl Monitor {
    /// Waits until the emulator has started, or its supervisor has given up.
    pub(crate) fn accept(listener: &UnixListener, supervisor: &OwnedFd) -> Result<Self> {
        let wanted = [(listener.as_fd(), PollFlags::IN), (supervisor.as_fd(), PollFlags::IN)];
        let mut woken = await_any(&wanted, Some(START))?;
        if woken == Woken::Timeout {
            eprintln!("waiting for another virtual machine to end");
            woken = await_any(&wanted, None)?;
        }
        match woken {
            Woken::By(0) => Self::over(listener.accept().context("hearing from the emulator")?.0),
            Woken::By(_) | Woken::Timeout => bail!("the emulator did not start"),
        }
    }

    /// The monitor behind a socket.
    pub(crate) fn connect(path: &Path) -> Result<Self> {
        Self::over(UnixStream::connect(path).with_context(|| format!("connecting to {}", path.display()))?)
    }

    fn over(stream: UnixStream) -> Result<Self> {
        let mut monitor = Self { stream: BufReader::new(stream), events: VecDeque::new() };
        let end = Instant::now() + ANSWER;
        while monitor.line(end)?.get("QMP").is_none() {}
        monitor.execute("qmp_capabilities", &json!({}))?;
        Ok(monitor)
    }

    /// Asks for something and gives the answer.
    pub(crate) fn execute(&mut self, command: &str, arguments: &Value) -> Result<Value> {
        let line = json!({ "execute": command, "arguments": arguments });
        let end = Instant::now() + ANSWER;
        writeln!(self.stream.get_mut(), "{line}").with_context(|| format!("asking for {command}"))?;
        loop {
            let mut said = self.line(end).with_context(|| format!("waiting for {command}"))?;
            if let Some(error) = said.get("error") {
                bail!("{command}: {}", error["desc"]);
            }
            if said.get("event").is_some() {
                self.events.push_back(said);
            } else if let Some(answer) = said.get_mut("return") {
                return Ok(answer.take());
            }
        }
    }

    /// Waits for an event that this is true of.
    pub(crate) fn event(&mut self, limit: Duration, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let end = Instant::now() + limit;
        loop {
            let said = match self.events.pop_front() {
                Some(said) => said,
                None => self.line(end).context("waiting for an event")?,
            };
            if said.get("event").is_some() && wanted(&said) {
                return Ok(said);
            }
        }
    }

    fn line(&mut self, end: Instant) -> Result<Value> {
        let mut line = String::new();
        loop {
            // Zero would mean for ever.
            let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            self.stream.get_ref().set_read_timeout(Some(left))?;
            match self.stream.read_line(&mut line) {
                Ok(0) => bail!("the emulator is gone"),
                Ok(_) => return serde_json::from_str(&line).with_context(|| format!("not JSON: {line}")),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("reading what the emulator says"),
            }
        }
    }
}
