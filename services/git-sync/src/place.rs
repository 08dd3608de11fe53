//! What is held of a repository on disk, and where: `mirror.git`, `checkouts/<revision>` and a record, below a directory
//! of the repository's name.

use crate::prune::remove_tree;
use host::files::{self, FileError};
use model::{
    Reference, RepositoryUrl, Revision,
    names::RepositoryName,
    signer::{SignerName, Trust},
};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

/// What was fetched last, and from where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) url: RepositoryUrl,
    pub(crate) reference: Reference,
    pub(crate) revision: Revision,
    /// Whose signature was found, and for what.
    pub(crate) signed: Option<Signed>,
}

/// A signature that was judged once and need not be again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Signed {
    /// The object that the reference names: the commit, or a tag.
    pub(crate) object: String,
    /// Whose signature was wanted then.
    pub(crate) trust: Trust,
    /// Whose it is.
    pub(crate) signer: SignerName,
}

/// One repository's directory.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) directory: PathBuf,
}

impl Place {
    pub(crate) fn new(root: &Path, repository: &RepositoryName) -> Self {
        Self { directory: root.join(repository.as_str()) }
    }

    /// The repositories of which something is held, in order.
    pub(crate) fn all(root: &Path) -> Result<Vec<RepositoryName>, FileError> {
        let mut names: Vec<_> = names_in(root)?.iter().filter_map(|name| name.parse().ok()).collect();
        names.sort();
        Ok(names)
    }

    pub(crate) fn exists(&self) -> bool {
        self.directory.is_dir()
    }

    /// The bare repository with everything that was fetched.
    pub(crate) fn mirror(&self) -> PathBuf {
        self.directory.join("mirror.git")
    }

    /// A mirror that is being filled to take the place of the other.
    pub(crate) fn fresh_mirror(&self) -> PathBuf {
        self.directory.join(".new-mirror.git")
    }

    /// Keys for those who judge a signature, while they do.
    pub(crate) fn keys(&self) -> PathBuf {
        self.directory.join(".new-keys")
    }

    pub(crate) fn checkouts(&self) -> PathBuf {
        self.directory.join("checkouts")
    }

    pub(crate) fn checkout(&self, revision: &Revision) -> PathBuf {
        self.checkouts().join(revision.as_str())
    }

    /// Where a checkout grows until it is whole.
    pub(crate) fn growing_checkout(&self, revision: &Revision) -> PathBuf {
        self.checkouts().join(format!(".new-{revision}"))
    }

    /// What Git is told when it serves a repository of this host to us.
    pub(crate) fn git_config(&self) -> PathBuf {
        self.directory.join("git.config")
    }

    /// Waits until nobody else works here. A child that outlived a killed service holds on for as long as it writes.
    pub(crate) fn lock(&self) -> Result<Flock<File>, FileError> {
        let path = self.directory.join("lock");
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(FileError::new("open", &path))?;
        Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, cause)| FileError::new("lock", &path)(cause.into()))
    }

    /// Removes what an errand that was killed left half made. Only while the lock is held.
    pub(crate) fn sweep(&self) -> Result<(), FileError> {
        for directory in [&self.directory, &self.checkouts()] {
            for name in names_in(directory)?.iter().filter(|name| is_temporary(name)) {
                remove_tree(&directory.join(name))?;
            }
        }
        Ok(())
    }

    /// What was fetched last. A record that cannot be understood is none: the next fetch writes it anew.
    pub(crate) fn record(&self) -> Option<Record> {
        serde_json::from_slice(&fs::read(self.record_path()).ok()?).ok()
    }

    pub(crate) fn write_record(&self, record: &Record) -> Result<bool, FileError> {
        let path = self.record_path();
        let bytes =
            serde_json::to_vec_pretty(record).map_err(|cause| FileError::new("serialise", &path)(cause.into()))?;
        files::write_unflushed(&path, &bytes, 0o640)
    }

    /// The commits that are checked out, in order.
    pub(crate) fn revisions(&self) -> Result<Vec<Revision>, FileError> {
        let mut revisions: Vec<_> = names_in(&self.checkouts())?.iter().filter_map(|name| name.parse().ok()).collect();
        revisions.sort();
        Ok(revisions)
    }

    fn record_path(&self) -> PathBuf {
        self.directory.join("record.json")
    }
}

/// Whether a name is one that an errand gives to what is not whole yet, or not any more.
fn is_temporary(name: &str) -> bool {
    name.starts_with(".new-") || name.starts_with(".old-")
}

/// Another name for what is about to be removed, beside it, so that it never looks whole while it goes.
pub(crate) fn doomed(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".old-{name}"))
}

/// The names in a directory; none if it is not there.
pub(crate) fn names_in(directory: &Path) -> Result<Vec<String>, FileError> {
    let list = || fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect();
    match list() {
        Ok(names) => Ok(names),
        Err(cause) if io::Error::kind(&cause) == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(cause) => Err(FileError::new("list", directory)(cause)),
    }
}

/// Flushes the names in a directory to disk.
pub(crate) fn sync_directory(directory: &Path) -> Result<(), FileError> {
    File::open(directory).and_then(|open| open.sync_all()).map_err(FileError::new("flush", directory))
}
