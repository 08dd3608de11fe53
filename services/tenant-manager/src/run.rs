//! What a tenant's unit starts: puts the tenant's layers and units together in the unit's own mount namespace and becomes
//! systemd-nspawn. Everything that it mounts vanishes with the unit.

mod command_line;
mod layers;
mod pinned;
mod secrets;
mod service_units;

use crate::{held::Held, paths::Paths, repository_units::NoSuchUnit, units};
use command_line::Container;
use host::{command::CommandError, files::FileError, systemd::SystemdError};
use model::{Revision, TenantName};
use nix::mount::{MsFlags, mount};
use runtime::Client;
use std::{
    convert::Infallible,
    fs, io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
};
use thiserror::Error;

const NSPAWN: &str = "/usr/bin/systemd-nspawn";
/// The exit code for what is wrong with the tenant (EX_DATAERR of sysexits.h(3head)); any other before systemd-nspawn runs
/// is the host's.
pub const TENANTS_FAULT: u8 = 65;

/// Why a tenant cannot be started.
#[derive(Debug, Error)]
pub enum RunError {
    /// Nobody has written down what it runs.
    #[error("nothing is written down for {0}")]
    NotHeld(TenantName),
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// Its limits cannot be set; it does not run without.
    #[error("cannot limit it")]
    Limit(#[source] Box<SystemdError>),
    /// Its repository does not ship a unit.
    #[error(transparent)]
    Unit(#[from] NoSuchUnit),
    /// A mount failed.
    #[error("cannot mount {}", .0.display())]
    Mount(PathBuf, #[source] nix::Error),
    /// A layer cannot be mapped to its uids.
    #[error("cannot map the layer {}", .0.display())]
    Map(PathBuf, #[source] Box<CommandError>),
    /// The tenant has something else in the place of its /usr.
    #[error("{} is not a directory in the tenant's own root", .0.display())]
    Usr(PathBuf, #[source] nix::Error),
    /// A link among its extensions.
    #[error("the extension link {} {}", .0.display(), .1)]
    Link(PathBuf, &'static str),
    /// The extension service has not made its layers.
    #[error("{wanted} extensions are asked for and {linked} are linked")]
    Extensions {
        /// How many it should have.
        wanted: usize,
        /// How many there are.
        linked: usize,
    },
    /// Its secrets cannot be handed over.
    #[error("cannot hand over its secrets")]
    Secrets(#[from] secrets::SecretError),
    /// The container manager cannot be run.
    #[error("cannot become {NSPAWN}")]
    Exec(#[source] io::Error),
}

impl RunError {
    /// Whether the tenant or its repository is at fault, and no other attempt of this host would help.
    #[must_use]
    pub fn is_tenants(&self) -> bool {
        match self {
            Self::Unit(_) | Self::Usr(..) => true,
            Self::NotHeld(_)
            | Self::File(_)
            | Self::Limit(_)
            | Self::Mount(..)
            | Self::Map(..)
            | Self::Link(..)
            | Self::Extensions { .. }
            | Self::Secrets(_)
            | Self::Exec(_) => false,
        }
    }
}

/// Becomes the tenant's process tree.
///
/// # Errors
/// The step that failed; the tenant is then not started.
pub async fn run(paths: &Paths, tenant: &TenantName) -> Result<Infallible, RunError> {
    let held = Held::at(paths);
    let record = held.read(tenant)?.ok_or_else(|| RunError::NotHeld(tenant.clone()))?.record;
    let spec = &record.spec;
    // Of an earlier start, which ended.
    held.forget_started(tenant)?;
    // At each start, whoever asked for it: what is set on a unit lasts until the host's next boot only.
    units::limit_at_start(tenant, &spec.limits).await.map_err(|fault| RunError::Limit(Box::new(fault)))?;

    let scratch = paths.runtime(tenant);
    fs::create_dir_all(&scratch).map_err(FileError::new("create", &scratch))?;
    mount_scratch(&scratch).map_err(|cause| RunError::Mount(scratch.clone(), cause))?;
    let checkout = scratch.join("config");
    bind_checkout(paths, tenant, &spec.revision, &checkout)?;
    let unit_files = scratch.join("units");
    service_units::assemble(&checkout, &spec.services, &unit_files)?;
    let root = paths.tenant_root(tenant);
    let linked = layers::linked(&paths.extension_links(tenant), &paths.extension_mounts())?;
    if linked.len() != spec.sysext.len() {
        return Err(RunError::Extensions { wanted: spec.sysext.len(), linked: linked.len() });
    }
    let usr = match linked.as_slice() {
        [] => None,
        extensions => Some(layers::compose(&root, extensions, spec.uids, &scratch.join("layers")).await?),
    };
    let secrets = secrets::hand_over(&Client::default(), tenant, &spec.secrets, &checkout).await?;
    let guest = paths.guest(tenant);
    let container = Container {
        tenant,
        spec,
        root: &root,
        checkout: &checkout,
        data: &paths.data(tenant),
        units: &unit_files,
        guest: guest.is_dir().then_some(guest.as_path()),
        usr: usr.as_deref(),
        secrets: &secrets,
    };
    held.note_started(tenant, &record)?;
    #[allow(clippy::disallowed_methods)] // this process becomes another one; nothing is started beside it
    let cause = std::process::Command::new(NSPAWN)
        .args(container.arguments())
        .env("SYSTEMD_NSPAWN_NETWORK_MAC", spec.mac.to_string())
        .exec();
    Err(RunError::Exec(cause))
}

/// Whoever talks to Git servers fills the directory of checkouts, and shows a tenant nothing of the host by a link there.
fn bind_checkout(paths: &Paths, tenant: &TenantName, revision: &Revision, point: &Path) -> Result<(), RunError> {
    let (path, all) = (paths.checkout(tenant, revision), paths.checkouts());
    let opened = pinned::open(&all, path.strip_prefix(&all).unwrap_or(&path));
    let opened = opened.map_err(|cause| FileError::new("use the checkout", &path)(cause.into()))?;
    fs::create_dir_all(point).map_err(FileError::new("create", point))?;
    pinned::bind(&opened, point).map_err(|cause| RunError::Mount(point.to_owned(), cause))
}

/// A file system in memory over the tenant's runtime directory, seen by this unit alone.
fn mount_scratch(directory: &Path) -> nix::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("tenant"), directory, Some("tmpfs"), flags, Some("mode=0755,size=16M,nr_inodes=4096"))
}
