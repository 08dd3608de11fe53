//! What is held for each tenant: one record that the next start runs, and one of what was started last.
//!
//! The first is in `boot/` while the tenant is to be started at boot and in `boot/stopped/` after it was told to stop. It
//! is renamed from one to the other, so it is always in exactly one of them.

use crate::paths::Paths;
use host::{
    files::{self, FileError},
    records::{Record, Records, StaleGeneration},
};
use model::{InstanceSpec, TenantName};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::Path,
};
use tracing::warn;

/// The records of all tenants.
#[derive(Debug, Clone)]
pub struct Held {
    boot: Records<InstanceSpec>,
    stopped: Records<InstanceSpec>,
    running: Records<InstanceSpec>,
    to_provision: Records<InstanceSpec>,
    paths: Paths,
}

/// Why a running tenant was not shown what it should have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotShown {
    /// Whether that is because of what the tenant did.
    pub tenants: bool,
    /// For people.
    pub reason: String,
}

/// When it was noted what a tenant was started with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartMark {
    inode: u64,
    written: (i64, i64),
}

/// What is held for one tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// What the next start runs.
    pub record: Record<InstanceSpec>,
    /// Whether it is started at boot.
    pub at_boot: bool,
    /// Whether the record outlives the host's next boot. One of what was started means nothing when that has ended.
    pub lasting: bool,
}

impl Held {
    /// The records on this host.
    #[must_use]
    pub fn at(paths: &Paths) -> Self {
        Self {
            boot: Records::in_directory(&paths.compiled()),
            stopped: Records::in_directory(&paths.stopped()),
            running: Records::in_directory(&paths.running()),
            to_provision: Records::in_directory(&paths.to_provision()),
            paths: paths.clone(),
        }
    }

    /// What is held for a tenant. A tenant that runs without a record is held by what it was started with, so that it can
    /// be seen and stopped.
    ///
    /// # Errors
    /// A record is there and cannot be read.
    pub fn read(&self, tenant: &TenantName) -> Result<Option<Holding>, FileError> {
        if let Some(record) = understood(self.boot.read(tenant))? {
            return Ok(Some(Holding { record, at_boot: true, lasting: true }));
        }
        if let Some(record) = understood(self.stopped.read(tenant))? {
            return Ok(Some(Holding { record, at_boot: false, lasting: true }));
        }
        let started = understood(self.running.read(tenant))?;
        Ok(started.map(|record| Holding { record, at_boot: false, lasting: false }))
    }

    /// What a tenant was started with last, whether or not it still runs.
    ///
    /// # Errors
    /// The record is there and cannot be read.
    pub fn started_with(&self, tenant: &TenantName) -> Result<Option<Record<InstanceSpec>>, FileError> {
        understood(self.running.read(tenant))
    }

    /// Writes down what a tenant was started with.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn note_started(&self, tenant: &TenantName, record: &Record<InstanceSpec>) -> Result<(), FileError> {
        self.running.write(tenant, record).map(drop)
    }

    /// Forgets what a tenant was started with.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn forget_started(&self, tenant: &TenantName) -> Result<(), FileError> {
        self.running.remove(tenant).map(drop)
    }

    /// Writes down for whom a root is about to be made.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn note_to_provision(&self, tenant: &TenantName, record: &Record<InstanceSpec>) -> Result<(), FileError> {
        self.to_provision.write(tenant, record).map(drop)
    }

    /// For whom a root is about to be made.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub fn to_provision(&self, tenant: &TenantName) -> Result<Option<Record<InstanceSpec>>, FileError> {
        self.to_provision.read(tenant)
    }

    /// Writes down why a hook failed.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn note_hook_failure(&self, tenant: &TenantName, reason: &str) -> Result<(), FileError> {
        files::write_unflushed(&self.paths.hook_failure(tenant), reason.as_bytes(), 0o600).map(drop)
    }

    /// What was written down so.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub fn hook_failure(&self, tenant: &TenantName) -> Result<Option<String>, FileError> {
        let path = self.paths.hook_failure(tenant);
        match fs::read_to_string(&path) {
            Ok(reason) => Ok(Some(reason)),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(FileError::new("read", &path)(cause)),
        }
    }

    /// Forgets it.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn forget_hook_failure(&self, tenant: &TenantName) -> Result<(), FileError> {
        files::remove(&self.paths.hook_failure(tenant)).map(drop)
    }

    /// Forgets a tenant: last what says that its uids are somebody's. Returns whether anything was held.
    ///
    /// # Errors
    /// A record cannot be removed.
    pub fn remove(&self, tenant: &TenantName) -> Result<bool, FileError> {
        self.forget_not_shown(tenant)?;
        self.forget_hook_failure(tenant)?;
        self.to_provision.remove(tenant)?;
        let started = self.running.remove(tenant)?;
        let stopped = self.stopped.remove(tenant)?;
        Ok(self.boot.remove(tenant)? || stopped || started)
    }

    /// Writes down why a tenant was not shown what it should have.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn note_not_shown(&self, tenant: &TenantName, why: &NotShown) -> Result<(), FileError> {
        let path = self.paths.not_shown(tenant);
        let bytes = serde_json::to_vec(why).map_err(|cause| FileError::new("write", &path)(cause.into()))?;
        files::write_unflushed(&path, &bytes, 0o600).map(drop)
    }

    /// What was written down so.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub fn not_shown(&self, tenant: &TenantName) -> Result<Option<NotShown>, FileError> {
        let path = self.paths.not_shown(tenant);
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|cause| FileError::new("understand", &path)(cause.into())),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(FileError::new("read", &path)(cause)),
        }
    }

    /// Forgets it.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn forget_not_shown(&self, tenant: &TenantName) -> Result<(), FileError> {
        files::remove(&self.paths.not_shown(tenant)).map(drop)
    }

    /// Tells one start's note from another's.
    #[must_use]
    pub fn start_mark(&self, tenant: &TenantName) -> Option<StartMark> {
        let found = fs::symlink_metadata(self.running.path(tenant)).ok()?;
        Some(StartMark { inode: found.ino(), written: (found.mtime(), found.mtime_nsec()) })
    }

    /// The tenants for which anything is held, in order.
    ///
    /// # Errors
    /// A directory cannot be read.
    pub fn tenants(&self) -> Result<BTreeSet<TenantName>, FileError> {
        let mut tenants = BTreeSet::new();
        for records in [&self.boot, &self.stopped, &self.running] {
            tenants.extend(records.tenants()?);
        }
        Ok(tenants)
    }

    /// Writes down what a tenant's next start runs, at boot too. Returns whether anything but the generation was another.
    ///
    /// # Errors
    /// It cannot be written; what was held before still is.
    pub fn write(&self, tenant: &TenantName, record: &Record<InstanceSpec>) -> Result<bool, FileError> {
        let before = self.read(tenant)?;
        if before.as_ref().is_some_and(|held| !held.at_boot) {
            // Renamed when it is whole: nothing older is ever started at boot.
            self.stopped.write(tenant, record)?;
            self.start_at_boot(tenant)?;
        } else {
            self.boot.write(tenant, record)?;
        }
        Ok(before.is_none_or(|held| held.record.spec != record.spec || !held.at_boot))
    }

    /// Has a tenant started at boot. Returns whether it was not before.
    ///
    /// # Errors
    /// The record cannot be moved.
    pub fn start_at_boot(&self, tenant: &TenantName) -> Result<bool, FileError> {
        rename(&self.stopped.path(tenant), &self.boot.path(tenant))
    }

    /// Has a tenant not started at boot any more. Returns whether it was before.
    ///
    /// # Errors
    /// The record cannot be moved.
    pub fn stay_stopped(&self, tenant: &TenantName) -> Result<bool, FileError> {
        rename(&self.boot.path(tenant), &self.stopped.path(tenant))
    }

    /// Notes that a call of this generation was accepted.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn advance(&self, tenant: &TenantName, holding: &Holding, generation: u64) -> Result<(), FileError> {
        if generation == holding.record.generation {
            return Ok(());
        }
        let record = Record { generation, spec: holding.record.spec.clone() };
        let records = if holding.at_boot { &self.boot } else { &self.stopped };
        records.write(tenant, &record).map(drop)
    }
}

impl Holding {
    /// Refuses to go backwards.
    ///
    /// # Errors
    /// `generation` is older than what is held.
    pub fn accept(held: Option<&Self>, generation: u64) -> Result<(), StaleGeneration> {
        Record::accept(held.map(|held| &held.record), generation)
    }
}

/// A record that a fault has left unreadable is as good as none: the next call to ensure it writes it anew.
fn understood(
    read: Result<Option<Record<InstanceSpec>>, FileError>,
) -> Result<Option<Record<InstanceSpec>>, FileError> {
    match read {
        Err(fault) if fault.action == "understand" => {
            warn!("{}", runtime::chain(&fault));
            Ok(None)
        }
        other => other,
    }
}

/// Moves a file, durably. False if it is not there.
fn rename(from: &Path, to: &Path) -> Result<bool, FileError> {
    let directories = [from, to].map(|path| path.parent().unwrap_or(Path::new("/")));
    let moved = || -> io::Result<bool> {
        fs::create_dir_all(directories[1])?;
        match fs::rename(from, to) {
            Ok(()) => directories.iter().try_for_each(|directory| File::open(directory)?.sync_all()).map(|()| true),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(cause) => Err(cause),
        }
    };
    moved().map_err(FileError::new("move", from))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manager::tests::spec;

    #[test]
    fn a_record_is_in_exactly_one_place() {
        let root = tempfile::tempdir().unwrap();
        let held = Held::at(&Paths::below(root.path()));
        let web: TenantName = "web".parse().unwrap();
        assert!(!held.stay_stopped(&web).unwrap());
        let record = Record { generation: 1, spec: spec("a") };
        assert!(held.write(&web, &record).unwrap());
        assert!(!held.write(&web, &Record { generation: 2, ..record.clone() }).unwrap());
        assert!(held.stay_stopped(&web).unwrap());
        assert!(!held.stay_stopped(&web).unwrap());
        let holding = held.read(&web).unwrap().unwrap();
        assert_eq!((holding.record.generation, holding.at_boot), (2, false));
        held.advance(&web, &holding, 3).unwrap();
        assert_eq!(held.tenants().unwrap(), BTreeSet::from([web.clone()]));
        assert!(held.write(&web, &Record { generation: 4, ..record }).unwrap());
        assert!(held.read(&web).unwrap().unwrap().at_boot);
        assert!(!held.stopped.path(&web).exists());
    }

    #[test]
    fn a_spoiled_record_is_none_and_can_be_written_again() {
        let root = tempfile::tempdir().unwrap();
        let held = Held::at(&Paths::below(root.path()));
        let web: TenantName = "web".parse().unwrap();
        let record = Record { generation: 1, spec: spec("a") };
        held.write(&web, &record).unwrap();
        fs::write(held.boot.path(&web), "{").unwrap();
        assert_eq!(held.read(&web).unwrap(), None);
        assert!(held.write(&web, &record).unwrap());
        assert_eq!(held.read(&web).unwrap().unwrap().record, record);
    }
}
