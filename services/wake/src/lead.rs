//! From a connection to one to the tenant, and what is said back and forth.

use crate::idle::Connections;
use rustix::net::sockopt::{set_socket_keepalive, set_tcp_keepidle};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    time::{Instant, sleep, timeout},
};
use tracing::{debug, warn};

/// How long a tenant that was just woken may take until its services listen, or one that runs until it answers.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long one try may take: the tenant's kernel is next door.
const TRY: Duration = Duration::from_millis(250);
/// Nobody says when a service in the tenant begins to listen; it is tried after these times.
const PAUSES: [Duration; 2] = [Duration::from_millis(2), Duration::from_millis(100)];
/// Somebody who has vanished without a word is noticed after that: he must not keep the tenant awake.
const KEEP_ALIVE: Duration = Duration::from_secs(60);
/// After an error that the next accept would have too, as when there are too many open files.
const RECOVERY: Duration = Duration::from_millis(100);

/// A port of the tenant, and since when it is known to run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way {
    to: SocketAddr,
    since: Instant,
}

/// Why nobody was reached.
#[derive(Debug, PartialEq, Eq)]
enum Unreached {
    /// The tenant is there, and no service of it at the port.
    Refused,
    /// The tenant does not answer.
    Gone,
}

impl Way {
    pub(crate) fn to(address: impl Into<SocketAddr>) -> Self {
        Self { to: address.into(), since: Instant::now() }
    }

    async fn reach(&self) -> Result<TcpStream, Unreached> {
        let (begun, [mut pause, longest]) = (Instant::now(), PAUSES);
        loop {
            let cause = match timeout(TRY, TcpStream::connect(self.to)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(cause)) => cause,
                Err(elapsed) => elapsed.into(),
            };
            debug!(to = %self.to, "not reached yet: {cause}");
            let is_there = cause.kind() == io::ErrorKind::ConnectionRefused;
            if is_there && self.since.elapsed() >= PATIENCE {
                return Err(Unreached::Refused);
            }
            if !is_there && begun.elapsed() >= PATIENCE {
                return Err(Unreached::Gone);
            }
            sleep(pause).await;
            pause = longest.min(pause * 2);
        }
    }
}

/// Accepts connections and leads each on. It never ends by itself.
pub(crate) async fn accept(listener: Arc<TcpListener>, way: Way, connections: Connections) {
    while let Some(place) = connections.place().await {
        match listener.accept().await {
            Ok((client, _)) => {
                let open = connections.enter(place);
                tokio::spawn(async move {
                    let reached = way.reach().await;
                    open.found(!matches!(reached, Err(Unreached::Gone)));
                    if let Ok(tenant) = reached {
                        talk(client, tenant).await;
                    }
                });
            }
            Err(cause) => {
                warn!("nobody can be accepted: {cause}");
                sleep(RECOVERY).await;
            }
        }
    }
}

/// Copies until both have said all.
async fn talk(mut client: TcpStream, mut tenant: TcpStream) {
    for stream in [&client, &tenant] {
        let kept = stream
            .set_nodelay(true)
            .and_then(|()| Ok(set_socket_keepalive(stream, true)?))
            .and_then(|()| Ok(set_tcp_keepidle(stream, KEEP_ALIVE)?));
        if let Err(cause) = kept {
            debug!("a connection is as it is: {cause}");
        }
    }
    if let Err(cause) = copy_bidirectional(&mut client, &mut tenant).await {
        debug!("a connection broke: {cause}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn listener() -> (Arc<TcpListener>, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (Arc::new(listener), address)
    }

    async fn ask(at: SocketAddr, question: &str) -> String {
        let mut stream = TcpStream::connect(at).await.unwrap();
        stream.write_all(question.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn a_service_that_listens_late_is_reached_and_hears_the_end() {
        let (own, at) = listener().await;
        let (tenants, to) = listener().await;
        drop(tenants);
        let connections = Connections::default();
        let accepting = tokio::spawn(accept(own, Way::to(to), connections.clone()));
        let asked = tokio::spawn(ask(at, "who?"));
        // Long enough for a first try that is refused.
        sleep(Duration::from_millis(20)).await;
        let tenants = TcpListener::bind(to).await.unwrap();
        let (mut stream, _) = tenants.accept().await.unwrap();
        assert!(!connections.are_none());
        let mut question = String::new();
        stream.read_to_string(&mut question).await.unwrap();
        stream.write_all(format!("{question} me").as_bytes()).await.unwrap();
        drop(stream);
        assert_eq!(asked.await.unwrap(), "who? me");
        connections.idle_for(Duration::ZERO).await;
        accepting.abort();
    }

    #[tokio::test]
    async fn a_port_that_nobody_serves_is_refused_at_once_when_the_tenant_has_been_up_for_long() {
        let (tenants, to) = listener().await;
        drop(tenants);
        let long = Way { to, since: Instant::now().checked_sub(PATIENCE).unwrap() };
        assert_eq!(long.reach().await.unwrap_err(), Unreached::Refused);
    }
}
