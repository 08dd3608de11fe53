//! Twins of io.bitbuilder.Orchestrator.

use crate::macros::{contract, errors, object};
pub use model::progress::TenantState;
use model::{Forward, Reference, RepositoryUrl, Revision, TenantName, names::RepositoryName, signer::Trust};
use std::net::Ipv4Addr;

object! {
    /// A tenant, and what this host makes of it.
    TenantStatus {
        tenant: TenantName,
        state: TenantState,
        wanted: Option<Revision>,
        verified: Option<Revision>,
        generation: u64,
        #[serde(rename = "sinceUSec")] since_u_sec: u64,
        address: Option<Ipv4Addr>,
        forwards: Vec<Forward>,
        reason: Option<String>,
        unconverged: Option<String>,
        unreachable: Option<String>,
        not_in_effect: Vec<String>,
        plan: Vec<String>,
    }
    /// The system repository, and what this host makes of it.
    HostStatus {
        url: Option<RepositoryUrl>,
        reference: Option<Reference>,
        wanted: Option<Revision>,
        revision: Option<Revision>,
        reason: Option<String>,
        unreachable: Option<String>,
        tenants: u32,
    }
    /// Sets the system repository.
    SetRepository { url: RepositoryUrl, reference: Option<Reference>, trust: Option<Trust>, force: Option<bool> }
    /// Lets a repository's next commit have another history.
    AcceptHistory { repository: RepositoryName }
    /// Whether anything was changed.
    Changed { changed: bool }
    /// Fetches and converges.
    Sync { tenant: Option<RepositoryName>, wait: Option<bool> }
    /// Shows tenants.
    List { tenant: Option<TenantName> }
    /// Tenants.
    Tenants { tenants: Vec<TenantStatus> }
    /// Shows all tenants and each change.
    Watch {}
    /// Shows the system repository.
    Describe {}
    /// The system repository.
    Host { host: HostStatus }
}

errors! {
    NoSuchTenant { tenant: TenantName } = "no tenant {tenant} is registered"
    NotInitialized {} = "this host does not follow a system repository yet; run: bitbuilder init --repository URL"
    AlreadyInitialized { url: RepositoryUrl } = "this host follows {url} already; to change that or whose signature counts, run: bitbuilder init --force --repository URL"
    Failed { action: String, reason: String } = "cannot {action}: {reason}"
}

contract! { "io.bitbuilder.Orchestrator", "io.bitbuilder.Orchestrator.varlink", Error,
    SetRepository => Changed, Administer, Ignored;
    AcceptHistory => Changed, Administer, Ignored;
    Sync => Tenants, Synchronize, Supported;
    List => Tenants, Read, Supported;
    Watch => Tenants, Read, Required;
    Describe => Host, Read, Ignored;
}
