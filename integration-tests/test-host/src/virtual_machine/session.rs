//! Commands in a virtual machine, over a port of the agent that runs in it. The connection is the command's life: who drops it ends it.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd as _, BorrowedFd};
use rustix::io::Errno;

use super::PORTS;
use crate::rundir::RunDir;

/// So much input is put into one line, and so much may wait to be taken.
const CHUNK: usize = 48 << 10;
const WAITING: usize = 1 << 20;

/// What a command reads.
pub(crate) enum Input<'a> {
    /// These bytes.
    Bytes(&'a [u8]),
    /// What can be read here, as it comes.
    Descriptor(BorrowedFd<'a>),
}

/// Where a command wrote to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Output,
    Error,
}

/// How a command is started.
pub(crate) struct Start<'a, S> {
    pub(crate) arguments: &'a [S],
    /// Rows and columns of its terminal; none for one that has no terminal.
    pub(crate) terminal: Option<(u16, u16)>,
    /// What `TERM` says in it.
    pub(crate) kind: &'a str,
}

/// A connection to the agent, on a port that nobody else uses meanwhile.
#[derive(Debug)]
pub(crate) struct Session {
    stream: UnixStream,
    number: u128,
    received: Vec<u8>,
    waiting: Vec<u8>,
    _turn: File,
}

impl Session {
    /// Connects to the first port that is free.
    pub(crate) fn open(run: &RunDir) -> Result<Self> {
        let (port, turn) = port(run)?;
        let path = run.path(&format!("agent.{port}"));
        let stream = UnixStream::connect(&path).with_context(|| format!("connecting to {}", path.display()))?;
        stream.set_nonblocking(true)?;
        let number = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
        Ok(Self { stream, number, received: Vec::new(), waiting: b"\n".to_vec(), _turn: turn })
    }

    /// Runs a command to its end and gives its exit code, or nothing if it did not end in time.
    pub(crate) fn run<S: AsRef<OsStr>>(
        mut self,
        start: &Start<'_, S>,
        input: &Input<'_>,
        limit: Option<Duration>,
        mut write: impl FnMut(Stream, &[u8]) -> Result<()>,
    ) -> Result<Option<i32>> {
        let end = limit.map(|limit| Instant::now() + limit);
        let size = start.terminal.map(|(rows, columns)| format!("{rows}x{columns}")).unwrap_or_default();
        let mut command = format!("{size}\0{}\0", start.kind).into_bytes();
        for argument in start.arguments {
            command.extend_from_slice(argument.as_ref().as_bytes());
            command.push(0);
        }
        self.say('C', &command);
        let mut source = match input {
            Input::Bytes(bytes) => {
                bytes.chunks(CHUNK).for_each(|chunk| self.say('I', chunk));
                self.say('I', b"");
                None
            }
            Input::Descriptor(descriptor) => Some(*descriptor),
        };
        loop {
            let more = source.filter(|_| self.waiting.len() < WAITING);
            let (connection, input) = self.wait(more, end)?;
            if connection.is_empty() && !input {
                return Ok(None);
            }
            if let Some(descriptor) = more.filter(|_| input) {
                let mut chunk = vec![0; CHUNK];
                let length = rustix::io::read(descriptor, &mut chunk).context("reading the command's input")?;
                self.say('I', &chunk[..length]);
                source = source.filter(|_| length > 0);
            }
            if connection.contains(PollFlags::OUT) {
                self.flush()?;
            }
            if connection.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
                self.receive()?;
                while let Some((kind, content)) = self.heard() {
                    match kind.as_str() {
                        "O" => write(Stream::Output, &content)?,
                        "E" => write(Stream::Error, &content)?,
                        _ => {
                            return Ok(Some(
                                String::from_utf8_lossy(&content).parse().context("reading the exit code")?,
                            ));
                        }
                    }
                }
            }
        }
    }

    /// Waits until there is something to be done. Nothing of both means that the time is over.
    fn wait(&self, more: Option<BorrowedFd<'_>>, end: Option<Instant>) -> Result<(PollFlags, bool)> {
        let wanted = if self.waiting.is_empty() { PollFlags::IN } else { PollFlags::IN | PollFlags::OUT };
        let mut polled = vec![PollFd::from_borrowed_fd(self.stream.as_fd(), wanted)];
        polled.extend(more.map(|descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN)));
        loop {
            let left = end.map(|end| Timespec::try_from(end.saturating_duration_since(Instant::now())));
            match poll(&mut polled, left.transpose().context("a limit is too long")?.as_ref()) {
                Err(Errno::INTR) => {}
                Err(error) => return Err(error).context("waiting for a command"),
                Ok(_) => return Ok((polled[0].revents(), polled.get(1).is_some_and(|fd| !fd.revents().is_empty()))),
            }
        }
    }

    fn say(&mut self, kind: char, content: &[u8]) {
        self.waiting.extend(format!("{} {kind} {}\n", self.number, STANDARD.encode(content)).into_bytes());
    }

    fn flush(&mut self) -> Result<()> {
        match self.stream.write(&self.waiting) {
            Ok(written) => self.waiting.drain(..written),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return Ok(()),
            Err(error) => return Err(error).context("speaking to the agent"),
        };
        Ok(())
    }

    fn receive(&mut self) -> Result<()> {
        let mut chunk = vec![0; 2 * CHUNK];
        match self.stream.read(&mut chunk) {
            Ok(0) => bail!("the virtual machine is gone"),
            Ok(length) => self.received.extend_from_slice(&chunk[..length]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => return Err(error).context("hearing from the agent"),
        }
        Ok(())
    }

    /// The next whole line that belongs to this command.
    fn heard(&mut self) -> Option<(String, Vec<u8>)> {
        loop {
            let end = self.received.iter().position(|byte| *byte == b'\n')?;
            let line: Vec<u8> = self.received.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line[..end]).into_owned();
            let mut words = line.split(' ');
            let (number, kind, content) = (words.next(), words.next(), words.next());
            if number.is_some_and(|number| number == self.number.to_string())
                && let (Some(kind), Some(Ok(content))) = (kind, content.map(|content| STANDARD.decode(content)))
            {
                return Some((kind.to_owned(), content));
            }
        }
    }
}

fn port(run: &RunDir) -> Result<(usize, File)> {
    let lock = |port: usize| {
        let path = run.path(&format!("agent.{port}.lock"));
        File::create(&path).with_context(|| format!("opening {}", path.display()))
    };
    for port in 0..PORTS {
        let turn = lock(port)?;
        if turn.try_lock().is_ok() {
            return Ok((port, turn));
        }
    }
    let turn = lock(0)?;
    turn.lock().context("waiting for a port of the agent")?;
    Ok((0, turn))
}
