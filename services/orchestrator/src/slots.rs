//! Which slots and uids are taken on the host, whatever the ledger says.

use crate::fault::Fault;
use interfaces::tenant as instance;
use model::{
    TenantName,
    identity::{Slot, UidRange},
};
use runtime::Client;
use std::collections::BTreeMap;

/// Why a tenant has no slot although everybody answered.
pub(crate) const NONE_FREE: &str = "no uid range is free on this host for another tenant";

/// What the tenant manager holds, and what others claim.
#[derive(Debug, Clone, Default)]
pub(crate) struct Claimed {
    /// The slots of instances that exist.
    pub(crate) in_use: BTreeMap<TenantName, Slot>,
    /// The uids that are somebody else's.
    pub(crate) reserved: Vec<UidRange>,
}

/// Asks the tenant manager.
pub(crate) async fn claimed(services: &Client) -> Result<Claimed, Fault> {
    let (held, reserved) =
        tokio::join!(services.call(&instance::List { tenant: None }), services.call(&instance::GetReservedUids {}),);
    let in_use = held?.instances.into_iter().filter_map(|held| Some((held.tenant, Slot::of_uids(held.spec.uids)?)));
    Ok(Claimed { in_use: in_use.collect(), reserved: reserved?.ranges })
}
