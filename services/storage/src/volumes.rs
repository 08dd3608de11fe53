//! Making tenants' trees match what was asked for, one change at a time per tenant.

use crate::{
    backend::{self, BackendError},
    images,
    instances::Instances,
    layout::{self, Change, DATA, Obstacle, Root, SPARE_ROOT},
    tree,
};
use host::{
    files::FileError,
    records::{Record, Records, StaleGeneration},
    systemd::SystemdError,
    turns::Turns,
};
use interfaces::storage::{Described, Volumes as Shown};
use model::{ImageName, StorageSpec, TenantName};
use std::path::{Path, PathBuf};
use thiserror::Error;
use tracing::{info, warn};

/// Why a tree could not be made.
#[derive(Debug, Error)]
pub enum VolumeError {
    /// There is nothing to make a root from.
    #[error("there is no base image {0}")]
    NoSuchImage(ImageName),
    /// The call is an old one.
    #[error(transparent)]
    Stale(#[from] StaleGeneration),
    /// The root is in use.
    #[error("{0} runs")]
    InUse(TenantName),
    /// Something is where the tree should be.
    #[error("something is in the way")]
    Obstacle(#[from] Obstacle),
    /// A volume cannot be made or removed.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// Nobody says whether the tenant runs.
    #[error("it is not known whether {tenant} runs")]
    Unknown {
        /// Whose unit.
        tenant: TenantName,
        /// What the service manager said.
        #[source]
        cause: Box<SystemdError>,
    },
    /// The tree is not this tenant's, as far as its mark says.
    #[error("{} does not bear the mark of {tenant}", path.display())]
    NotOwned {
        /// Whose it should be.
        tenant: TenantName,
        /// Where it is.
        path: PathBuf,
    },
    /// There is not enough room.
    #[error("it takes up to {needed} bytes, and {free} are free")]
    NoRoom {
        /// At most.
        needed: u64,
        /// Without what is kept for the host.
        free: u64,
    },
    /// The tenant has data, which nobody said to move aside.
    #[error("there is data already")]
    DataThere,
    /// The archive is none, or not to be trusted.
    #[error("the archive is not used: {0}")]
    RefusedArchive(String),
    /// Nothing was packed or unpacked.
    #[error("cannot pack or unpack")]
    Pack(#[source] Box<crate::pack::PackError>),
    /// A thread of this process failed.
    #[error("a task failed")]
    Task(#[from] tokio::task::JoinError),
}

/// Where everything is.
#[derive(Debug, Clone)]
pub struct Paths {
    /// The tenants' trees.
    pub tenants: PathBuf,
    /// The base images.
    pub images: PathBuf,
    /// The records. Not in the trees: they are what a tree is compared with, so they must not come and go with it.
    pub records: PathBuf,
    /// What is left of tenants that left.
    pub archives: PathBuf,
}

/// The tenants' trees.
#[derive(Debug, Clone)]
pub struct Volumes<I> {
    pub(crate) paths: Paths,
    pub(crate) records: Records<StorageSpec>,
    pub(crate) turns: Turns,
    pub(crate) instances: I,
}

impl<I: Instances> Volumes<I> {
    /// The trees at these places.
    #[must_use]
    pub fn new(paths: Paths, instances: I) -> Self {
        let records = Records::swept(&paths.records);
        Self { paths, records, turns: Turns::default(), instances }
    }

    /// Makes a tenant's tree match. Returns whether anything had to change.
    ///
    /// # Errors
    /// See [`VolumeError`]. Calling again goes on where this call ended.
    pub async fn ensure(&self, tenant: &TenantName, generation: u64, spec: &StorageSpec) -> Result<bool, VolumeError> {
        let _turn = self.turns.take(tenant).await;
        let held = self.records.read(tenant)?;
        Record::accept(held.as_ref(), generation)?;
        let top = self.paths.tenants.join(tenant.as_str());
        let mut changes = layout::difference(&spec.image, &tree::observe(&top, tenant)?)?;
        let image = self.paths.images.join(spec.image.as_str());
        if changes.contains(&Change::PutRoot) && !image.symlink_metadata().is_ok_and(|found| found.is_dir()) {
            return Err(VolumeError::NoSuchImage(spec.image.clone()));
        }
        if changes.iter().any(Change::touches_root) {
            let unknown = |cause| VolumeError::Unknown { tenant: tenant.clone(), cause: Box::new(cause) };
            if self.instances.runs(tenant).await.map_err(unknown)? {
                changes = layout::while_running(changes).map_err(|layout::InUse| VolumeError::InUse(tenant.clone()))?;
            }
        }
        let another = held.is_none_or(|held| held.spec != *spec);
        // Before the first change: a call that was overtaken must not be accepted again after a kill.
        self.records.write(tenant, &Record { generation, spec: spec.clone() })?;
        if changes.contains(&Change::MakeTop) {
            // Who comes back in the middle of its removal.
            self.clear(&self.doomed(tenant)).await?;
        }
        for change in &changes {
            self.apply(tenant, &top, *change, &image, &spec.image).await?;
        }
        if another || !changes.is_empty() {
            info!(%tenant, generation, image = %spec.image, changes = changes.len(), "the tenant's storage is as asked");
        }
        Ok(another || !changes.is_empty())
    }

    async fn apply(
        &self,
        tenant: &TenantName,
        top: &Path,
        change: Change,
        image: &Path,
        name: &ImageName,
    ) -> Result<(), VolumeError> {
        let spare = top.join(SPARE_ROOT);
        match change {
            Change::MakeTop => tree::make_private(top)?,
            Change::MarkTop => tree::mark_owner(top, tenant)?,
            Change::CloseTop => tree::set_mode(top, layout::PRIVATE)?,
            // A volume of its own can be kept, moved and measured apart from the root.
            Change::MakeDirectory(DATA) => backend::make_volume(&top.join(DATA)).await?,
            Change::MakeDirectory(directory) => tree::make_directory(&top.join(directory))?,
            Change::RemoveSpare => backend::remove(&spare).await?,
            Change::PutRoot => {
                backend::make_root(image, &spare).await?;
                // Only admission asks for it, which does without.
                if let Err(error) = images::measure(&self.paths, name, &spare).await {
                    warn!(image = %name, "the size of a copy is not known: {}", runtime::chain(&error));
                }
                tree::forget_identity(&spare)?;
                let name = name.clone();
                // Waiting for the disk can take long.
                tokio::task::spawn_blocking(move || tree::finish(&spare, &name)).await??;
                tree::put_root(top)?;
            }
        }
        Ok(())
    }

    /// What tenants can be made from, and how much room there is.
    ///
    /// # Errors
    /// The images or the file system cannot be looked at.
    pub async fn describe(&self) -> Result<Described, VolumeError> {
        images::describe(&self.paths).await
    }

    /// What is held for one tenant or for all, as it is found now.
    ///
    /// # Errors
    /// A record or a tree cannot be read.
    pub async fn list(&self, tenant: Option<TenantName>) -> Result<Vec<Shown>, VolumeError> {
        let tenants = match tenant {
            Some(tenant) => vec![tenant],
            None => self.records.tenants()?,
        };
        let mut shown = Vec::new();
        for tenant in tenants {
            let Some(Record { generation, spec }) = self.records.read(&tenant)? else { continue };
            let top = self.paths.tenants.join(tenant.as_str());
            let found = tree::observe(&top, &tenant)?;
            // What a kill left aside goes before the tenant runs again; it may be the root of one that runs.
            let litter = found.spare && !self.instances.runs(&tenant).await.unwrap_or(true);
            shown.push(Shown {
                intact: layout::intact(&spec.image, &found) && !litter,
                subvolume: matches!(found.root, Root::Made { subvolume: true, .. }),
                path: top.display().to_string(),
                tenant,
                generation,
                spec,
            });
        }
        Ok(shown)
    }
}
