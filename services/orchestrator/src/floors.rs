//! A second copy of how far each repository's history had come, outside the ledger's directory: who loses the ledger does not
//! take an older state of a repository for its next one.

use host::files::{self, FileError};
use model::{Mirrors, Reference, RepositoryUrl, Revision, names::RepositoryName};
use planner::Origin;
use serde::{Deserialize, Serialize};
use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};
use tracing::warn;

/// A commit that every later one has to have in its history, and whose history that is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Floor {
    pub(crate) url: RepositoryUrl,
    pub(crate) reference: Reference,
    pub(crate) revision: Revision,
    /// Whether another host says so, and nothing held here yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) imported: bool,
}

/// A file NAME.json per repository.
#[derive(Debug)]
pub(crate) struct Floors {
    directory: PathBuf,
    /// What the files say, as far as they were written or read.
    kept: Mutex<HashMap<RepositoryName, Floor>>,
}

impl Floors {
    /// The copies in `directory`, which need not be there yet.
    pub(crate) fn in_directory(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), kept: Mutex::default() }
    }

    /// Keeps a copy. What is kept already is not written again.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn keep(&self, repository: &RepositoryName, floor: Floor) -> Result<(), FileError> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.get(repository) == Some(&floor) {
            return Ok(());
        }
        let path = self.path(repository);
        let bytes =
            serde_json::to_vec_pretty(&floor).map_err(|cause| FileError::new("serialise", &path)(cause.into()))?;
        fs::create_dir_all(&self.directory).map_err(FileError::new("create", &self.directory))?;
        files::write_atomically(&path, &bytes, 0o640)?;
        kept.insert(repository.clone(), floor);
        Ok(())
    }

    /// Takes another host's word for how far a history had come, unless this one knows by itself.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn import(&self, repository: &RepositoryName, floor: Floor) -> Result<(), FileError> {
        let held = self.read(repository);
        let same = |held: &Floor| held.url == floor.url && held.reference == floor.reference;
        if held.is_some_and(|held| same(&held) && !held.imported) {
            return Ok(());
        }
        self.keep(repository, Floor { imported: true, ..floor })
    }

    /// How far this history of a repository had come, if a copy says so. The repository is at one of these addresses.
    pub(crate) fn recall<'u>(
        &self,
        repository: &RepositoryName,
        mut urls: impl Iterator<Item = &'u RepositoryUrl>,
        reference: &Reference,
    ) -> Option<Revision> {
        // Another address has another history.
        let holds = |floor: &Floor| floor.reference == *reference && urls.any(|url| *url == floor.url);
        self.read(repository).filter(holds).map(|floor| floor.revision)
    }

    /// Whose history a copy is about, if there is one.
    pub(crate) fn origin(&self, repository: &RepositoryName) -> Option<Origin> {
        let Floor { url, reference, .. } = self.read(repository)?;
        Some(Origin { repository: url, mirrors: Mirrors::default(), reference })
    }

    fn read(&self, repository: &RepositoryName) -> Option<Floor> {
        let path = self.path(repository);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return None,
            Err(cause) => {
                warn!(%repository, "{}", runtime::chain(&FileError::new("read", &path)(cause)));
                return None;
            }
        };
        match serde_json::from_slice(&bytes) {
            Ok(floor) => Some(floor),
            Err(cause) => {
                warn!(%repository, "{} is spoiled: {cause}", path.display());
                None
            }
        }
    }

    fn path(&self, repository: &RepositoryName) -> PathBuf {
        self.directory.join(format!("{repository}.json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_outlives_the_process_and_belongs_to_one_history() {
        let directory = tempfile::tempdir().unwrap();
        let open = || Floors::in_directory(&directory.path().join("floors"));
        let web: RepositoryName = "web".parse().unwrap();
        let url: RepositoryUrl = "https://git.example.org/web".parse().unwrap();
        let elsewhere: RepositoryUrl = "https://git.example.org/other".parse().unwrap();
        let floor = |digit: &str| Floor {
            url: url.clone(),
            reference: Reference::main(),
            revision: digit.repeat(40).parse().unwrap(),
            imported: false,
        };
        assert_eq!(open().recall(&web, [&url].into_iter(), &Reference::main()), None);
        let floors = open();
        for digit in ["a", "b", "b"] {
            floors.keep(&web, floor(digit)).unwrap();
        }
        let kept = Some(floor("b").revision);
        assert_eq!(open().recall(&web, [&url].into_iter(), &Reference::main()), kept);
        assert_eq!(open().recall(&web, [&elsewhere].into_iter(), &Reference::main()), None);
        assert_eq!(open().recall(&web, [&elsewhere, &url].into_iter(), &Reference::main()), kept);
        assert_eq!(open().recall(&web, [&url].into_iter(), &"refs/heads/next".parse().unwrap()), None);
        // Another host's word counts where this one has none of its own, and no longer than that.
        open().import(&web, floor("c")).unwrap();
        let recalled = |name: &RepositoryName| open().recall(name, [&url].into_iter(), &Reference::main());
        assert_eq!(recalled(&web), kept);
        let mail = "mail".parse().unwrap();
        for digit in ["c", "d"] {
            open().import(&mail, floor(digit)).unwrap();
            assert_eq!(recalled(&mail), Some(floor(digit).revision));
        }
        open().keep(&mail, floor("d")).unwrap();
        open().import(&mail, floor("c")).unwrap();
        assert_eq!(recalled(&mail), Some(floor("d").revision));
        let path = directory.path().join("floors/web.json");
        fs::write(&path, "{").unwrap();
        assert_eq!(open().recall(&web, [&url].into_iter(), &Reference::main()), None);
        open().keep(&web, floor("b")).unwrap();
        assert_eq!(open().recall(&web, [&url].into_iter(), &Reference::main()), kept);
    }
}
