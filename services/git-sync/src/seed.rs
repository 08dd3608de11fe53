//! What a host was initialised with from a file: a repository of objects, `.seed/objects.git`, that stands in for the
//! servers of each repository until one of them answers, and which those are, `.seed/waiting/NAME.json`.

use crate::{
    place::{Place, doomed, names_in},
    prune::remove_tree,
    several::Source,
};
use host::files::{self, FileError};
use interfaces::git_sync::Fetch;
use model::{RepositoryUrl, export::Repository, names::RepositoryName};
use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};
use tracing::warn;

/// Where it is.
#[derive(Debug, Clone)]
pub(crate) struct Seed {
    directory: PathBuf,
}

impl Seed {
    pub(crate) fn below(root: &Path) -> Self {
        Self { directory: root.join(".seed") }
    }

    /// One that is being made.
    pub(crate) fn growing(root: &Path) -> Self {
        Self { directory: root.join(".new-seed") }
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn objects(&self) -> PathBuf {
        self.directory.join("objects.git")
    }

    fn waiting(&self) -> PathBuf {
        self.directory.join("waiting")
    }

    fn file(&self, repository: &RepositoryName) -> PathBuf {
        self.waiting().join(format!("{repository}.json"))
    }

    /// The repositories that wait for their servers.
    fn names(&self) -> HashSet<RepositoryName> {
        let names = names_in(&self.waiting()).unwrap_or_default();
        names.iter().filter_map(|name| name.strip_suffix(".json")?.parse().ok()).collect()
    }

    /// Who stands in for the servers of this call's repository, if anybody.
    fn source(&self, call: &Fetch) -> Option<Source> {
        let bytes = fs::read(self.file(&call.repository)).ok()?;
        let seeded: Repository = serde_json::from_slice(&bytes).ok()?;
        let mirrors = call.mirrors.clone().unwrap_or_default();
        let same = mirrors.lead(&call.url, &seeded.url) || seeded.mirrors.lead(&seeded.url, &call.url);
        let url: RepositoryUrl = format!("file://{}", self.objects().display()).parse().ok()?;
        let reference = seeded.exported_as();
        (same && seeded.reference == call.reference).then_some(Source::Seed { url, reference })
    }

    /// A repository waits for its servers.
    pub(crate) fn wait_for(&self, repository: &Repository) -> Result<(), FileError> {
        let path = self.file(&repository.name);
        fs::create_dir_all(self.waiting()).map_err(FileError::new("create", &path))?;
        let bytes = serde_json::to_vec(repository).map_err(|cause| FileError::new("serialise", &path)(cause.into()))?;
        files::write_unflushed(&path, &bytes, 0o640).map(drop)
    }

    /// A repository's server has answered. When all have, everything goes.
    fn answered(&self, repository: &RepositoryName) -> Result<(), FileError> {
        if !files::remove(&self.file(repository))? || !names_in(&self.waiting())?.is_empty() {
            return Ok(());
        }
        self.discard()
    }

    /// Removes all of it.
    pub(crate) fn discard(&self) -> Result<(), FileError> {
        let doomed = doomed(&self.directory);
        if doomed.exists() {
            remove_tree(&doomed)?;
        }
        match fs::rename(&self.directory, &doomed) {
            Ok(()) => remove_tree(&doomed),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(cause) => Err(FileError::new("rename", &self.directory)(cause)),
        }
    }

    /// Puts what has grown into this one's place.
    pub(crate) fn replace_by(&self, grown: &Self) -> Result<(), FileError> {
        self.discard()?;
        fs::rename(&grown.directory, &self.directory).map_err(FileError::new("rename", &grown.directory))?;
        self.directory.parent().map_or(Ok(()), crate::place::sync_directory)
    }
}

/// Which repositories wait for their servers: in memory, so that nobody else's look asks the disk.
#[derive(Debug, Default)]
pub(crate) struct Seeds {
    /// None while that is not known.
    waiting: Mutex<Option<HashSet<RepositoryName>>>,
    /// Held while something comes or goes.
    alone: tokio::sync::Mutex<()>,
}

impl Seeds {
    /// Whether a repository waits for its servers.
    pub(crate) fn wait(&self, root: &Path, repository: &RepositoryName) -> bool {
        self.lock().get_or_insert_with(|| Seed::below(root).names()).contains(repository)
    }

    /// Who stands in for the servers of this call's repository, if anybody.
    pub(crate) fn source(&self, root: &Path, call: &Fetch) -> Option<Source> {
        if self.wait(root, &call.repository) { Seed::below(root).source(call) } else { None }
    }

    /// A repository's server has answered: nothing needs to stand in for it any more.
    pub(crate) async fn answered(&self, root: &Path, repository: &RepositoryName) {
        if !self.wait(root, repository) {
            return;
        }
        let _alone = self.alone.lock().await;
        if let Err(cause) = Seed::below(root).answered(repository) {
            warn!(%repository, "what the host was initialised with stays: {}", runtime::chain(&cause));
        }
        *self.lock() = None;
    }

    /// Nobody else changes what the host was initialised with, which is read anew after that.
    pub(crate) async fn changing<R>(&self, change: impl Future<Output = R>) -> R {
        let _alone = self.alone.lock().await;
        let changed = change.await;
        *self.lock() = None;
        changed
    }

    fn lock(&self) -> MutexGuard<'_, Option<HashSet<RepositoryName>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The repository's mirror, if something was fetched.
pub(crate) fn mirror_of(root: &Path, repository: &RepositoryName) -> Option<PathBuf> {
    Some(Place::new(root, repository).mirror()).filter(|mirror| mirror.is_dir())
}
