//! Commands in a container, run by the container's own service manager. systemd-stdio-bridge(1) enters the container and
//! passes its bus on, so that nothing here is looked up in a tree that belongs to somebody else.

use crate::systemd::{Systemd, SystemdError};
use futures_util::StreamExt;
use std::{
    fs, io,
    os::{fd::OwnedFd, unix::net::UnixStream},
    process::Stdio,
    time::Duration,
};
use thiserror::Error;
use zbus::{
    connection,
    zvariant::{Fd, OwnedValue, Value},
};

const BRIDGE: &str = "/usr/bin/systemd-stdio-bridge";
const SERVICE: &str = "org.freedesktop.systemd1.Service";
const SIGKILL: i32 = nix::libc::SIGKILL;
const UNIT: &str = "org.freedesktop.systemd1.Unit";

/// Why a command could not be run.
#[derive(Debug, Error)]
pub enum InsideError {
    /// The bridge cannot be started.
    #[error("cannot start {BRIDGE}")]
    Bridge(#[source] io::Error),
    /// The container's service manager does not answer.
    #[error("the service manager of {0} does not answer")]
    Unreachable(String, #[source] zbus::Error),
    /// It refused or failed.
    #[error(transparent)]
    Systemd(#[from] SystemdError),
    /// The command was not run.
    #[error("{command} cannot be run: {reason}")]
    NotRun {
        /// Its first word.
        command: String,
        /// Why.
        reason: NotRun,
    },
    /// The container ended before the command did.
    #[error("{0} ended before the command did")]
    Gone(String),
}

/// Why a command was not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotRun {
    /// It is not there, or is no program.
    Command,
    /// There is no such user.
    User,
    /// Anything else, as systemd.exec(5) numbers it.
    Status(i32),
}

impl std::fmt::Display for NotRun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Command => f.write_str("there is no such program"),
            Self::User => f.write_str("there is no such user"),
            Self::Status(status) => write!(f, "its service manager says {status} (systemd.exec(5))"),
        }
    }
}

/// What a command reads from and writes to.
#[derive(Debug)]
pub enum Streams {
    /// Standard input, output and error.
    Apart([OwnedFd; 3]),
    /// A terminal of the container, and what kind the caller's is.
    Terminal {
        /// Its path there.
        path: String,
        /// TERM.
        kind: Option<String>,
    },
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// With this code.
    Exited(u8),
    /// By this signal.
    Killed(u8),
}

/// A container's service manager.
#[derive(Debug)]
pub struct Inside {
    machine: String,
    systemd: Systemd,
    // Ended with this, and with it the connection.
    _bridge: tokio::process::Child,
}

/// A command that was started.
#[derive(Debug)]
pub struct Running<'a> {
    inside: &'a Inside,
    unit: String,
}

impl Inside {
    /// Reaches the service manager of a container that runs.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn connect(machine: &str) -> Result<Self, InsideError> {
        let (ours, theirs) = UnixStream::pair().map_err(InsideError::Bridge)?;
        let (bridge, ours) = bridge(machine, ours, theirs).map_err(InsideError::Bridge)?;
        let failed = |cause| InsideError::Unreachable(machine.to_owned(), cause);
        let bus = connection::Builder::unix_stream(ours).build().await.map_err(failed)?;
        let systemd = Systemd::over(&bus).await?;
        Ok(Self { machine: machine.to_owned(), systemd, _bridge: bridge })
    }

    /// Starts a command, word for word, as a service of the container's. It has begun when this returns.
    ///
    /// # Errors
    /// It cannot be run, or the service manager refused.
    pub async fn start(&self, user: &str, words: &[String], streams: Streams) -> Result<Running<'_>, InsideError> {
        self.begin(user, words, streams, Vec::new()).await
    }

    /// The same for a program that is killed after this time, with all that it started when it has ended.
    ///
    /// # Errors
    /// As [`Inside::start`].
    pub async fn start_bounded(
        &self,
        user: &str,
        words: &[String],
        streams: Streams,
        most: Duration,
    ) -> Result<Running<'_>, InsideError> {
        let most = u64::try_from(most.as_micros()).unwrap_or(u64::MAX);
        let bounds = vec![("RuntimeMaxUSec", Value::from(most)), ("KillSignal", Value::from(SIGKILL))];
        self.begin(user, words, streams, bounds).await
    }

    async fn begin(
        &self,
        user: &str,
        words: &[String],
        streams: Streams,
        bounds: Vec<(&'static str, Value<'_>)>,
    ) -> Result<Running<'_>, InsideError> {
        let unit = format!("bitbuilder-exec-{}.service", unique().map_err(InsideError::Bridge)?);
        let command = words.first().map(String::as_str).unwrap_or_default();
        // As it is: no variable in it is anybody's.
        let line = (command.to_owned(), words.to_vec(), vec!["no-env-expand".to_owned()]);
        let mut properties = vec![
            ("Description", Value::from("A command from the host")),
            // The job ends when the command has begun, or cannot.
            ("Type", Value::from("exec")),
            ("User", Value::from(user)),
            // As in a pipeline: who reads no more ends who writes.
            ("IgnoreSIGPIPE", Value::from(false)),
            ("ExecStartEx", Value::from(vec![line])),
            // It is there to be asked how it ended, and goes with this connection.
            ("AddRef", Value::from(true)),
            ("CollectMode", Value::from("inactive-or-failed")),
        ];
        properties.extend(bounds);
        match &streams {
            Streams::Apart(streams) => {
                let names =
                    ["StandardInputFileDescriptor", "StandardOutputFileDescriptor", "StandardErrorFileDescriptor"];
                properties.extend(names.into_iter().zip(streams.iter().map(|stream| Value::Fd(Fd::from(stream)))));
            }
            Streams::Terminal { path, kind } => {
                let names = ["StandardInput", "StandardOutput", "StandardError"];
                properties.extend(names.map(|name| (name, Value::from("tty"))));
                properties.push(("TTYPath", Value::from(path.as_str())));
                if let Some(kind) = kind {
                    properties.push(("Environment", Value::from(vec![format!("TERM={kind}")])));
                }
            }
        }
        match self.systemd.start_transient(&unit, &properties).await {
            Ok(()) => Ok(Running { inside: self, unit }),
            Err(SystemdError::Job { action, unit, result }) => {
                let service = self.systemd.properties(&unit, "Service").await?;
                match number(&service, "ExecMainStatus") {
                    // What systemd's own child says before it becomes the command.
                    Some(status @ 200..=245) => Err(InsideError::NotRun {
                        command: command.to_owned(),
                        reason: match status {
                            203 => NotRun::Command,
                            217 => NotRun::User,
                            other => NotRun::Status(other),
                        },
                    }),
                    _ => Err(SystemdError::Job { action, unit, result }.into()),
                }
            }
            Err(other) => Err(other.into()),
        }
    }
}

impl Running<'_> {
    /// Sends all its processes a signal.
    ///
    /// # Errors
    /// The service manager refused.
    pub async fn signal(&self, signal: i32) -> Result<(), InsideError> {
        Ok(self.inside.systemd.kill(&self.unit, signal).await?)
    }

    /// Returns when it has ended.
    ///
    /// # Errors
    /// The container ended first.
    pub async fn ended(&self) -> Result<Ending, InsideError> {
        let Inside { machine, systemd, .. } = self.inside;
        let gone = || InsideError::Gone(machine.clone());
        let failed = |cause| InsideError::Unreachable(machine.clone(), cause);
        let proxy = systemd.object(&self.unit).await?;
        // Listen first: it may end in between.
        let mut changed = proxy.receive_properties_changed().await.map_err(failed)?;
        loop {
            let unit = proxy.get_all(UNIT).await.map_err(failed)?;
            let state = unit.get("ActiveState").and_then(|value| <&str>::try_from(value).ok());
            if matches!(state, Some("inactive" | "failed")) {
                let service = proxy.get_all(SERVICE).await.map_err(failed)?;
                return ending(&service).ok_or_else(gone);
            }
            changed.next().await.ok_or_else(gone)?;
        }
    }
}

fn ending(service: &std::collections::HashMap<String, OwnedValue>) -> Option<Ending> {
    let status = u8::try_from(number(service, "ExecMainStatus")?).ok()?;
    // si_code of sigaction(2): exited, killed, dumped core.
    match number(service, "ExecMainCode")? {
        1 => Some(Ending::Exited(status)),
        2 | 3 => Some(Ending::Killed(status)),
        _ => None,
    }
}

fn number(properties: &std::collections::HashMap<String, OwnedValue>, name: &str) -> Option<i32> {
    properties.get(name).and_then(|value| i32::try_from(value).ok())
}

#[allow(clippy::disallowed_methods, reason = "it lives as long as the connection, and its input and output are that")]
fn bridge(
    machine: &str,
    ours: UnixStream,
    theirs: UnixStream,
) -> io::Result<(tokio::process::Child, tokio::net::UnixStream)> {
    let child = tokio::process::Command::new(BRIDGE)
        .args(["--quiet", "--machine", machine])
        .stdin(OwnedFd::from(theirs.try_clone()?))
        .stdout(OwnedFd::from(theirs))
        .stderr(Stdio::null())
        // What a terminal tells this process is not for the bridge.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    ours.set_nonblocking(true)?;
    Ok((child, tokio::net::UnixStream::from_std(ours)?))
}

fn unique() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/uuid")?.trim().to_owned())
}
