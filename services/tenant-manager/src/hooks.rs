//! The tenant's own scripts that run around its changes. The tenant's unit and the units of the sandboxes run what is here, so
//! they run also when no service of ours does.

mod said;
mod sandbox;
mod within;

use crate::{held::Held, paths::Paths, run::RunError, sleep, units};
use host::{
    files::FileError,
    systemd::{Systemd, SystemdError},
};
use model::{Hook, HookSpec, InstanceSpec, TenantName};
use runtime::notify;
use rustix::{
    fs::{XattrFlags, getxattr, setxattr},
    io::Errno,
};
use std::{env, io, path::Path, time::Duration};
use thiserror::Error;
use tracing::{info, warn};

/// What making a sandbox and ending one takes at most, beside the script.
const SLACK: Duration = Duration::from_secs(60);
/// On a tenant's root: what comes after a new root has run. Nobody inside the tenant can read or write it, and it goes with the
/// root.
const PROVISIONED: &str = "trusted.bitbuilder.provisioned";

/// Why a hook did not do what it should.
#[derive(Debug, Error)]
pub enum HookError {
    /// The script failed, took too long or cannot be run.
    #[error("{0}")]
    Script(String),
    /// Nobody has written down what the tenant runs.
    #[error("nothing is written down for {0}")]
    NotHeld(TenantName),
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The service manager refused, or the sandbox failed.
    #[error(transparent)]
    Systemd(Box<SystemdError>),
    /// The sandbox cannot be made.
    #[error("cannot make the sandbox")]
    Sandbox(#[from] RunError),
    /// The sandbox ended before the script began.
    #[error("the sandbox did not start: {0}")]
    NotBegun(String),
    /// The script cannot be started, for no fault of its own.
    #[error("cannot start a script")]
    Start(#[source] io::Error),
    /// It cannot be learnt or noted whether the root is new.
    #[error("cannot look at the tenant's root")]
    Root(#[source] io::Error),
}

impl From<SystemdError> for HookError {
    fn from(fault: SystemdError) -> Self {
        Self::Systemd(Box::new(fault))
    }
}

/// How a script did not do what it should, for its owner: which, what became of it, and what it said last.
fn failed(spec: &HookSpec, how: &str, said: &str) -> HookError {
    let said = if said.is_empty() { String::new() } else { format!(": {said}") };
    HookError::Script(format!("{spec} {how}{said}"))
}

/// Before a tenant's processes: runs its script in a sandbox that is a unit of its own.
///
/// # Errors
/// The script or the host failed; the tenant is then not started.
pub async fn before_start(paths: &Paths, tenant: &TenantName) -> Result<(), HookError> {
    let held = Held::at(paths);
    let record = held.read(tenant)?.ok_or_else(|| HookError::NotHeld(tenant.clone()))?.record;
    let Some(spec) = record.spec.hook(Hook::PreStart) else { return Ok(()) };
    notify::extend(spec.timeout.duration() + SLACK);
    // Anew: one that a kill left behind may run the script of another commit.
    Ok(Systemd::connect().await?.restart(&units::pre_start(tenant)).await?)
}

/// In the sandbox's unit.
///
/// # Errors
/// The script or the host failed. What the script did wrong is noted for who waits.
pub async fn in_sandbox(paths: &Paths, tenant: &TenantName, hook: Hook) -> Result<(), HookError> {
    let held = Held::at(paths);
    let wanted = match hook {
        Hook::PreProvision => held.to_provision(tenant)?,
        Hook::PreStart | Hook::PostProvision | Hook::PostStart | Hook::PreStop => {
            held.read(tenant)?.map(|holding| holding.record)
        }
    };
    let instance = wanted.ok_or_else(|| HookError::NotHeld(tenant.clone()))?.spec;
    let Some(spec) = instance.hook(hook) else { return Ok(()) };
    noted(&held, tenant, spec, sandbox::run(paths, tenant, &instance, spec).await)
}

/// After a tenant said that it is ready: runs its scripts in it, and has it sleep again if it is one that does.
///
/// # Errors
/// A script or the host failed; the start has then failed.
pub async fn after_start(paths: &Paths, tenant: &TenantName) -> Result<(), HookError> {
    let held = Held::at(paths);
    let instance = started_with(&held, tenant)?;
    let root = paths.tenant_root(tenant);
    if !is_provisioned(&root).map_err(HookError::Root)? {
        in_tenant(&held, tenant, &instance, Hook::PostProvision).await?;
        setxattr(&root, PROVISIONED, b"1", XattrFlags::empty()).map_err(|cause| HookError::Root(cause.into()))?;
    }
    in_tenant(&held, tenant, &instance, Hook::PostStart).await?;
    if instance.wake.is_some() {
        sleep::awake(tenant).await?;
    }
    Ok(())
}

/// Before a tenant's processes are told to end: runs its script in it. Nothing keeps the tenant from being stopped.
///
/// # Errors
/// Nobody can say what the tenant was started with.
pub async fn before_stop(paths: &Paths, tenant: &TenantName) -> Result<(), HookError> {
    // systemd.exec(5): none if the tenant has ended by itself.
    if env::var_os("MAINPID").is_none() {
        return Ok(());
    }
    let held = Held::at(paths);
    let instance = started_with(&held, tenant)?;
    let Some(spec) = instance.hook(Hook::PreStop) else { return Ok(()) };
    notify::extend(spec.timeout.duration() + SLACK);
    if let Err(fault) = within::run(tenant, spec).await {
        warn!(%tenant, "it is stopped all the same: {}", runtime::chain(&fault));
    }
    Ok(())
}

fn started_with(held: &Held, tenant: &TenantName) -> Result<InstanceSpec, HookError> {
    Ok(held.started_with(tenant)?.ok_or_else(|| HookError::NotHeld(tenant.clone()))?.spec)
}

async fn in_tenant(held: &Held, tenant: &TenantName, instance: &InstanceSpec, hook: Hook) -> Result<(), HookError> {
    let Some(spec) = instance.hook(hook) else { return Ok(()) };
    notify::extend(spec.timeout.duration() + SLACK);
    noted(held, tenant, spec, within::run(tenant, spec).await)
}

/// Whoever waits for the unit learns from it that it failed, and from a note why.
fn noted(held: &Held, tenant: &TenantName, spec: &HookSpec, ran: Result<(), HookError>) -> Result<(), HookError> {
    match &ran {
        Ok(()) => info!(%tenant, "{spec} is done"),
        Err(HookError::Script(reason)) => held.note_hook_failure(tenant, reason)?,
        Err(_) => {}
    }
    ran
}

fn is_provisioned(root: &Path) -> io::Result<bool> {
    let mut value = [0; 8];
    match getxattr(root, PROVISIONED, &mut value) {
        Ok(_) => Ok(true),
        Err(Errno::NODATA) => Ok(false),
        Err(cause) => Err(cause.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_moment_the_script_and_what_it_said() {
        let spec = HookSpec::new(Hook::PreStart, "scripts/check".parse().unwrap(), None);
        assert_eq!(failed(&spec, "exited with 3", "").to_string(), "pre-start scripts/check exited with 3");
        assert_eq!(failed(&spec, "exited with 3", "no").to_string(), "pre-start scripts/check exited with 3: no");
    }

    #[test]
    fn a_new_root_is_told_by_itself() {
        let root = tempfile::tempdir().unwrap();
        assert!(!is_provisioned(root.path()).unwrap());
        assert!(is_provisioned(&root.path().join("absent")).is_err());
    }
}
