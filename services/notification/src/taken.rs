//! What was taken in already of each repository: the names of the events that were handed over last, in a file each.

use host::files::{self, FileError};
use model::names::RepositoryName;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The files.
#[derive(Debug)]
pub(crate) struct Taken {
    directory: PathBuf,
}

impl Taken {
    /// The files in `directory`, which is there.
    pub(crate) fn in_directory(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// What was taken in of a repository. Of a file that cannot be understood nothing is known: something may be told twice.
    pub(crate) fn of(&self, repository: &RepositoryName) -> BTreeSet<String> {
        let held = fs::read(self.path(repository)).unwrap_or_default();
        serde_json::from_slice(&held).unwrap_or_default()
    }

    /// These were handed over.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn remember(&self, repository: &RepositoryName, ids: &BTreeSet<String>) -> Result<(), FileError> {
        let path = self.path(repository);
        let bytes = serde_json::to_vec(ids).map_err(|cause| FileError::new("serialise", &path)(cause.into()))?;
        files::write_atomically(&path, &bytes, 0o600).map(drop)
    }

    fn path(&self, repository: &RepositoryName) -> PathBuf {
        self.directory.join(format!("{repository}.json"))
    }
}
