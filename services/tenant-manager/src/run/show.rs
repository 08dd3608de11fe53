//! Shows a tenant that runs what is written down for it: the commit's files, its units and its secrets, prepared as at a start
//! and put in the place of what it has. Its unit runs this, when it is reloaded, because nobody else of us may mount.

use super::{
    CONFIG, CREDENTIALS, RunError, UNITS, bind_checkout, mount_scratch, own,
    place::{Placing, group_of},
    secrets, service_units,
};
use crate::{
    held::{Held, NotShown},
    paths::Paths,
    units,
};
use host::{
    command::{Command, CommandError},
    files::FileError,
};
use model::{TenantName, identity::UidRange, secrets::SecretName};
use nix::mount::{MsFlags, mount};
use runtime::{Client, foreign};
use serde_json::json;
use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::{PermissionsExt, chown},
    path::Path,
    time::Duration,
};

const MACHINES: &str = "/run/systemd/machine/io.systemd.Machine";
const PATIENCE: Duration = Duration::from_secs(10);

/// Shows it. What goes wrong is noted for who asked, because a unit's reload says nothing but that it failed.
///
/// # Errors
/// The step that failed; the tenant goes on with what it has, or a part of what it should have.
pub async fn show(paths: &Paths, tenant: &TenantName) -> Result<(), RunError> {
    let held = Held::at(paths);
    let shown = showing(paths, tenant, &held).await;
    if let Err(fault) = &shown {
        held.note_not_shown(tenant, &NotShown { tenants: fault.is_tenants(), reason: runtime::chain(fault) })?;
    }
    shown
}

async fn showing(paths: &Paths, tenant: &TenantName, held: &Held) -> Result<(), RunError> {
    let spec = held.read(tenant)?.ok_or_else(|| RunError::NotHeld(tenant.clone()))?.record.spec;
    let scratch = paths.runtime(tenant);
    // Seen by this process alone: a unit's commands have each their own mounts.
    mount_scratch(&scratch).map_err(|cause| RunError::Mount(scratch.clone(), cause))?;
    let (checkout, unit_files) = (scratch.join("config"), scratch.join("units"));
    bind_checkout(paths, tenant, &spec.revision, &checkout)?;
    service_units::assemble(&checkout, spec.services.iter().map(|service| &service.unit), &unit_files)?;
    let secrets = secrets::open(&Client::default(), tenant, &spec.secrets, &checkout).await?;
    let credentials = scratch.join("credentials");
    keep(&credentials, &secrets, spec.uids).map_err(FileError::new("fill", &credentials))?;
    let (config, units) = (scratch.join("shown-config"), scratch.join("shown-units"));
    for (from, to) in [(&checkout, &config), (&unit_files, &units)] {
        own(from, to, spec.uids).await?;
    }
    let mut placings = vec![Placing::argument(&config, CONFIG), Placing::argument(&units, UNITS)];
    if !spec.secrets.is_empty() || held.started_with(tenant)?.is_some_and(|record| !record.spec.secrets.is_empty()) {
        placings.push(Placing::argument(&credentials, CREDENTIALS));
    }
    let groups = Path::new("/proc/self/cgroup");
    let own = fs::read_to_string(groups).map_err(FileError::new("read", groups))?;
    let unit = units::container(tenant);
    let group = group_of(&own, &unit).ok_or_else(|| RunError::NotReloaded(unit))?;
    let this = Path::new("/proc/self/exe");
    let this = fs::read_link(this).map_err(FileError::new("read", this))?;
    let place = Command::new(&this.display().to_string()).args(["place", &leader(tenant).await?.to_string(), &group]);
    match place.args(placings).within(PATIENCE).run().await {
        Ok(_) => Ok(()),
        Err(fault @ CommandError::Start { .. }) => Err(RunError::Place(Box::new(fault))),
        Err(fault) => Err(RunError::NotPlaced(Box::new(fault))),
    }
}

/// The tenant's first process, as the host counts.
async fn leader(tenant: &TenantName) -> Result<i32, RunError> {
    let asked =
        foreign::call(Path::new(MACHINES), "io.systemd.Machine.List", &json!({ "name": tenant }), PATIENCE).await;
    let (machine, _) = asked.map_err(|cause| RunError::Machine(Box::new(cause)))?;
    let leader = machine.pointer("/leader/pid").and_then(serde_json::Value::as_i64).and_then(|pid| pid.try_into().ok());
    leader.ok_or_else(|| RunError::NoLeader(tenant.clone()))
}

/// A file system in memory, which is never swapped, with these values as systemd-nspawn would leave them.
fn keep(directory: &Path, secrets: &[(SecretName, secrets::Value)], uids: UidRange) -> io::Result<()> {
    fs::create_dir(directory)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("credentials"), directory, Some("ramfs"), flags, Some("mode=0700"))?;
    let first = Some(uids.first);
    for (name, value) in secrets {
        let file = directory.join(name.as_str());
        #[allow(clippy::disallowed_methods)] // in memory, and seen by nobody before it is complete
        fs::write(&file, value.as_slice())?;
        fs::set_permissions(&file, Permissions::from_mode(0o400))?;
        chown(&file, first, first)?;
    }
    fs::set_permissions(directory, Permissions::from_mode(0o500))?;
    chown(directory, first, first)?;
    Ok(mount(
        None::<&str>,
        directory,
        None::<&str>,
        MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY | flags,
        None::<&str>,
    )?)
}
