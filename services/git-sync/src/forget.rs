//! Removing all that is held of a repository, which no look sees half removed.

use crate::{
    place::{Place, doomed, sync_directory},
    prune::remove_tree,
};
use host::files::FileError;
use std::fs;

/// Whether anything is held of it, or half removed.
pub(crate) fn is_there(place: &Place) -> bool {
    place.exists() || doomed(&place.directory).exists()
}

/// Removes it. Returns whether there was anything.
pub(crate) fn forget(place: &Place) -> Result<bool, FileError> {
    let was_there = is_there(place);
    let doomed = doomed(&place.directory);
    if doomed.exists() {
        remove_tree(&doomed)?;
    }
    if place.exists() {
        // Whoever waits for the lock finds that nothing was fetched.
        let _alone = place.lock()?;
        fs::rename(&place.directory, &doomed).map_err(FileError::new("rename", &place.directory))?;
        place.directory.parent().map_or(Ok(()), sync_directory)?;
        remove_tree(&doomed)?;
    }
    Ok(was_there)
}
