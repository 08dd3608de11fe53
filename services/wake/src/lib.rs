//! Leads connections to the ports of a tenant that is activated on demand. The service manager starts the tenant along with
//! this, and stops it when this has ended by itself: nobody was connected for long enough.

mod idle;
mod lead;

use idle::Connections;
use lead::Way;
use model::{Forward, TenantName, Wake};
use runtime::{ActivationError, notify, record};
use serde::Deserialize;
use std::{io, net::Ipv4Addr, path::Path, sync::Arc};
use thiserror::Error;
use tokio::{net::TcpListener, task::JoinSet};
use tracing::info;

/// As the socket's unit says.
const SOCKETS: &str = "wake";

/// Why nobody can be led to a tenant.
#[derive(Debug, Error)]
pub enum WakeError {
    /// The command line does not name a tenant.
    #[error("the argument is not a tenant: wake TENANT")]
    Tenant(#[source] <TenantName as std::str::FromStr>::Err),
    /// The service manager handed over no credentials.
    #[error("there is no $CREDENTIALS_DIRECTORY: what the tenant runs as is handed over as a credential")]
    NoCredentials,
    /// The tenant's record cannot be read.
    #[error("cannot read what is written down for the tenant")]
    Record(#[source] io::Error),
    /// Its record says that it is not woken.
    #[error("{0} is not activated on demand")]
    NotWoken(TenantName),
    /// There are no sockets.
    #[error(transparent)]
    Sockets(#[from] ActivationError),
    /// A socket of no use.
    #[error("a socket that was passed in has no address")]
    Address(#[source] io::Error),
    /// Who came found nobody, and has left.
    #[error("{0} does not answer")]
    Gone(TenantName),
    /// A socket of a port that the record does not have.
    #[error("port {0} leads nowhere")]
    Nowhere(u16),
}

/// What matters here of the tenant manager's record. The rest may change without us.
#[derive(Debug, Deserialize)]
struct Compiled {
    spec: Spec,
}

#[derive(Debug, Deserialize)]
struct Spec {
    address: Ipv4Addr,
    wake: Option<Wake>,
}

/// Leads connections to `tenant` until nobody has been connected for as long as its record says.
///
/// # Errors
/// There is no such tenant, it is not activated on demand, or there are no sockets.
pub async fn serve(tenant: String) -> Result<(), WakeError> {
    let tenant: TenantName = tenant.parse().map_err(WakeError::Tenant)?;
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").ok_or(WakeError::NoCredentials)?;
    let path = Path::new(&credentials).join(format!("{tenant}.json"));
    let Compiled { spec: Spec { address, wake } } = record::read(&path).map_err(WakeError::Record)?;
    let wake = wake.ok_or_else(|| WakeError::NotWoken(tenant.clone()))?;
    let listeners = runtime::tcp_listeners(SOCKETS)?.into_iter().map(|listener| {
        let port = tenants_port(&listener, &wake.forwards)?;
        Ok((Arc::new(listener), Way::to((address, port))))
    });
    let listeners: Vec<_> = listeners.collect::<Result<_, WakeError>>()?;
    notify::ready();
    let connections = Connections::default();
    loop {
        let mut accepting = JoinSet::new();
        for (listener, way) in &listeners {
            accepting.spawn(lead::accept(Arc::clone(listener), *way, connections.clone()));
        }
        connections.idle_for(wake.sleep_after.duration()).await;
        // Who is not accepted by now wakes the tenant again.
        accepting.shutdown().await;
        match connections.are_none() {
            true if connections.found_nobody() => return Err(WakeError::Gone(tenant)),
            true => break,
            false => {}
        }
    }
    info!(%tenant, "it may sleep");
    Ok(())
}

fn tenants_port(listener: &TcpListener, forwards: &[Forward]) -> Result<u16, WakeError> {
    let own = listener.local_addr().map_err(WakeError::Address)?.port();
    let forward = forwards.iter().find(|forward| forward.host.number() == own);
    forward.map(|forward| forward.tenant.number()).ok_or(WakeError::Nowhere(own))
}
