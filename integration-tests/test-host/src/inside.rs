//! A host that runs: commands in it, its reboots and its end, for the process that booted it and for any other.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, Write as _};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::event::PollFlags;
use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};

use crate::command::tail;
use crate::console;
use crate::notify::{Boot, Listener, Woken, await_any};
use crate::rundir::RunDir;
use crate::virtual_machine;

const ENTER: &str = include_str!("../scripts/enter.sh");

/// Far more than any boot, command or shutdown takes here: what reaches it hangs.
const BOOT_LIMIT: Duration = Duration::from_secs(120);
const COMMAND_LIMIT: Duration = Duration::from_secs(600);
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(60);

/// What a command in a host came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The exit code, 128 plus the signal for one that was killed.
    pub code: i32,
    /// What it printed.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
}

impl Output {
    /// Whether the command succeeded.
    #[must_use]
    pub fn success(&self) -> bool {
        self.code == 0
    }
}

/// A host that runs, whoever booted it.
#[derive(Debug)]
pub struct Running {
    pub(crate) run: RunDir,
}

impl Running {
    /// The host of this name.
    pub fn find(name: &str) -> Result<Self> {
        let run = RunDir::of(name)?;
        ensure!(run.alive()?, "there is no host named {name}");
        Ok(Self { run })
    }

    /// The host's name, which is also its hostname.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.run.name
    }

    /// The pid of the host's PID 1 as the machine sees it.
    pub fn pid(&self) -> Result<u32> {
        self.run.number("pid").with_context(|| format!("the host {} has no PID 1", self.name()))
    }

    /// Whether it has a kernel of its own.
    #[must_use]
    pub fn is_virtual(&self) -> bool {
        self.run.path("arguments").exists()
    }

    /// A command that will run in a host in namespaces as root, with the caller's standard streams.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Result<Command> {
        ensure!(!self.is_virtual(), "no process of this machine can become one in the host {}", self.name());
        let mut command = Command::new("sh");
        command.args(["-euc", ENTER, "enter"]).arg(self.run.cgroup()).arg(self.pid()?.to_string()).args(arguments);
        Ok(command)
    }

    /// Runs a command in a virtual machine with the caller's standard streams and gives its exit code. One that does not end in
    /// time is an error, with the last that the host has said.
    pub fn relay<S: AsRef<OsStr>>(&self, arguments: &[S], limit: Option<Duration>) -> Result<i32> {
        virtual_machine::relay(self, arguments, limit)
    }

    /// Runs a command and waits for its end. The command's own failure is a result.
    pub fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Result<Output> {
        self.feed(arguments, b"")
    }

    /// Runs a command with this standard input.
    pub fn feed<S: AsRef<OsStr>>(&self, arguments: &[S], input: &[u8]) -> Result<Output> {
        if self.is_virtual() {
            return virtual_machine::feed(self, arguments, input, COMMAND_LIMIT);
        }
        // Files and not pipes: a process that the command leaves in the background would hold a pipe open for ever.
        let (mut stdin, stdout, stderr) = (tempfile::tempfile()?, tempfile::tempfile()?, tempfile::tempfile()?);
        stdin.write_all(input)?;
        stdin.rewind()?;
        let mut command = self.command(arguments)?;
        command.stdin(stdin).stdout(stdout.try_clone()?).stderr(stderr.try_clone()?).env("TERM", "dumb");
        let mut child = command.spawn().context("entering the host")?;
        let ended =
            pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).context("watching a command in the host")?;
        let hung = await_any(&[(&ended, PollFlags::IN)], Some(COMMAND_LIMIT))? == Woken::Timeout;
        if hung {
            child.kill()?;
        }
        let status = child.wait()?;
        let output = Output { code: exit_code(status), stdout: text(stdout)?, stderr: text(stderr)? };
        ensure!(!hung, "{:?} did not end in {COMMAND_LIMIT:?}: {output:?}\n{}", shown(arguments), self.last_words());
        Ok(output)
    }

    /// Adds what the host has said last.
    pub(crate) fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        error.context(format!("in the host {}, which said last:\n{}", self.name(), self.last_words()))
    }

    /// Runs a shell script that ends at its first failing command.
    pub fn sh(&self, script: &str) -> Result<Output> {
        self.run(&["bash", "-euo", "pipefail", "-c", script])
    }

    /// Runs a shell script that has to succeed, and gives what it printed. For tests: a failure panics with everything it said.
    #[allow(clippy::panic, reason = "the assertion of a test")]
    #[track_caller]
    pub fn succeed(&self, script: &str) -> String {
        match self.sh(script) {
            Ok(Output { code: 0, stdout, .. }) => stdout,
            Ok(Output { code, stdout, stderr }) => {
                panic!(
                    "in the host {}, exit code {code} from\n{script}\n--- stdout\n{stdout}\n--- stderr\n{stderr}",
                    self.name()
                )
            }
            Err(error) => panic!("in the host {}: {error:#}", self.name()),
        }
    }

    /// Writes a file in the host, with the folders above it.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) -> Result<()> {
        let script = "mkdir -p -- \"$(dirname -- \"$0\")\" && exec cat >\"$0\"";
        let output = self.feed(&["sh", "-c", script, path], content.as_ref())?;
        ensure!(output.success(), "writing {path} in the host {}: {}", self.name(), output.stderr);
        Ok(())
    }

    /// Reboots in order and waits until the host is up again, on the same disk.
    pub fn reboot(&self) -> Result<()> {
        self.expect_boot(|| match self.is_virtual() {
            true => self.request("systemctl reboot"),
            false => self.signal("RTMIN+5"),
        })
    }

    /// Ends every process of the host at once, as a power cut does, and boots it again on the same disk. What a kernel of its own had
    /// in its caches is lost; without one it is not, for the machine's kernel goes on.
    pub fn power_loss(&self) -> Result<()> {
        if self.is_virtual() {
            return virtual_machine::cut_power(self);
        }
        self.expect_boot(|| {
            fs::write(self.run.path("again"), "").context("asking for another boot")?;
            self.kill()
        })
    }

    /// Does something that makes the host boot again, and waits until it has.
    pub fn expect_boot(&self, trigger: impl FnOnce() -> Result<()>) -> Result<()> {
        if self.is_virtual() {
            return virtual_machine::after_reset(self, trigger);
        }
        let console = self.console()?;
        let listener = Listener::bind(&self.run.path("notify"))?;
        let supervisor = self.supervisor()?;
        trigger()?;
        self.await_boot(&listener, &supervisor, console)
    }

    pub(crate) fn await_boot(&self, listener: &Listener, supervisor: &OwnedFd, console: File) -> Result<()> {
        let boot = listener.wait(supervisor, BOOT_LIMIT)?;
        if boot == Boot::Complete {
            return Ok(());
        }
        // The host may still be able to tell what it waits for.
        let asked = self.sh("systemctl --no-pager list-jobs; journalctl --no-pager --lines=30");
        let jobs = asked.map(|output| output.stdout).unwrap_or_default();
        let words = text(console)?;
        bail!("the host {} did not boot ({boot:?}):\n{}\n{jobs}", self.name(), tail(&words, 40))
    }

    /// Powers the host off in order and waits until everything of it is gone.
    pub fn power_off(&self) -> Result<()> {
        let supervisor = self.supervisor()?;
        match self.is_virtual() {
            true => self.request("systemctl poweroff")?,
            false => self.signal("RTMIN+4")?,
        }
        let hung = await_any(&[(&supervisor, PollFlags::IN)], Some(SHUTDOWN_LIMIT))? == Woken::Timeout;
        if hung {
            let words = self.last_words();
            self.destroy()?;
            bail!("the host {} did not power off in {SHUTDOWN_LIMIT:?}:\n{words}", self.name());
        }
        self.run.remove()
    }

    /// Takes the host away as it is.
    pub fn destroy(&self) -> Result<()> {
        if self.run.alive()? {
            let supervisor = self.supervisor()?;
            // Without its PID 1, and told that nobody wants it back, the supervisor clears up and ends.
            fs::write(self.run.path("orphan"), "").context("giving up the host")?;
            let hung = self.kill().is_err()
                || await_any(&[(&supervisor, PollFlags::IN)], Some(SHUTDOWN_LIMIT))? == Woken::Timeout;
            if hung {
                // Its death takes the namespaces along; the rest is removed below.
                pidfd_send_signal(&supervisor, Signal::KILL).context("ending the host's supervisor")?;
                await_any(&[(&supervisor, PollFlags::IN)], Some(SHUTDOWN_LIMIT))?;
            }
        }
        self.run.remove()
    }

    pub(crate) fn supervisor(&self) -> Result<OwnedFd> {
        let pid =
            self.run.number("supervisor").with_context(|| format!("the host {} has no supervisor", self.name()))?;
        pidfd_open(pid_of(pid)?, PidfdFlags::empty()).with_context(|| format!("watching the host {}", self.name()))
    }

    pub(crate) fn console(&self) -> Result<File> {
        File::open(self.run.path("console.log")).context("opening the host's console")
    }

    fn kill(&self) -> Result<()> {
        kill_process(pid_of(self.pid()?)?, Signal::KILL).context("killing the host's PID 1")
    }

    /// What systemd takes for a request: the real-time signals have no other sender than a shell here.
    fn signal(&self, name: &str) -> Result<()> {
        let status =
            Command::new("bash").args(["-c", "kill -s \"$0\" \"$1\"", name, &self.pid()?.to_string()]).status()?;
        ensure!(status.success(), "cannot send {name} to the host {}", self.name());
        Ok(())
    }

    /// Begins what ends the host, of which the asking itself may be the first victim.
    fn request(&self, command: &str) -> Result<()> {
        let output = self.run(&["systemd-run", "--quiet", "--collect", "sh", "-c", command])?;
        ensure!(output.success(), "{command} in the host {}: {}", self.name(), output.stderr);
        Ok(())
    }

    pub(crate) fn last_words(&self) -> String {
        console::last_words(&self.run.path("console.log"))
    }
}

/// An exit code as a shell shows it: 128 plus the signal for a process that was killed.
pub fn exit_code(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(255)
}

fn pid_of(number: u32) -> Result<Pid> {
    i32::try_from(number).ok().and_then(Pid::from_raw).with_context(|| format!("{number} is no pid"))
}

fn shown<S: AsRef<OsStr>>(arguments: &[S]) -> Vec<&OsStr> {
    arguments.iter().map(AsRef::as_ref).collect()
}

fn text(mut file: File) -> Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
