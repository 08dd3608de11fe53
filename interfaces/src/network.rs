//! Twins of io.bitbuilder.Network.

use crate::macros::{contract, errors, object};
use model::{NetworkSpec, TenantName};

object! {
    /// What is held for one tenant.
    Attachment { tenant: TenantName, generation: u64, spec: NetworkSpec, intact: bool }
    /// Makes a tenant's bridge, lease and forwards match.
    Ensure { tenant: TenantName, generation: u64, spec: NetworkSpec }
    /// Removes a tenant's bridge, lease and forwards.
    Remove { tenant: TenantName, generation: u64 }
    /// Whether anything was changed.
    Changed { changed: bool }
    /// Shows what is held.
    List { tenant: Option<TenantName> }
    /// What is held.
    Listed { attachments: Vec<Attachment> }
}

errors! {
    Conflict { tenant: TenantName, what: String } = "{what} is held by the tenant {tenant}"
    StaleGeneration { generation: u64, current: u64 } = "generation {generation} is older than {current}, which this tenant's network was last changed with"
    Failed { action: String, reason: String } = "cannot {action}: {reason}"
}

contract! { "io.bitbuilder.Network", "io.bitbuilder.Network.varlink", Error,
    Ensure => Changed, Mutate, Ignored;
    Remove => Changed, Mutate, Ignored;
    List => Listed, Read, Supported;
}
