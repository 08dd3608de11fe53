//! What a tenant's unit starts: puts the tenant's layers and units together in the unit's own mount namespace and becomes
//! systemd-nspawn. Everything that it mounts vanishes with the unit.

mod bound;
mod command_line;
mod confinement;
mod inherited;
mod layers;
mod pinned;
mod place;
mod secrets;
mod service_units;
mod show;

pub use bound::{BoundError, bound};
pub(crate) use command_line::escaped;
pub use place::{PlaceError, Placing, place};
pub use show::show;

use crate::{held::Held, paths::Paths, repository_units::NoSuchUnit, units};
use command_line::Container;
use host::{
    command::{Command, CommandError},
    files::FileError,
    systemd::SystemdError,
};
use model::{Revision, TenantName, identity::UidRange, ids::IdSet, manifest::NumaPolicy, security::Syscalls};
use nix::mount::{MsFlags, mount};
use runtime::{Client, foreign::ForeignError};
use std::{
    convert::Infallible,
    fs, io,
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::{Path, PathBuf},
};
use thiserror::Error;

/// Where a tenant sees its commit's files, its units, and its secrets.
const CONFIG: &str = "/srv/config";
const UNITS: &str = "/run/systemd/system";
const CREDENTIALS: &str = "/run/host/credentials";
pub(crate) const NSPAWN: &str = "/usr/bin/systemd-nspawn";
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
    /// The host does not say which system calls it knows.
    #[error("cannot ask for the host's system calls")]
    Syscalls(#[source] Box<CommandError>),
    /// It does not know one that the tenant's repository names.
    #[error("metadata.json names the system call {0} under security, which this host's systemd does not know")]
    Syscall(Syscalls),
    /// Its processes cannot have their IO scheduling class.
    #[error("cannot set its IO scheduling class")]
    IoClass(#[source] io::Error),
    /// Nor their NUMA policy.
    #[error("cannot set its NUMA policy")]
    NumaPolicy(#[source] io::Error),
    /// Its repository names memory nodes that are not here.
    #[error("metadata.json has numaPolicy {0} for the memory nodes {1}, of which this host has none for it")]
    Nodes(NumaPolicy, IdSet),
    /// What it takes of the kernel cannot be bounded.
    #[error("cannot start what bounds it")]
    Bound(#[source] io::Error),
    /// The machine manager does not say what the tenant's first process is.
    #[error("cannot ask for the first process")]
    Machine(#[source] Box<ForeignError>),
    /// It knows of none.
    #[error("{0} has no first process")]
    NoLeader(TenantName),
    /// This process was started by somebody else.
    #[error("this is for a reload of {0}")]
    NotReloaded(String),
    /// Nobody could try to place what was prepared.
    #[error("cannot place what was prepared")]
    Place(#[source] Box<CommandError>),
    /// What was prepared has no place in the tenant as it is.
    #[error("it has no place in the tenant")]
    NotPlaced(#[source] Box<CommandError>),
    /// The container manager cannot be run.
    #[error("cannot become {NSPAWN}")]
    Exec(#[source] io::Error),
}

impl RunError {
    /// Whether the tenant or its repository is at fault, and no other attempt of this host would help.
    #[must_use]
    pub fn is_tenants(&self) -> bool {
        match self {
            Self::Unit(_) | Self::Usr(..) | Self::Syscall(_) | Self::Nodes(..) | Self::NotPlaced(_) => true,
            Self::NotHeld(_)
            | Self::File(_)
            | Self::Limit(_)
            | Self::Mount(..)
            | Self::Map(..)
            | Self::Link(..)
            | Self::Extensions { .. }
            | Self::Secrets(_)
            | Self::Syscalls(_)
            | Self::IoClass(_)
            | Self::NumaPolicy(_)
            | Self::Bound(_)
            | Self::Machine(_)
            | Self::NoLeader(_)
            | Self::NotReloaded(_)
            | Self::Place(_)
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
    bound::begin(tenant.as_str()).map_err(RunError::Bound)?;

    let scratch = paths.runtime(tenant);
    fs::create_dir_all(&scratch).map_err(FileError::new("create", &scratch))?;
    mount_scratch(&scratch).map_err(|cause| RunError::Mount(scratch.clone(), cause))?;
    let checkout = scratch.join("config");
    bind_checkout(paths, tenant, &spec.revision, &checkout)?;
    let unit_files = scratch.join("units");
    service_units::assemble(&checkout, spec.services.iter().map(|service| &service.unit), &unit_files)?;
    let root = paths.tenant_root(tenant);
    let linked = layers::linked(&paths.extension_links(tenant), &paths.extension_mounts())?;
    if linked.len() != spec.sysext.len() {
        return Err(RunError::Extensions { wanted: spec.sysext.len(), linked: linked.len() });
    }
    let usr = match linked.as_slice() {
        [] => None,
        extensions => Some(layers::compose(&root, extensions, spec.uids, &scratch.join("layers")).await?),
    };
    let shown = scratch.join("shown");
    cover(&checkout, &scratch, spec.uids, &shown).await?;
    let secrets = secrets::hand_over(&Client::default(), tenant, &spec.secrets, &checkout).await?;
    let guest = paths.guest(tenant);
    let confined = confinement::arguments(&spec.security).await?;
    let container = Container {
        tenant,
        spec,
        root: &root,
        checkout: &shown,
        data: &paths.data(tenant),
        units: &unit_files,
        guest: guest.is_dir().then_some(guest.as_path()),
        usr: usr.as_deref(),
        secrets: &secrets,
        confined: &confined,
    };
    confinement::enter_profile(&spec.security)?;
    // Without waiting for anything from here on: it is this thread that has it.
    inherited::begin(tenant, &spec.inherited)?;
    held.note_started(tenant, &record)?;
    #[allow(clippy::disallowed_methods)] // this process becomes another one; nothing is started beside it
    let cause = std::process::Command::new(NSPAWN)
        .args(container.arguments())
        .env("SYSTEMD_NSPAWN_NETWORK_MAC", spec.mac.to_string())
        .exec();
    Err(RunError::Exec(cause))
}

/// Whoever talks to Git servers fills the directory of checkouts, and shows a tenant nothing of the host by a link there.
pub(crate) fn bind_checkout(
    paths: &Paths,
    tenant: &TenantName,
    revision: &Revision,
    point: &Path,
) -> Result<(), RunError> {
    let (path, all) = (paths.checkout(tenant, revision), paths.checkouts());
    let opened = pinned::open(&all, path.strip_prefix(&all).unwrap_or(&path));
    let opened = opened.map_err(|cause| FileError::new("use the checkout", &path)(cause.into()))?;
    fs::create_dir_all(point).map_err(FileError::new("create", point))?;
    pinned::bind(&opened, point).map_err(|cause| RunError::Mount(point.to_owned(), cause))
}

/// Shows the checkout as the tenant's own, read-only, at `point`. Not the checkout's own directory, but a layer over that: it
/// goes when its commit is not needed any more, and with it would go whatever is mounted over it then.
async fn cover(checkout: &Path, scratch: &Path, uids: UidRange, point: &Path) -> Result<(), RunError> {
    let (mapped, empty) = (scratch.join("mapped"), scratch.join("empty"));
    own(checkout, &mapped, uids).await?;
    for directory in [&empty, point] {
        fs::create_dir(directory).map_err(FileError::new("create", directory))?;
    }
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NODEV | MsFlags::MS_NOSUID;
    let layers = format!("lowerdir={}:{}", mapped.display(), empty.display());
    mount(Some("config"), point, Some("overlay"), flags, Some(layers.as_str()))
        .map_err(|cause| RunError::Mount(point.to_owned(), cause))
}

/// Shows a directory at `to`, which is created, read-only and as if its owner were the first of the tenant's uids.
pub(crate) async fn own(from: &Path, to: &Path, uids: UidRange) -> Result<(), RunError> {
    let owner = fs::metadata(from).map_err(FileError::new("look at", from))?;
    fs::create_dir(to).map_err(FileError::new("create", to))?;
    map(from, to, [(owner.uid(), uids.first, 1), (owner.gid(), uids.first, 1)], ",ro,nosuid,nodev").await
}

/// Binds `from` to `to` so that a range of users, and one of groups, on the disk is another one there.
pub(crate) async fn map(
    from: &Path,
    to: &Path,
    [users, groups]: [(u32, u32, u32); 2],
    more: &str,
) -> Result<(), RunError> {
    let range = |(disk, shown, count)| format!("{disk}:{shown}:{count}");
    let options = format!("X-mount.idmap=u:{} g:{}{more}", range(users), range(groups));
    let mount = Command::new("mount").args(["--bind", "-o", &options, "--"]).args([from, to]);
    mount.run().await.map(drop).map_err(|cause| RunError::Map(from.to_owned(), Box::new(cause)))
}

/// A file system in memory over the tenant's runtime directory, seen by this unit alone.
fn mount_scratch(directory: &Path) -> nix::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("tenant"), directory, Some("tmpfs"), flags, Some("mode=0755,size=16M,nr_inodes=4096"))
}
