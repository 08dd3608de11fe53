//! The process: a task per connection, each with one request and an end in sight; an end of its own when there is nothing
//! to do.

use crate::{answer::Desk, hints::Hints, limit::origin, secrets::Secrets, tls};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    collections::HashMap,
    convert::Infallible,
    future::poll_fn,
    io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
    time::Duration,
};
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    signal::unix::{SignalKind, signal},
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, error, info, warn};

/// As FileDescriptorName= of the socket unit says.
const SOCKET: &str = "http";
/// Connections at a time; more have to wait.
const CONNECTIONS: usize = 512;
/// Connections of one address that are not answered yet; more are closed.
const OF_ADDRESS: usize = 128;
/// How long a request's head may take; a handshake before it as well.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);
/// How long a connection may last, whatever happens on it.
const CONNECTION_PATIENCE: Duration = Duration::from_secs(40);
/// The largest head, in bytes.
const LARGEST_HEAD: usize = 16 << 10;
/// The service ends after that long without a connection.
const IDLE: Duration = Duration::from_secs(30);
/// How long requests in progress may take once the service is told to stop.
const DRAIN: Duration = Duration::from_secs(5);
/// How long to wait when the kernel has no descriptor left for a new connection.
const BACK_OFF: Duration = Duration::from_millis(100);
/// How long and how much a client may go on sending that was answered before its end, so that it sees the answer.
const LINGER: (Duration, u64) = (Duration::from_secs(1), 256 << 10);

/// Why the receiver could not serve.
#[derive(Debug, Error)]
pub enum ServeError {
    /// No socket was passed in.
    #[error("cannot take over the service's sockets")]
    Activation(#[from] runtime::ActivationError),
    /// SIGTERM cannot be caught.
    #[error("cannot watch for SIGTERM")]
    Signal(#[source] io::Error),
}

/// How requests come.
#[derive(Clone)]
enum Transport {
    Plain,
    Tls(TlsAcceptor),
    /// TLS is asked for and cannot be had. Who connects is sent away, because they must not speak in the clear.
    Closed,
}

/// Serves on the sockets that the service manager passed in, until there is nothing to do or it is told to stop.
///
/// # Errors
/// There is no socket, or no signal can be caught.
pub async fn serve() -> Result<(), ServeError> {
    let listeners = runtime::tcp_listeners(SOCKET)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::Signal)?;
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let transport = match tls::read(credentials.as_deref()) {
        Ok(None) => Transport::Plain,
        Ok(Some(acceptor)) => Transport::Tls(acceptor),
        Err(fault) => {
            error!("nobody is served: {}", runtime::chain(&fault));
            Transport::Closed
        }
    };
    let hints = Hints::new(&runtime::Client::default());
    let desk = Arc::new(Desk::new(Secrets::read(credentials.as_deref()), hints.clone()));
    runtime::notify::ready();
    let mut connections = JoinSet::new();
    let (places, mut idle_since) = (Places::default(), Instant::now());
    loop {
        let unused = connections.is_empty();
        tokio::select! {
            biased;
            _ = terminate.recv() => break info!("stopping"),
            Some(_) = connections.join_next(), if !unused => idle_since = Instant::now(),
            accepted = accept(&listeners), if connections.len() < CONNECTIONS => match accepted {
                Ok((stream, peer)) => {
                    let Some(place) = places.take(peer.ip()) else { continue };
                    connections.spawn(connection(stream, peer.ip(), transport.clone(), desk.clone(), place));
                }
                // ECONNABORTED concerns one peer; EMFILE and ENFILE pass when connections end, and nothing tells when.
                Err(cause) => {
                    warn!("cannot accept a connection: {cause}");
                    sleep(BACK_OFF).await;
                }
            },
            () = sleep_until(idle_since + IDLE), if unused => {
                if hints.are_settled() {
                    break debug!("idle");
                }
                idle_since = Instant::now();
            }
        }
    }
    runtime::notify::stopping();
    drop(listeners);
    let drained = async {
        while connections.join_next().await.is_some() {}
        hints.settle().await;
    };
    if timeout(DRAIN, drained).await.is_err() {
        warn!("requests did not end in time");
    }
    Ok(())
}

/// The next connection of any of the sockets. Nothing is lost when this is abandoned.
async fn accept(listeners: &[TcpListener]) -> io::Result<(TcpStream, SocketAddr)> {
    poll_fn(|context| {
        listeners.iter().map(|listener| listener.poll_accept(context)).find(Poll::is_ready).unwrap_or(Poll::Pending)
    })
    .await
}

async fn connection(stream: TcpStream, peer: IpAddr, transport: Transport, desk: Arc<Desk>, place: Place) {
    let served = async {
        match transport {
            Transport::Plain => exchange(stream, peer, &desk, place).await,
            Transport::Tls(acceptor) => match timeout(HEAD_PATIENCE, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => exchange(stream, peer, &desk, place).await,
                Ok(Err(cause)) => debug!(%peer, "no TLS: {cause}"),
                Err(_) => debug!(%peer, "no TLS in time"),
            },
            Transport::Closed => {}
        }
    };
    if timeout(CONNECTION_PATIENCE, served).await.is_err() {
        debug!(%peer, "a connection took too long");
    }
}

/// One request and its answer.
async fn exchange(stream: impl AsyncRead + AsyncWrite + Unpin + 'static, peer: IpAddr, desk: &Desk, place: Place) {
    let answer = service_fn(|request| async { Ok::<_, Infallible>(desk.answer(peer, request).await) });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_buf_size(LARGEST_HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), answer)
        .without_shutdown()
        .await;
    let mut stream = match served {
        Ok(parts) => parts.io.into_inner(),
        Err(cause) => return debug!(%peer, "no request: {cause}"),
    };
    // It may come again while it takes the answer.
    drop(place);
    // Closed with something unread, the connection would be reset and take the answer with it.
    let (patience, most) = LINGER;
    let lingered = timeout(patience, async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(most), &mut tokio::io::sink()).await
    });
    if let Ok(Err(cause)) = lingered.await {
        debug!(%peer, "the connection broke: {cause}");
    }
}

/// How many connections of each address are not answered yet.
#[derive(Clone, Default)]
struct Places(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// An address's place among the connections, given back when dropped.
struct Place(Places, IpAddr);

impl Places {
    fn take(&self, peer: IpAddr) -> Option<Place> {
        let address = origin(peer);
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = held.get(&address).copied().unwrap_or_default();
        if own >= OF_ADDRESS {
            debug!(%address, "too many connections");
            return None;
        }
        held.insert(address, own + 1);
        Some(Place(self.clone(), address))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = held.get_mut(&self.1) {
            *own -= 1;
            if *own == 0 {
                held.remove(&self.1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_address_has_all_places() {
        let places = Places::default();
        let address = |last: u8| IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, last));
        let mut held: Vec<Place> = std::iter::from_fn(|| places.take(address(1))).collect();
        assert_eq!(held.len(), OF_ADDRESS);
        assert!(places.take(address(2)).is_some());
        held.pop();
        assert!(places.take(address(1)).is_some());
        drop(held);
        assert!(places.0.lock().unwrap().is_empty());
    }
}
