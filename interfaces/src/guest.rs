//! Twins of io.bitbuilder.Guest.

use crate::{
    macros::{contract, errors, object},
    orchestrator::TenantState,
};
use model::{Revision, TenantName};
use std::net::Ipv4Addr;

object! {
    /// Describes the caller's tenant.
    Describe {}
    /// The caller's tenant.
    Description {
        tenant: TenantName,
        state: TenantState,
        wanted: Option<Revision>,
        verified: Option<Revision>,
        address: Option<Ipv4Addr>,
        reason: Option<String>,
    }
    /// Asks for convergence.
    Sync {}
    /// Nothing to say.
    Accepted {}
}

errors! {
    Unavailable { reason: String } = "the host cannot say at the moment: {reason}"
    Failed { action: String, reason: String } = "cannot {action}: {reason}"
}

contract! { "io.bitbuilder.Guest", "io.bitbuilder.Guest.varlink", Error,
    Describe => Description, OwnTenant, Ignored;
    Sync => Accepted, OwnTenant, Ignored;
}
