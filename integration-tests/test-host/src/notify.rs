//! Waiting for events: a host's READY=1, the end of a process, whichever comes first.

use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;

use crate::cache::remove;

/// What ended a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Woken {
    /// The descriptor of this index.
    By(usize),
    /// The time was over first.
    Timeout,
}

/// Waits until one of the descriptors has what is asked of it.
pub(crate) fn await_any<F: AsFd>(wanted: &[(F, PollFlags)], limit: Option<Duration>) -> Result<Woken> {
    let end = limit.map(|limit| Instant::now() + limit);
    let mut polled: Vec<PollFd<'_>> = wanted.iter().map(|(fd, flags)| PollFd::new(fd, *flags)).collect();
    loop {
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        let left = left.map(Timespec::try_from).transpose().context("a limit is too long")?;
        match poll(&mut polled, left.as_ref()) {
            Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("waiting for an event"),
            Ok(0) => return Ok(Woken::Timeout),
            Ok(_) => {
                let first = polled.iter().position(|fd| !fd.revents().is_empty());
                return Ok(first.map_or(Woken::Timeout, Woken::By));
            }
        }
    }
}

/// The socket to which a host's PID 1 says that its boot is complete.
#[derive(Debug)]
pub(crate) struct Listener(UnixDatagram);

/// How the wait for a boot ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Boot {
    Complete,
    HostGone,
    Timeout,
}

impl Listener {
    /// Listens from now on, in the folder that the host sees as /run/host/notify.
    pub(crate) fn bind(folder: &Path) -> Result<Self> {
        let path = folder.join("socket");
        remove(&path)?;
        UnixDatagram::bind(&path).with_context(|| format!("binding {}", path.display())).map(Self)
    }

    /// Waits until the boot is complete or the supervisor behind the descriptor has given up.
    pub(crate) fn wait(&self, supervisor: &OwnedFd, limit: Duration) -> Result<Boot> {
        let end = Instant::now() + limit;
        let wanted = [(self.0.as_fd(), PollFlags::IN), (supervisor.as_fd(), PollFlags::IN)];
        let mut buffer = [0; 8192];
        loop {
            match await_any(&wanted, Some(end.saturating_duration_since(Instant::now())))? {
                Woken::By(0) => {
                    let length = self.0.recv(&mut buffer).context("reading a notification")?;
                    if buffer[..length].split(|byte| *byte == b'\n').any(|line| line == b"READY=1") {
                        return Ok(Boot::Complete);
                    }
                }
                Woken::By(_) => return Ok(Boot::HostGone),
                Woken::Timeout => return Ok(Boot::Timeout),
            }
        }
    }
}
