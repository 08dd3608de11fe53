//! What a service remembers of each tenant: a small JSON file per tenant, written atomically, with the generation of the
//! call that wrote it.

use crate::files::{self, FileError};
use model::TenantName;
pub use model::record::{Record, StaleGeneration};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    fs, io,
    marker::PhantomData,
    path::{Path, PathBuf},
};

/// The records of one service, in a directory of their own.
#[derive(Debug, Clone)]
pub struct Records<T> {
    directory: PathBuf,
    content: PhantomData<fn() -> T>,
}

impl<T: Serialize + DeserializeOwned> Records<T> {
    /// The records in `directory`, which is created when the first is written.
    #[must_use]
    pub fn in_directory(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), content: PhantomData }
    }

    /// The same, after what a kill left of a record that was being written is gone. For the one service that writes them.
    #[must_use]
    pub fn swept(directory: &Path) -> Self {
        files::sweep(directory);
        Self::in_directory(directory)
    }

    /// The file of one tenant's record.
    #[must_use]
    pub fn path(&self, tenant: &TenantName) -> PathBuf {
        self.directory.join(format!("{tenant}.json"))
    }

    /// Reads one tenant's record.
    ///
    /// # Errors
    /// It is there and cannot be read, or does not hold what it should.
    pub fn read(&self, tenant: &TenantName) -> Result<Option<Record<T>>, FileError> {
        let path = self.path(tenant);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(FileError::new("read", &path)(cause)),
        };
        serde_json::from_slice(&bytes).map(Some).map_err(|cause| FileError::new("understand", &path)(cause.into()))
    }

    /// Writes one tenant's record. Returns whether it was another before.
    ///
    /// # Errors
    /// It cannot be written; the old one is then still there.
    pub fn write(&self, tenant: &TenantName, record: &Record<T>) -> Result<bool, FileError> {
        fs::create_dir_all(&self.directory).map_err(FileError::new("create", &self.directory))?;
        let path = self.path(tenant);
        let bytes =
            serde_json::to_vec_pretty(record).map_err(|cause| FileError::new("serialise", &path)(cause.into()))?;
        // What one tenant asked for is nothing for every user of the host to read.
        files::write_atomically(&path, &bytes, 0o600)
    }

    /// Forgets one tenant. Returns whether there was a record.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn remove(&self, tenant: &TenantName) -> Result<bool, FileError> {
        files::remove(&self.path(tenant))
    }

    /// The tenants that have a record, in order.
    ///
    /// # Errors
    /// The directory is there and cannot be read.
    pub fn tenants(&self) -> Result<Vec<TenantName>, FileError> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(cause) => return Err(FileError::new("list", &self.directory)(cause)),
        };
        let mut tenants: Vec<TenantName> =
            entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(".json")?.parse().ok()).collect();
        tenants.sort();
        Ok(tenants)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_survive_and_never_go_backwards() {
        let directory = tempfile::tempdir().unwrap();
        let records: Records<String> = Records::in_directory(&directory.path().join("new"));
        let web: TenantName = "web".parse().unwrap();
        assert_eq!(records.read(&web).unwrap(), None);
        assert_eq!(records.tenants().unwrap(), []);
        let record = Record { generation: 3, spec: "a".to_owned() };
        assert!(records.write(&web, &record).unwrap());
        // A kill in the middle of another.
        fs::write(directory.path().join("new/.new-abc"), "{").unwrap();
        drop(Records::<String>::swept(&directory.path().join("new")));
        assert_eq!(fs::read_dir(directory.path().join("new")).unwrap().count(), 1);
        assert!(!records.write(&web, &record).unwrap());
        assert_eq!(records.tenants().unwrap(), std::slice::from_ref(&web));
        let held = records.read(&web).unwrap();
        assert_eq!(Record::accept(held.as_ref(), 2), Err(StaleGeneration { generation: 2, current: 3 }));
        assert_eq!(Record::accept(held.as_ref(), 3), Ok(()));
        assert!(records.remove(&web).unwrap());
        assert!(!records.remove(&web).unwrap());
    }
}
