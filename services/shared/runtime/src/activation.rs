//! Sockets that the service manager opened for us (sd_listen_fds(3)), found by the name that their unit gives them.

use std::{
    io,
    os::fd::{FromRawFd, OwnedFd},
};
use thiserror::Error;

/// Why there is no socket to serve.
#[derive(Debug, Error)]
pub enum ActivationError {
    /// Started by hand, or without a .socket unit.
    #[error(
        "no socket named {name:?} was passed in; start the .socket unit, or run systemd-socket-activate --fdname={name}"
    )]
    NoSuchSocket {
        /// As FileDescriptorName= says.
        name: &'static str,
    },
    /// The socket is there and cannot be used.
    #[error("cannot listen on the passed socket")]
    Unusable(#[source] io::Error),
}

/// The name that our .socket units give with FileDescriptorName=.
const NAME: &str = "varlink";

/// Takes the listening sockets that were passed in.
pub(crate) fn listeners() -> Result<Vec<tokio::net::UnixListener>, ActivationError> {
    passed(NAME, |fd| {
        let listener = std::os::unix::net::UnixListener::from(fd);
        listener.set_nonblocking(true)?;
        tokio::net::UnixListener::from_std(listener)
    })
}

/// Takes the listening TCP sockets of this name that were passed in.
///
/// # Errors
/// There is none, or one of them is no TCP socket.
pub fn tcp_listeners(name: &'static str) -> Result<Vec<tokio::net::TcpListener>, ActivationError> {
    passed(name, |fd| {
        let listener = std::net::TcpListener::from(fd);
        listener.set_nonblocking(true)?;
        listener.local_addr()?;
        tokio::net::TcpListener::from_std(listener)
    })
}

fn passed<L>(name: &'static str, listen: impl Fn(OwnedFd) -> io::Result<L>) -> Result<Vec<L>, ActivationError> {
    let passed = sd_notify::listen_fds_with_names().map_err(ActivationError::Unusable)?;
    let ours: Vec<OwnedFd> = passed.filter(|(_, said)| said == name).map(|(fd, _)| take_over(fd)).collect();
    if ours.is_empty() {
        return Err(ActivationError::NoSuchSocket { name });
    }
    ours.into_iter().map(listen).collect::<io::Result<_>>().map_err(ActivationError::Unusable)
}

#[allow(unsafe_code)]
fn take_over(fd: i32) -> OwnedFd {
    // SAFETY: sd_listen_fds(3): the manager opened this descriptor for this process alone, sd-notify has checked that the
    // process is meant and that the descriptor is open, and this function is called once for each, at start.
    unsafe { OwnedFd::from_raw_fd(fd) }
}
