//! `bitbuilder shell`: systemd-machined opens a pseudo terminal there (io.systemd.Machine.Open), and what is typed and
//! shown here goes through it.

use crate::output::Failure;
use model::TenantName;
use runtime::foreign::{self, ForeignError};
use rustix::termios::{self, OptionalActions, Termios};
use serde_json::json;
use std::{
    fs::File,
    io::{self, IsTerminal, Read, Write},
    os::fd::AsFd,
    path::Path,
    time::Duration,
};
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};

/// Long enough for a person to answer polkit.
const PATIENCE: Duration = Duration::from_secs(120);
/// What a terminal takes for the end of its input (termios(3), VEOF).
const END_OF_TRANSMISSION: u8 = 4;
const MACHINED: &str = "/run/varlink/registry/io.systemd.Machine";

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    tenant: TenantName,
    /// Whose shell.
    #[arg(long, default_value = "root")]
    user: String,
}

pub(crate) async fn run(words: &Arguments) -> Result<u8, Failure> {
    Ok(open(&words.tenant, &words.user).await?)
}

/// Why there is no shell.
#[derive(Debug, Error)]
pub(crate) enum ShellError {
    /// machined does not answer or refused.
    #[error("cannot open a shell in {tenant}")]
    Open {
        tenant: TenantName,
        #[source]
        cause: ForeignError,
    },
    /// machined answered without a terminal.
    #[error("systemd-machined handed over no terminal for {0}")]
    NoTerminal(TenantName),
    /// This side's terminal cannot be used.
    #[error("cannot use this terminal")]
    Terminal(#[source] io::Error),
}

async fn open(tenant: &TenantName, user: &str) -> Result<u8, ShellError> {
    let request = json!({ "name": tenant, "mode": "shell", "user": user, "allowInteractiveAuthentication": true });
    let opened = foreign::call(Path::new(MACHINED), "io.systemd.Machine.Open", &request, PATIENCE).await;
    let (reply, descriptors) = opened.map_err(|cause| ShellError::Open { tenant: tenant.clone(), cause })?;
    let index = reply["ptyFileDescriptor"].as_u64().and_then(|index| usize::try_from(index).ok());
    let terminal = index.and_then(|index| descriptors.into_iter().nth(index)).map(File::from);
    let terminal = terminal.ok_or_else(|| ShellError::NoTerminal(tenant.clone()))?;
    let raw = Raw::enter().map_err(ShellError::Terminal)?;
    let forwarded = forward(terminal).await;
    drop(raw);
    forwarded.map_err(ShellError::Terminal)?;
    Ok(0)
}

async fn forward(terminal: File) -> io::Result<()> {
    let (mut typed, sized) = (terminal.try_clone()?, terminal.try_clone()?);
    let (prompted, prompt) = std::sync::mpsc::channel();
    // Reading keys blocks; the thread ends with the process.
    std::thread::spawn(move || -> io::Result<()> {
        if !io::stdin().is_terminal() {
            // What is there before the shell is, its terminal's reset would throw away.
            let _ended_without = prompt.recv();
        }
        io::copy(&mut io::stdin().lock(), &mut typed)?;
        typed.write_all(&[END_OF_TRANSMISSION])
    });
    let shown = tokio::task::spawn_blocking(move || show(terminal, &prompted));
    let mut resized = signal(SignalKind::window_change())?;
    tokio::pin!(shown);
    loop {
        // A pipe has no size.
        if let Ok(size) = termios::tcgetwinsize(io::stdin()) {
            termios::tcsetwinsize(&sized, size)?;
        }
        tokio::select! {
            ended = &mut shown => return ended.map_err(io::Error::other)?,
            _ = resized.recv() => {}
        }
    }
}

/// Shows what comes until the other side is closed, which a pseudo terminal says by EIO (pty(7)).
fn show(mut terminal: File, prompted: &std::sync::mpsc::Sender<()>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let mut buffer = [0; 8192];
    loop {
        match terminal.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => {
                // Nobody waits for it at a terminal.
                let _unheard = prompted.send(());
                out.write_all(&buffer[..length])?;
                out.flush()?;
            }
            Err(cause) if cause.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => return Ok(()),
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
            Err(cause) => return Err(cause),
        }
    }
}

/// The terminal hands over each key at once, until this is dropped.
struct Raw(Option<Termios>);

impl Raw {
    fn enter() -> io::Result<Self> {
        if !io::stdin().is_terminal() {
            return Ok(Self(None));
        }
        let before = termios::tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        termios::tcsetattr(io::stdin().as_fd(), OptionalActions::Now, &raw)?;
        Ok(Self(Some(before)))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            // The terminal may be gone, and with it what there was to restore.
            let _gone = termios::tcsetattr(io::stdin().as_fd(), OptionalActions::Now, before);
        }
    }
}
