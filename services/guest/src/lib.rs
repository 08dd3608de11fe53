//! A tenant's own socket: what the tenant may see and ask of its host, by a process of its own that has no rights but to ask
//! the orchestrator for this one tenant.

mod session;
mod uids;

pub use session::Guest;
pub use uids::uids_of;

use model::TenantName;
use runtime::{Client, Identify, Options, caller::TenantUids, serve::ServeError};
use std::path::Path;
use thiserror::Error;

/// A call of ours has no parameters worth mentioning.
const LARGEST_MESSAGE: usize = 1 << 20;
/// A tenant has many uids and could hold many connections by each.
const CONNECTIONS: usize = 32;

/// Why a tenant's socket cannot be served.
#[derive(Debug, Error)]
pub enum GuestError {
    /// The command line does not name a tenant.
    #[error("the argument is not a tenant: guest TENANT")]
    Tenant(#[source] <TenantName as std::str::FromStr>::Err),
    /// The service manager handed over no credentials.
    #[error("there is no $CREDENTIALS_DIRECTORY: what the tenant runs as is handed over as a credential")]
    NoCredentials,
    /// The socket is of no use.
    #[error("cannot serve the tenant's socket")]
    Serve(#[from] ServeError),
}

/// Serves the socket that was passed in for `tenant`.
///
/// # Errors
/// `tenant` is no tenant's name, or there is no socket.
pub async fn serve(tenant: String) -> Result<(), GuestError> {
    let tenant: TenantName = tenant.parse().map_err(GuestError::Tenant)?;
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").ok_or(GuestError::NoCredentials)?;
    let options = options(&tenant, Path::new(&credentials));
    Ok(runtime::serve(options, Guest::of(tenant, &Client::default())).await?)
}

/// How the socket of `tenant` is served, whose record is in the directory `records`.
#[must_use]
pub fn options(tenant: &TenantName, records: &Path) -> Options {
    let record = records.join(format!("{tenant}.json"));
    let uids = TenantUids::found_by(move || uids_of(&record));
    Options {
        largest_message: LARGEST_MESSAGE,
        connections: CONNECTIONS,
        ..Options::activated(&interfaces::guest::CONTRACT, Identify::Guest(uids))
    }
}
