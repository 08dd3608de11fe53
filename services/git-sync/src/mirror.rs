//! A bare repository with everything that was fetched: how it is opened, and what is cleared away in it.

use crate::{credentials::Credentials, place::names_in};
use gix::{ObjectId, Repository, open::Options, sec::Trust};
use host::files::FileError;
use model::{Reference, RepositoryUrl, Revision};
use std::path::Path;

/// Opens a mirror. Only its own configuration counts, which nobody but us writes.
pub(crate) fn open_mirror(mirror: &Path) -> Result<Repository, Box<gix::Error>> {
    gix::open_opts(mirror, options()).map_err(Box::new)
}

/// How a mirror is opened to fetch into it.
pub(crate) fn fetching(url: &RepositoryUrl, credentials: &Credentials<'_>) -> Result<Options, String> {
    if !url.as_str().starts_with("ssh://") {
        return Ok(options());
    }
    let ssh = credentials.ssh_command()?;
    Ok(options().cli_overrides([format!("core.sshCommand={ssh}"), "ssh.variant=ssh".to_owned()]))
}

fn options() -> Options {
    Options::isolated().with(Trust::Full).open_path_as_is(true).config_overrides([
        // The child's memory is bounded, and other fetches go on beside this one.
        "pack.threads=2",
        // A file of 64 MiB that is stored as a difference of up to 16 MiB to one like it.
        "gitoxide.objects.allocLimit=150994944",
        "gc.auto=0",
        "core.logAllRefUpdates=false",
    ])
}

/// Whether a mirror has a commit.
pub(crate) fn holds(mirror: &Repository, revision: &Revision) -> bool {
    ObjectId::from_hex(revision.as_str().as_bytes()).is_ok_and(|id| mirror.has_object(id))
}

/// Removes references that a file of the wanted one's name, or a directory of it, would collide with.
pub(crate) fn remove_in_the_way(mirror: &Repository, reference: &Reference) -> Result<(), gix::Error> {
    let below = |one: &str, other: &str| one.strip_prefix(other).is_some_and(|rest| rest.starts_with('/'));
    for held in mirror.references()?.all()?.flatten() {
        let name = held.name().as_bstr().to_string();
        if below(&name, reference.as_str()) || below(reference.as_str(), &name) {
            held.delete()?;
        }
    }
    Ok(())
}

/// Removes what a killed fetch or tidying leaves in a mirror: locks of references and half-received packs. The lock of the place is
/// held, so that nobody else's are met.
pub(crate) fn remove_stale(directory: &Path) -> Result<(), FileError> {
    for name in names_in(directory)? {
        let path = directory.join(&name);
        if name.ends_with(".lock") || [".tmp", "tmp_"].iter().any(|begins| name.starts_with(begins)) {
            crate::prune::remove_tree(&path)?;
        } else if path.is_dir() {
            remove_stale(&path)?;
        }
    }
    Ok(())
}
