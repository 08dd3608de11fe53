//! Removing checkouts, which are read-only even for their owner, so that none is ever seen half removed.

use crate::place::{Place, doomed, sync_directory};
use host::files::FileError;
use model::Revision;
use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    path::Path,
};

/// Removes the checkouts but those in `keep`. Returns whether there were others.
pub(crate) fn prune(place: &Place, keep: &[Revision]) -> Result<bool, FileError> {
    if !place.exists() {
        return Ok(false);
    }
    let _alone = place.lock()?;
    place.sweep()?;
    let unwanted: Vec<_> = place.revisions()?.into_iter().filter(|revision| !keep.contains(revision)).collect();
    for revision in &unwanted {
        discard(&place.checkout(revision))?;
    }
    Ok(!unwanted.is_empty())
}

/// Removes a directory under another name, which `sweep` finds if this is interrupted.
pub(crate) fn discard(path: &Path) -> Result<(), FileError> {
    let doomed = doomed(path);
    match fs::rename(path, &doomed) {
        Ok(()) => {}
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(cause) => return Err(FileError::new("rename", path)(cause)),
    }
    path.parent().map_or(Ok(()), sync_directory)?;
    remove_tree(&doomed)
}

/// Removes a file, a link or a directory with all that is in it, whatever its directories' modes. Nobody else writes there.
pub(crate) fn remove_tree(path: &Path) -> Result<(), FileError> {
    let remove = || -> io::Result<()> {
        if !fs::symlink_metadata(path)?.is_dir() {
            return fs::remove_file(path);
        }
        fs::set_permissions(path, Permissions::from_mode(0o700))?;
        for entry in fs::read_dir(path)? {
            // The cause names the innermost path.
            remove_tree(&entry?.path()).map_err(io::Error::other)?;
        }
        fs::remove_dir(path)
    };
    remove().map_err(FileError::new("remove", path))
}
