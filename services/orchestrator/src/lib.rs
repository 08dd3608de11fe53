//! Makes the host what Git says: reads, observes, plans, records, executes, verifies, settles. It touches nothing but its
//! ledger; everything else is done by the services that own it.

mod before;
mod checkouts;
mod deadlines;
mod dependencies;
mod due;
mod engine;
mod execute;
mod export;
mod fault;
mod floors;
mod history;
mod judge;
mod lane;
mod leave;
mod looks;
mod manager;
mod observe;
mod pause;
mod polling;
mod preview;
mod push;
mod reconcile;
mod record;
mod registry;
mod remotes;
mod secrets;
mod session;
mod slots;
mod status;
mod store;
mod sync;
mod tell;
mod trace;
mod trial;

pub use engine::Engine;
pub use session::Session;

use std::path::Path;
use tokio::signal::unix::{SignalKind, signal};

/// Where the ledger is kept.
pub const LEDGER: &str = "/var/lib/bitbuilder/orchestrator";
/// Where the second copy of what no history goes back behind is kept: not below the former's file system or subvolume.
pub const FLOORS: &str = "/var/lib/bitbuilder-floors";

/// Serves io.bitbuilder.Orchestrator until told to stop.
///
/// # Errors
/// The ledger cannot be read, or no socket was passed in.
pub async fn serve() -> Result<(), Box<Error>> {
    let users = runtime::caller::HostUsers::look_up().map_err(|cause| Error::Users(cause).boxed())?;
    let store = store::Store::open(Path::new(LEDGER)).map_err(|cause| Error::Ledger(cause).boxed())?;
    let engine = Engine::new(store, Path::new(FLOORS), runtime::Client::default());
    engine.start(&manager::boot().await.map_err(|cause| Error::Boot(cause).boxed())?);
    let mut terminate = signal(SignalKind::terminate()).map_err(|cause| Error::Signal(cause).boxed())?;
    let stopped = engine.clone();
    tokio::spawn(async move {
        terminate.recv().await;
        stopped.stop();
    });
    let options = runtime::Options::resident(&interfaces::orchestrator::CONTRACT, runtime::Identify::Host(users));
    runtime::serve(options, Session::new(engine)).await.map_err(|cause| Error::Serve(cause).boxed())
}

/// Why the orchestrator could not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The users that have a role are not known.
    #[error("cannot look up the host's users")]
    Users(#[source] std::io::Error),
    /// What is remembered cannot be read.
    #[error("cannot open the ledger")]
    Ledger(#[source] host::files::FileError),
    /// Whether the host was booted since is not known.
    #[error("cannot read the kernel's boot id")]
    Boot(#[source] std::io::Error),
    /// SIGTERM cannot be caught.
    #[error("cannot watch for SIGTERM")]
    Signal(#[source] std::io::Error),
    /// Nobody can call.
    #[error(transparent)]
    Serve(runtime::ServeError),
}

impl Error {
    fn boxed(self) -> Box<Self> {
        Box::new(self)
    }
}
