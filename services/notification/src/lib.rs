//! Tells forges and webhooks what becomes of commits: what is to be told is on disk before anybody relies on it, and is told as
//! soon as whom it is for takes it. Nothing else of the host waits for that.

mod back_off;
mod courier;
mod credentials;
mod message;
mod outbox;
mod post;
mod progress;
mod request;
mod session;
mod taken;

use courier::Courier;
use credentials::Credentials;
use interfaces::notification::CONTRACT;
use post::Post;
use runtime::{Identify, Options, caller::HostUsers};
use session::Session;
use std::{
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

/// Where what is to be told is kept.
pub const ROOT: &str = "/var/lib/bitbuilder/notification";

/// Serves io.bitbuilder.Notification until it is idle and everything is told.
///
/// # Errors
/// What is kept cannot be read, or no socket was passed in.
pub async fn serve() -> Result<(), Error> {
    let users = HostUsers::look_up().map_err(Error::Users)?;
    let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let courier = Courier::new(&hostname, Credentials::of_this_process());
    let post = Post::open(Path::new(ROOT), courier).map_err(Error::Outbox)?;
    let options = Options { busy: Some(post.busy()), ..Options::activated(&CONTRACT, Identify::Host(users)) };
    runtime::serve(options, Session::new(post)).await.map_err(Error::Serve)
}

/// Why the service could not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The users that have a role are not known.
    #[error("cannot look up the host's users")]
    Users(#[source] std::io::Error),
    /// What is to be told cannot be read.
    #[error("cannot open the outbox")]
    Outbox(#[source] host::files::FileError),
    /// Nobody can call.
    #[error(transparent)]
    Serve(runtime::ServeError),
}

/// Microseconds since 1970.
fn now_usec() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
