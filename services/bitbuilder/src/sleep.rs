//! Which of the tenants that are activated on demand sleep, as their own units say.

use interfaces::{
    orchestrator::TenantStatus,
    tenant::{Instance, List},
};
use model::{TenantName, observed::InstanceState};
use runtime::Client;
use std::collections::BTreeMap;

/// Whether each of them sleeps, as far as that is known.
pub(crate) type Sleeping = BTreeMap<TenantName, bool>;

/// Asks who sleeps, if anybody of these ever does. Where nobody answers, nothing is said.
pub(crate) async fn look(services: &Client, tenants: &[TenantStatus]) -> Sleeping {
    let ever: Vec<&TenantName> =
        tenants.iter().filter(|status| status.sleep_after.is_some()).map(|status| &status.tenant).collect();
    let asked = match ever.as_slice() {
        [] => return Sleeping::new(),
        [tenant] => Some((*tenant).clone()),
        _ => None,
    };
    let listed = services.call(&List { tenant: asked }).await.map(|reply| reply.instances).unwrap_or_default();
    let state = |Instance { tenant, state, .. }: Instance| (tenant, state == InstanceState::Inactive);
    listed.into_iter().map(state).filter(|(tenant, _)| ever.contains(&tenant)).collect()
}

/// For people.
pub(crate) fn remark(tenant: &TenantStatus, sleeping: &Sleeping) -> Option<String> {
    let after = tenant.sleep_after?;
    Some(match sleeping.get(&tenant.tenant) {
        Some(true) => "asleep until somebody connects to one of its ports".to_owned(),
        Some(false) => format!("awake; it sleeps when nobody has been connected to its ports for {after}"),
        None => format!("activated on demand; it sleeps when nobody has been connected to its ports for {after}"),
    })
}
