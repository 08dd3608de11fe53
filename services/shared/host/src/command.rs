//! Running a program: an argument vector, never a shell; bounded in time and output; killed when nobody waits any more.

use crate::lines::Lines;
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use std::{
    ffi::OsStr,
    io,
    os::fd::OwnedFd,
    process::{ExitStatus, Stdio},
    time::Duration,
};
use thiserror::Error;
use tokio::{io::AsyncReadExt, process, time::timeout};

/// Most of a program's output that is kept, in bytes.
const MOST_OUTPUT: u64 = 4 << 20;

/// Why a program did not do what it was run for.
#[derive(Debug, Error)]
pub enum CommandError {
    /// It is not there, or may not be run.
    #[error("cannot run {program}")]
    Start {
        /// Its name.
        program: String,
        /// What the kernel said.
        #[source]
        cause: io::Error,
    },
    /// It was killed because it took too long.
    #[error("{program} was ended after {seconds} s")]
    TimedOut {
        /// Its name.
        program: String,
        /// How long it had.
        seconds: u64,
    },
    /// It ended with another code than 0.
    #[error("{program} failed ({status}): {stderr}")]
    Failed {
        /// Its name.
        program: String,
        /// Its exit status in words.
        status: String,
        /// The end of what it said.
        stderr: String,
    },
}

/// A program to run.
#[derive(Debug)]
pub struct Command {
    program: String,
    inner: process::Command,
    patience: Duration,
    input: Vec<u8>,
    group: bool,
}

impl Command {
    /// The program of this name or path, with an empty environment but for PATH and a language, and 60 s to end.
    #[must_use]
    pub fn new(program: &str) -> Self {
        #[allow(clippy::disallowed_methods)] // the one place where programs are run
        let mut inner = process::Command::new(program);
        inner.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C.UTF-8");
        inner.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        Self { program: program.to_owned(), inner, patience: Duration::from_secs(60), input: Vec::new(), group: false }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.inner.arg(argument);
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.inner.args(arguments);
        self
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.inner.env(name, value);
        self
    }

    /// Puts it into a process group of its own, so that what it started is killed with it.
    #[must_use]
    pub fn in_group(mut self) -> Self {
        self.inner.process_group(0);
        self.group = true;
        self
    }

    /// Gives it another time to end.
    #[must_use]
    pub fn within(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Gives it something to read.
    #[must_use]
    pub fn input(mut self, bytes: Vec<u8>) -> Self {
        self.inner.stdin(Stdio::piped());
        self.input = bytes;
        self
    }

    /// Gives it something of somebody else's to read from.
    #[must_use]
    pub fn input_from(mut self, descriptor: OwnedFd) -> Self {
        self.inner.stdin(Stdio::from(descriptor));
        self
    }

    /// Gives it a place of somebody else's to write its output to.
    #[must_use]
    pub fn output_into(mut self, descriptor: OwnedFd) -> Self {
        self.inner.stdout(Stdio::from(descriptor));
        self
    }

    /// Gives it a place of somebody else's to write all that it says to.
    ///
    /// # Errors
    /// The place cannot be shared.
    pub fn says_into(mut self, descriptor: OwnedFd) -> io::Result<Self> {
        self.inner.stdout(Stdio::from(descriptor.try_clone()?)).stderr(Stdio::from(descriptor));
        Ok(self)
    }

    /// Runs it to its end, whatever that is. What it says goes where it was told to, or nowhere.
    ///
    /// # Errors
    /// It could not be started or took too long.
    pub async fn ended(mut self) -> Result<ExitStatus, CommandError> {
        let start = |program: &str, cause| CommandError::Start { program: program.to_owned(), cause };
        let mut child = self.inner.spawn().map_err(|cause| start(&self.program, cause))?;
        // What it writes to is at its end when it is.
        drop(self.inner);
        match timeout(self.patience, child.wait()).await {
            Ok(ended) => ended.map_err(|cause| start(&self.program, cause)),
            Err(_) => Err(CommandError::TimedOut { program: self.program, seconds: self.patience.as_secs() }),
        }
    }

    /// Starts it and returns its output line by line; what it says to standard error is not kept.
    ///
    /// # Errors
    /// It could not be started.
    pub fn lines(mut self) -> Result<Lines, CommandError> {
        let started = self.inner.stderr(Stdio::null()).spawn().and_then(Lines::of);
        started.map_err(|cause| CommandError::Start { program: self.program, cause })
    }

    /// Starts it to be asked and to answer in lines, for as long as what it writes is held.
    ///
    /// # Errors
    /// It could not be started.
    pub fn converse(mut self) -> Result<(process::ChildStdin, Lines), CommandError> {
        self.inner.stdin(Stdio::piped()).stderr(Stdio::null());
        let started = self.inner.spawn().and_then(|mut child| {
            let input = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
            Ok((input, Lines::of(child)?))
        });
        started.map_err(|cause| CommandError::Start { program: self.program, cause })
    }

    /// Runs it to its end and returns what it wrote to standard output.
    ///
    /// # Errors
    /// It could not be started, took too long, or failed.
    pub async fn run(self) -> Result<String, CommandError> {
        self.bytes().await.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Runs it to its end and returns what it wrote to standard output, whatever that is.
    ///
    /// # Errors
    /// It could not be started, took too long, or failed.
    pub async fn bytes(mut self) -> Result<Vec<u8>, CommandError> {
        let start = |program: &str, cause| CommandError::Start { program: program.to_owned(), cause };
        let mut child = self.inner.spawn().map_err(|cause| start(&self.program, cause))?;
        let group = child.id().filter(|_| self.group).and_then(|pid| i32::try_from(pid).ok());
        let mut group = group.map(|pid| Group(Pid::from_raw(pid)));
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let finish = async {
            let input = async {
                if let Some(mut stdin) = stdin {
                    // A program that does not read to the end says so by its exit code.
                    let _not_all_read = tokio::io::AsyncWriteExt::write_all(&mut stdin, &self.input).await;
                }
            };
            let ((), out, err) = tokio::join!(input, read_all(stdout), read_all(stderr));
            (out, err)
        };
        let finish = async {
            let (out, err) = finish.await;
            // It has ended, by itself or not, and nobody has been told so yet: its number is still its own. What it started
            // and nobody waits for any more ends, too.
            drop(group.take());
            child.wait().await.map(|status| (status, out, err))
        };
        let (status, stdout, stderr) = match timeout(self.patience, finish).await {
            Ok(finished) => finished.map_err(|cause| start(&self.program, cause))?,
            Err(_) => return Err(CommandError::TimedOut { program: self.program, seconds: self.patience.as_secs() }),
        };
        if status.success() {
            Ok(stdout)
        } else {
            Err(CommandError::Failed {
                program: self.program,
                status: status.to_string(),
                stderr: last_lines(&String::from_utf8_lossy(&stderr)),
            })
        }
    }
}

/// A process group that is killed when nobody waits for it any more.
struct Group(Pid);

impl Drop for Group {
    fn drop(&mut self) {
        // It may have ended by itself just now.
        let _gone = killpg(self.0, Signal::SIGKILL);
    }
}

async fn read_all(pipe: Option<impl tokio::io::AsyncRead + Unpin>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        let mut bounded = (&mut pipe).take(MOST_OUTPUT);
        // What was read before a fault is still worth showing.
        let _partly = bounded.read_to_end(&mut bytes).await;
        // A program that writes more must not block on a full pipe.
        let _rest = tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await;
    }
    bytes
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(5)..].join(" / ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn output_and_failure_are_told_apart() {
        assert_eq!(Command::new("printf").arg("%s").arg("a b").run().await.unwrap(), "a b");
        assert_eq!(Command::new("cat").input(b"x".to_vec()).run().await.unwrap(), "x");
        let failed = Command::new("sh").args(["-c", "echo reason >&2; exit 3"]).run().await.unwrap_err();
        assert_eq!(failed.to_string(), "sh failed (exit status: 3): reason");
        let absent = Command::new("no-such-program-here").run().await.unwrap_err();
        assert!(matches!(absent, CommandError::Start { .. }));
    }

    #[tokio::test]
    async fn what_a_program_started_ends_with_it() {
        let (reader, writer) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).unwrap();
        // Both the shell and its child hold the pipe's other end as standard input; it closes when both are gone.
        let mut hung =
            Command::new("sh").args(["-c", "sleep 60 <&0 & wait"]).in_group().within(Duration::from_millis(200));
        hung.inner.stdin(Stdio::from(writer));
        assert!(matches!(hung.run().await.unwrap_err(), CommandError::TimedOut { .. }));
        let ended =
            tokio::task::spawn_blocking(move || std::io::Read::read(&mut std::fs::File::from(reader), &mut [0]));
        assert_eq!(tokio::time::timeout(Duration::from_secs(5), ended).await.unwrap().unwrap().unwrap(), 0);
    }

    #[tokio::test]
    async fn what_a_program_leaves_behind_ends_with_it_and_its_exit_code_is_its_own() {
        let (reader, writer) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).unwrap();
        let script = "sleep 60 >/dev/null 2>&1 <&0 & kill -KILL $$";
        let mut killed = Command::new("sh").args(["-c", script]).in_group();
        killed.inner.stdin(Stdio::from(writer));
        let status = killed.run().await.unwrap_err().to_string();
        assert!(status.contains("signal: 9"), "{status}");
        let ended =
            tokio::task::spawn_blocking(move || std::io::Read::read(&mut std::fs::File::from(reader), &mut [0]));
        assert_eq!(tokio::time::timeout(Duration::from_secs(5), ended).await.unwrap().unwrap().unwrap(), 0);
        for _ in 0..50 {
            assert_eq!(Command::new("sh").args(["-c", "echo done"]).in_group().run().await.unwrap(), "done\n");
        }
    }

    #[tokio::test]
    async fn a_program_answers_while_it_is_held() {
        use tokio::io::AsyncWriteExt;
        let (mut input, mut output) = Command::new("cat").converse().unwrap();
        for word in ["one", "two"] {
            input.write_all(format!("{word}\n").as_bytes()).await.unwrap();
            assert_eq!(output.next(10).await.unwrap(), word.as_bytes());
        }
        drop(output);
        while input.write_all(b"x").await.is_ok() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_program_that_hangs_or_floods_is_bounded() {
        let hung = Command::new("sleep").arg("60").within(Duration::from_millis(50)).run().await.unwrap_err();
        assert!(matches!(hung, CommandError::TimedOut { .. }));
        let flood = Command::new("head").args(["-c", "20000000", "/dev/zero"]).run().await.unwrap();
        assert_eq!(u64::try_from(flood.len()).unwrap(), MOST_OUTPUT);
    }
}
