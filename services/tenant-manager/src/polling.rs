//! The timers that poll tenants' repositories: made to run for exactly the tenants that are wanted.

use crate::containers::Containers;
use futures_util::{StreamExt, stream};
use host::systemd::SystemdError;
use model::TenantName;
use std::collections::BTreeSet;
use tracing::info;

/// How many timers are started or stopped at a time.
const AT_A_TIME: usize = 16;

/// Starts and stops what is needed. True if anything was.
pub(crate) async fn ensure(containers: &impl Containers, wanted: &BTreeSet<TenantName>) -> Result<bool, SystemdError> {
    let polled = containers.polled().await?;
    let missing = wanted.difference(&polled).map(|tenant| (tenant.clone(), true));
    let superfluous = polled.difference(wanted).map(|tenant| (tenant.clone(), false));
    let changes: Vec<_> = missing.chain(superfluous).collect();
    let changed = !changes.is_empty();
    let outcomes = stream::iter(changes).map(|(tenant, poll)| async move {
        let outcome = if poll { containers.poll(&tenant).await } else { containers.stop_polling(&tenant).await };
        if outcome.is_ok() {
            info!(%tenant, poll, "polling");
        }
        outcome
    });
    let outcomes: Vec<Result<(), SystemdError>> = outcomes.buffer_unordered(AT_A_TIME).collect().await;
    outcomes.into_iter().collect::<Result<(), _>>()?;
    Ok(changed)
}
