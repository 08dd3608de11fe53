//! The way into a tenant, by four verbs that are the same whatever it is: a container's is systemd-machined
//! (io.systemd.Machine) and the service manager in it.

mod container;
pub(crate) mod copies;
pub(crate) mod streams;
pub(crate) mod terminal;

pub(crate) use container::Container;

use host::inside::InsideError;
use model::TenantName;
use runtime::foreign::ForeignError;
use std::{fs::File, io, path::Path};
use thiserror::Error;

/// Why there was no way in, or it ended.
#[derive(Debug, Error)]
pub(crate) enum WayError {
    /// machined does not answer or refused.
    #[error("cannot {action} {tenant}")]
    Machined {
        /// In words: open a shell in.
        action: &'static str,
        tenant: TenantName,
        #[source]
        cause: ForeignError,
    },
    /// machined answered without a terminal.
    #[error("systemd-machined handed over no terminal for {0}")]
    NoTerminal(TenantName),
    /// The tenant's service manager.
    #[error("cannot run the command in {tenant}")]
    Inside {
        tenant: TenantName,
        #[source]
        cause: Box<InsideError>,
    },
    /// This side's terminal, input or output cannot be used.
    #[error("cannot use this side's {0}")]
    Side(&'static str, #[source] io::Error),
    /// What was copied cannot be put in its place.
    #[error("cannot {action} {}", .path.display())]
    Copy {
        /// In words: put in its place.
        action: &'static str,
        path: std::path::PathBuf,
        #[source]
        cause: io::Error,
    },
}

/// What a terminal in a tenant is opened with.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Greeting<'a> {
    /// A shell of this user.
    Shell(&'a str),
    /// The question who is there.
    Login,
}

/// A command and whose it is.
#[derive(Debug)]
pub(crate) struct Command<'a> {
    pub(crate) user: &'a str,
    pub(crate) words: &'a [String],
    /// Whether it gets a terminal.
    pub(crate) terminal: bool,
}

/// The way into one tenant.
pub(crate) trait Way {
    /// Opens a terminal that somebody answers on.
    async fn open(&self, greeting: Greeting<'_>) -> Result<File, WayError>;
    /// Runs a command with this process's input and output, and gives its exit code, or 128 and the number of the signal that
    /// ended it.
    async fn run(&self, command: &Command<'_>) -> Result<u8, WayError>;
    /// Copies a file or a tree into the tenant, where all of it belongs to the tenant's root.
    async fn copy_in(&self, from: &Path, to: &Path, replace: bool) -> Result<(), WayError>;
    /// Copies a file or a tree out of the tenant to a place that nobody but the caller can look into: what it holds is the
    /// tenant's doing.
    async fn copy_out(&self, from: &Path, to: &Path) -> Result<(), WayError>;
}
