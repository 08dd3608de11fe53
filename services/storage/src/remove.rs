//! The end of a tenant's tree: packed, removed, and unpacked again for who comes back.

use crate::{
    archives, backend,
    instances::Instances,
    layout::{ROOT, SPARE_ROOT},
    restore, tree,
    volumes::{VolumeError, Volumes},
};
use host::{files::FileError, records::Record};
use interfaces::storage::ArchiveFile;
use model::{TenantName, archive::Manifest};
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};
use tracing::info;

impl<I: Instances> Volumes<I> {
    /// Packs a tenant's data into one file. Returns where, and whether that was not done before.
    ///
    /// # Errors
    /// See [`VolumeError`]. Calling again goes on where this call ended.
    pub async fn archive(
        &self,
        tenant: &TenantName,
        generation: u64,
        manifest: &Manifest,
    ) -> Result<(PathBuf, bool), VolumeError> {
        let _turn = self.turns.take(tenant).await;
        self.take_leave(tenant, generation).await?;
        let manifest = Manifest { tenant: tenant.clone(), ..manifest.clone() };
        // What is half removed was packed before that.
        let top = self.top(tenant);
        let (path, made) = archives::make(&self.paths.archives, &top, &manifest).await?;
        if made {
            info!(%tenant, generation, path = %path.display(), "the tenant's data is archived");
        }
        Ok((path, made))
    }

    /// Removes a tenant's tree. Returns whether there was anything.
    ///
    /// # Errors
    /// See [`VolumeError`]. Calling again goes on where this call ended.
    pub async fn remove(&self, tenant: &TenantName, generation: u64) -> Result<bool, VolumeError> {
        let _turn = self.turns.take(tenant).await;
        if !self.take_leave(tenant, generation).await? {
            return Ok(false);
        }
        let (top, doomed) = (self.top(tenant), self.doomed(tenant));
        if tree::exists(&top)? {
            if tree::owner(&top)?.as_ref() != Some(tenant) {
                return Err(VolumeError::NotOwned { tenant: tenant.clone(), path: top });
            }
            self.clear(&doomed).await?;
            // Out of the way in one step: who comes back in the middle gets a new tree and not half of this one.
            let put = || -> io::Result<()> {
                fs::rename(&top, &doomed)?;
                File::open(&self.paths.tenants)?.sync_all()
            };
            put().map_err(FileError::new("move aside", &top))?;
        }
        self.clear(&doomed).await?;
        let removed = self.records.remove(tenant)?;
        info!(%tenant, generation, "the tenant's storage is gone");
        Ok(removed)
    }

    /// Removes a tree that was moved out of the way.
    pub(crate) async fn clear(&self, doomed: &Path) -> Result<(), VolumeError> {
        if !tree::exists(doomed)? {
            return Ok(());
        }
        for volume in [ROOT, SPARE_ROOT, ".data.new/data", "data.before", "data"] {
            backend::remove(&doomed.join(volume)).await?;
        }
        Ok(backend::remove(doomed).await?)
    }

    /// Whether anything is held for a tenant that is about to go, after it was made sure that it may.
    async fn take_leave(&self, tenant: &TenantName, generation: u64) -> Result<bool, VolumeError> {
        let Some(held) = self.records.read(tenant)? else { return Ok(false) };
        Record::accept(Some(&held), generation)?;
        self.must_not_run(tenant).await?;
        self.records.write(tenant, &Record { generation, spec: held.spec })?;
        Ok(true)
    }

    async fn must_not_run(&self, tenant: &TenantName) -> Result<(), VolumeError> {
        let unknown = |cause| VolumeError::Unknown { tenant: tenant.clone(), cause: Box::new(cause) };
        if self.instances.runs(tenant).await.map_err(unknown)? {
            return Err(VolumeError::InUse(tenant.clone()));
        }
        Ok(())
    }

    /// Unpacks an archive's data for a tenant that does not run. Returns where, and what the archive says of itself.
    ///
    /// # Errors
    /// See [`VolumeError`]. What the tenant had is as it was then.
    pub async fn import(
        &self,
        tenant: &TenantName,
        from: File,
        sha256: Option<&str>,
        force: bool,
    ) -> Result<(PathBuf, Manifest), VolumeError> {
        let _turn = self.turns.take(tenant).await;
        self.must_not_run(tenant).await?;
        let top = self.top(tenant);
        if !tree::exists(&top)? {
            tree::make_private(&top)?;
            tree::mark_owner(&top, tenant)?;
        }
        if tree::owner(&top)?.as_ref() != Some(tenant) {
            return Err(VolumeError::NotOwned { tenant: tenant.clone(), path: top });
        }
        let manifest = restore::put(&top, from, sha256, force).await?;
        info!(%tenant, of = %manifest.tenant, "an archive's data was unpacked");
        Ok((top.join(crate::layout::DATA), manifest))
    }

    /// The archives of one tenant or of all.
    ///
    /// # Errors
    /// They cannot be looked at.
    pub fn archives(&self, tenant: Option<&TenantName>) -> Result<Vec<ArchiveFile>, VolumeError> {
        Ok(archives::list(&self.paths.archives, tenant)?)
    }

    fn top(&self, tenant: &TenantName) -> PathBuf {
        self.paths.tenants.join(tenant.as_str())
    }

    /// Where a tree goes before it is removed. No tenant's name begins with a dot.
    pub(crate) fn doomed(&self, tenant: &TenantName) -> PathBuf {
        self.paths.tenants.join(format!(".{tenant}"))
    }
}
