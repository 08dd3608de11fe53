//! Sends a step to the service that owns it.

use crate::fault::Fault;
use interfaces::{extension, network, storage, tenant};
use model::TenantName;
use planner::{Action, Step};
use runtime::Client;
use std::time::Duration;
use tracing::info;

/// A large volume on a slow disk is packed in the end.
const ARCHIVE_PATIENCE: Duration = Duration::from_secs(6 * 3600);
/// The same of removing it.
const REMOVE_PATIENCE: Duration = Duration::from_secs(3600);

/// What a start and a stop take, and before, between and after them four hooks of an hour each. A tenant manager that hangs is
/// ended by its own watchdog.
const INSTANCE_PATIENCE: Duration = Duration::from_secs(5 * 60 + 4 * 3600);

/// Does steps one after the other, to the first that fails.
pub(crate) async fn in_order(
    services: &Client,
    tenant: &TenantName,
    generation: u64,
    steps: Vec<&Step>,
) -> Result<(), Fault> {
    for step in steps {
        info!(%tenant, generation, %step, "step");
        one(services, tenant, generation, &step.action).await?;
    }
    Ok(())
}

/// Does one step. Doing it again changes nothing.
async fn one(services: &Client, tenant: &TenantName, generation: u64, action: &Action) -> Result<(), Fault> {
    let tenant = tenant.clone();
    let instances = services.waiting(INSTANCE_PATIENCE);
    match action.clone() {
        Action::EnsureStorage(spec) => services.call(&storage::Ensure { tenant, generation, spec }).await.map(drop)?,
        Action::EnsureNetwork(spec) => services.call(&network::Ensure { tenant, generation, spec }).await.map(drop)?,
        Action::RemoveNetwork => services.call(&network::Remove { tenant, generation }).await.map(drop)?,
        Action::EnsureExtensions(spec) => {
            services.call(&extension::Ensure { tenant, generation, spec }).await.map(drop)?
        }
        Action::EnsureInstance(spec) => {
            instances.call(&tenant::Ensure { tenant, generation, spec: *spec }).await.map(drop)?
        }
        Action::PreProvision(spec) => {
            instances.call(&tenant::PreProvision { tenant, generation, spec: *spec }).await.map(drop)?
        }
        Action::Start => instances.call(&tenant::Start { tenant, generation }).await.map(drop)?,
        Action::Listen => instances.call(&tenant::Listen { tenant, generation }).await.map(drop)?,
        Action::Restart => instances.call(&tenant::Restart { tenant, generation }).await.map(drop)?,
        Action::Archive(manifest) => services
            .waiting(ARCHIVE_PATIENCE)
            .call(&storage::Archive { tenant, generation, manifest })
            .await
            .map(drop)?,
        Action::RemoveExtensions => services.call(&extension::Remove { tenant, generation }).await.map(drop)?,
        Action::RemoveStorage => {
            services.waiting(REMOVE_PATIENCE).call(&storage::Remove { tenant, generation }).await.map(drop)?
        }
        Action::RemoveInstance => services.call(&tenant::Remove { tenant, generation }).await.map(drop)?,
        Action::RestartServices(_) => services.call(&tenant::RestartServices { tenant, generation }).await.map(drop)?,
        Action::Stop => instances.call(&tenant::Stop { tenant, generation }).await.map(drop)?,
    }
    Ok(())
}
