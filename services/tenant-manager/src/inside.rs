//! What a tenant's own service manager is told to do. The tenant may have put anything in its place, so each word has an end,
//! and what became of it is seen by asking afterwards.

use crate::{fault::Fault, health, text};
use host::command::{Command, CommandError};
use model::{TenantName, UnitName};
use std::time::Duration;

/// How long services have to stop or start before they are killed, as they are with the whole tenant.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long they have when they were killed. Together below the time that a unit of ours has.
const REST: Duration = Duration::from_secs(10);

/// Has it read its unit files anew.
pub(crate) async fn reload(tenant: &TenantName) -> Result<(), Fault> {
    systemctl(tenant, &["daemon-reload"], &[], PATIENCE).await.map(drop).map_err(|fault| unanswered(tenant, fault))
}

/// Has it stop services, and returns when they have ended.
pub(crate) async fn stop(tenant: &TenantName, units: &[UnitName]) -> Result<(), Fault> {
    tell(tenant, "stop", units).await
}

/// Has it start those of the services that are not up, and returns when they are or have failed.
pub(crate) async fn start(tenant: &TenantName, units: &[UnitName]) -> Result<(), Fault> {
    let states = health::ask(tenant, units).await?;
    let down = states.into_iter().filter(|service| matches!(service.active_state.as_str(), "inactive" | "failed"));
    let down: Vec<UnitName> = down.map(|service| service.unit).collect();
    tell(tenant, "start", &down).await
}

/// Has it stop and start services, and returns when they are up or have failed.
pub(crate) async fn restart(tenant: &TenantName, units: &[UnitName]) -> Result<(), Fault> {
    tell(tenant, "restart", units).await
}

async fn tell(tenant: &TenantName, verb: &str, units: &[UnitName]) -> Result<(), Fault> {
    if units.is_empty() {
        return Ok(());
    }
    let told = match systemctl(tenant, &[verb], units, PATIENCE).await {
        Err(CommandError::TimedOut { .. }) => {
            tracing::warn!(%tenant, verb, "its services took too long and are killed");
            if let Err(cause) = systemctl(tenant, &["kill", "--signal=SIGKILL"], units, REST).await {
                tracing::warn!(%tenant, "{}", runtime::chain(&cause));
            }
            // What was begun goes on: to stop what is stopped, or to start what was to be.
            systemctl(tenant, &[if verb == "stop" { "stop" } else { "start" }], units, REST).await
        }
        told => told,
    };
    match told {
        Ok(_) => Ok(()),
        Err(fault @ CommandError::Start { .. }) => Err(fault.into()),
        // A service that failed is found by who looks after it; a service manager that does not answer is another thing.
        Err(CommandError::Failed { .. } | CommandError::TimedOut { .. }) => {
            let states = health::ask(tenant, units).await?;
            let refused = states.into_iter().filter(|service| service.result == "start-limit-hit");
            start_anew(tenant, &refused.map(|service| service.unit).collect::<Vec<_>>()).await;
            Ok(())
        }
    }
}

/// Earlier failures count towards the limit of starts; this one was asked for.
async fn start_anew(tenant: &TenantName, units: &[UnitName]) {
    if units.is_empty() {
        return;
    }
    for verb in ["reset-failed", "start"] {
        if let Err(cause) = systemctl(tenant, &[verb], units, REST).await {
            tracing::debug!(%tenant, verb, "{cause}");
        }
    }
}

async fn systemctl(
    tenant: &TenantName,
    words: &[&str],
    units: &[UnitName],
    patience: Duration,
) -> Result<String, CommandError> {
    Command::new("systemctl")
        .args(["--machine", tenant.as_str(), "--no-pager", "--quiet"])
        .args(words)
        .arg("--")
        .args(units.iter().map(UnitName::as_str))
        .within(patience)
        .run()
        .await
}

fn unanswered(tenant: &TenantName, fault: CommandError) -> Fault {
    match fault {
        CommandError::Start { .. } => Fault::Command(fault),
        CommandError::TimedOut { .. } | CommandError::Failed { .. } => {
            Fault::Unanswered { tenant: tenant.clone(), reason: text::printable(&fault.to_string()) }
        }
    }
}
