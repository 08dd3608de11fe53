//! The accept loop: a task per connection, limits per uid, back-off when descriptors run out, an end when idle or asked.

use crate::{
    activation,
    caller::Identify,
    connection::{Conversation, converse},
    notify,
    session::Session,
    socket::Bounded,
};
use interfaces::{Contract, access::Role};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::{
    collections::HashMap,
    future::poll_fn,
    io,
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
    time::Duration,
};
use thiserror::Error;
use tokio::{
    net::{UnixListener, UnixStream},
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};
use tracing::{debug, info, warn};

/// Connections of one uid at a time; root's are counted too.
const CONNECTIONS_PER_UID: usize = 128;
/// Connections at a time, of all uids together.
const CONNECTIONS: usize = 4096;
/// File descriptors that a connection may take: its socket, and a duplicate to see the caller hang up.
const DESCRIPTORS_PER_CONNECTION: usize = 2;
/// File descriptors left for work.
const DESCRIPTORS_FOR_WORK: usize = 256;
/// The largest message of a caller who may call nothing but the introspection, in bytes.
const LARGEST_OF_STRANGERS: usize = 64 << 10;
/// A peer that does not take its reply within this time is taken for dead.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);
/// How long calls in progress may take once the service is told to stop.
const DRAIN: Duration = Duration::from_secs(20);
/// How long to wait when the kernel has no descriptor left for a new connection.
const BACK_OFF: Duration = Duration::from_millis(100);

/// How long a service stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// Until it is stopped.
    Resident,
    /// Until it had no connection for this long; its socket starts it again.
    Activated(Duration),
}

/// What distinguishes one service from another.
#[derive(Debug, Clone)]
pub struct Options {
    /// The interface that it serves.
    pub contract: &'static Contract,
    /// How it tells callers apart.
    pub identify: Identify,
    /// How long it stays.
    pub lifetime: Lifetime,
    /// The largest message that it takes, in bytes.
    pub largest_message: usize,
    /// How many file descriptors a call of root's may bring.
    pub descriptors: usize,
    /// How many connections it has at a time.
    pub connections: usize,
    /// How long a peer may leave a reply untaken before it is dropped.
    pub write_patience: Duration,
    /// Whether there is work that goes on without a connection; an activated service stays for it.
    pub busy: Option<watch::Receiver<bool>>,
}

impl Options {
    /// An activated service of the host: 30 s of idleness, messages to 16 MiB (sd-varlink's own limit).
    #[must_use]
    pub fn activated(contract: &'static Contract, identify: Identify) -> Self {
        Self {
            contract,
            identify,
            lifetime: Lifetime::Activated(Duration::from_secs(30)),
            largest_message: 16 << 20,
            descriptors: 0,
            connections: CONNECTIONS,
            write_patience: WRITE_PATIENCE,
            busy: None,
        }
    }

    /// A resident service of the host.
    #[must_use]
    pub fn resident(contract: &'static Contract, identify: Identify) -> Self {
        Self { lifetime: Lifetime::Resident, ..Self::activated(contract, identify) }
    }
}

/// Why a service could not serve.
#[derive(Debug, Error)]
pub enum ServeError {
    /// No socket was passed in.
    #[error("cannot take over the service's sockets")]
    Activation(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// SIGTERM cannot be caught.
    #[error("cannot watch for SIGTERM")]
    Signal(#[source] io::Error),
}

/// Serves on the sockets that the service manager passed in, until the service is idle or told to stop.
///
/// # Errors
/// There is no socket, or no signal can be caught. A fault of a connection is never one of the service.
pub async fn serve<S: Session>(options: Options, session: S) -> Result<(), ServeError> {
    let listeners = activation::listeners().map_err(|cause| ServeError::Activation(Box::new(cause)))?;
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::Signal)?;
    let options = Options { connections: affordable(options.connections), ..options };
    notify::spawn_watchdog();
    notify::ready();
    serve_on(listeners, options, session, async move {
        terminate.recv().await;
    })
    .await;
    Ok(())
}

/// Serves on these sockets until the service is idle or `stop` completes, and then until no call is in progress.
pub async fn serve_on<S: Session>(
    listeners: Vec<UnixListener>,
    options: Options,
    session: S,
    stop: impl Future<Output = ()>,
) {
    let (drain, draining) = watch::channel(false);
    let quota = Quota::of(options.connections);
    let mut connections = JoinSet::new();
    let mut idle_since = Instant::now();
    tokio::pin!(stop);
    loop {
        let unused = connections.is_empty();
        let idle = async {
            match options.lifetime {
                Lifetime::Activated(patience) if unused => {
                    rested(options.busy.clone()).await;
                    sleep_until(idle_since + patience).await;
                }
                Lifetime::Activated(_) | Lifetime::Resident => std::future::pending().await,
            }
        };
        tokio::select! {
            // First comes what ends, then who waits: a connection that is not accepted stays with the socket, for our
            // successor, and one that is accepted is served.
            biased;
            () = &mut stop => break info!("stopping"),
            Some(_) = connections.join_next(), if !unused => idle_since = Instant::now(),
            accepted = accept(&listeners) => match accepted {
                Ok(stream) => {
                    let Some(place) = quota.admit(&stream) else { continue };
                    connections.spawn(connection(stream, options.clone(), session.clone(), draining.clone(), place));
                }
                // ECONNABORTED concerns one peer; EMFILE and ENFILE pass when connections end, and nothing tells when.
                Err(cause) => {
                    warn!("cannot accept a connection: {cause}");
                    sleep(BACK_OFF).await;
                }
            },
            () = idle => break debug!("idle"),
        }
    }
    notify::stopping();
    drop(listeners);
    // Every conversation has a receiver; without one there is nobody to tell.
    let _nobody_left = drain.send(true);
    if timeout(DRAIN, async { while connections.join_next().await.is_some() {} }).await.is_err() {
        warn!(left = connections.len(), "calls did not end in time");
    }
}

/// Waits until nothing is done without a connection.
async fn rested(busy: Option<watch::Receiver<bool>>) {
    if let Some(mut busy) = busy {
        // If nobody is left who could say so, nobody works.
        let _ended = busy.wait_for(|busy| !*busy).await.is_ok();
    }
}

/// The next connection of any of the sockets. Nothing is lost when this is abandoned.
async fn accept(listeners: &[UnixListener]) -> io::Result<UnixStream> {
    poll_fn(|context| {
        let ready = listeners.iter().find_map(|listener| match listener.poll_accept(context) {
            Poll::Ready(accepted) => Some(accepted.map(|(stream, _)| stream)),
            Poll::Pending => None,
        });
        ready.map_or(Poll::Pending, Poll::Ready)
    })
    .await
}

/// How many of the `wanted` connections this process has descriptors for, once it may use all that its unit allows
/// (setrlimit(2)).
fn affordable(wanted: usize) -> usize {
    let descriptors = (wanted * DESCRIPTORS_PER_CONNECTION + DESCRIPTORS_FOR_WORK) as u64;
    let granted = match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((soft, _)) if soft >= descriptors => return wanted,
        Ok((soft, hard)) => match setrlimit(Resource::RLIMIT_NOFILE, descriptors.min(hard), hard) {
            Ok(()) => descriptors.min(hard),
            Err(_) => soft,
        },
        Err(_) => return wanted,
    };
    let left = usize::try_from(granted).unwrap_or(usize::MAX).saturating_sub(DESCRIPTORS_FOR_WORK);
    wanted.min(left / DESCRIPTORS_PER_CONNECTION)
}

async fn connection<S: Session>(
    stream: UnixStream,
    options: Options,
    session: S,
    draining: watch::Receiver<bool>,
    _place: Place,
) {
    let ended = match options.identify.caller(&stream).await {
        Ok(caller) => {
            let largest_message = match caller.role {
                Role::Stranger | Role::Webhook => options.largest_message.min(LARGEST_OF_STRANGERS),
                Role::Root | Role::Orchestrator | Role::GitSync | Role::Reader | Role::Guest(_) | Role::Tenant => {
                    options.largest_message
                }
            };
            let descriptors = if caller.role == Role::Root { options.descriptors } else { 0 };
            let Options { contract, write_patience, .. } = options;
            let conversation = Conversation { contract, caller, session, write_patience, draining };
            match zlink::tokio::unix::Stream::try_from(stream) {
                Ok(stream) => converse(Bounded { stream, largest_message, descriptors }, conversation).await,
                Err(cause) => Err(cause),
            }
        }
        Err(cause) => Err(cause.into()),
    };
    match ended {
        Ok(()) | Err(zlink::Error::UnexpectedEof) => {}
        Err(cause) => debug!("a connection ended: {cause}"),
    }
}

/// How many connections each uid has.
#[derive(Debug, Clone)]
struct Quota {
    held: Arc<Mutex<HashMap<u32, usize>>>,
    connections: usize,
}

/// A uid's place among its connections, given back when dropped.
struct Place {
    quota: Quota,
    uid: u32,
}

impl Quota {
    fn of(connections: usize) -> Self {
        Self { held: Arc::default(), connections }
    }

    fn admit(&self, stream: &UnixStream) -> Option<Place> {
        let uid = stream.peer_cred().ok()?.uid();
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let total: usize = held.values().sum();
        let own = held.get(&uid).copied().unwrap_or_default();
        if own >= CONNECTIONS_PER_UID || total >= self.connections {
            debug!(uid, "too many connections");
            return None;
        }
        held.insert(uid, own + 1);
        Some(Place { quota: self.clone(), uid })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.quota.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = held.get_mut(&self.uid) {
            *own -= 1;
            if *own == 0 {
                held.remove(&self.uid);
            }
        }
    }
}
