//! A tenant's view of its layers: a directory of links, named in the order of the layers, to where they are mounted.

use host::files::FileError;
use model::ExtensionName;
use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};
use thiserror::Error;

/// The most layers that a tenant can have: two digits keep them in order.
pub const MOST_LAYERS: usize = 100;
/// Where a link is made before it takes its place.
const NEW: &str = ".new";

/// Something in the way that this service will not remove.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} among the links of the layers is none")]
pub struct NotALink(pub String);

/// What a view holds: where each name leads, or nothing for what is not a link.
pub type Found = BTreeMap<String, Option<PathBuf>>;

/// A step towards the view that should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Make a name lead there, whether or not it leads elsewhere.
    Link(String, PathBuf),
    /// Remove a link.
    Remove(String),
}

/// The name of a layer's link. Overlays are made from the names in order, lowest layer first.
#[must_use]
pub fn name(index: usize, extension: &ExtensionName) -> String {
    format!("{index:02}-{extension}")
}

/// The steps from what was found to exactly the wanted links.
///
/// # Errors
/// Something is in the way.
pub fn difference(wanted: &BTreeMap<String, PathBuf>, found: &Found) -> Result<Vec<Change>, NotALink> {
    if let Some((name, _)) = found.iter().find(|(_, target)| target.is_none()) {
        return Err(NotALink(name.clone()));
    }
    let missing = wanted.iter().filter(|(name, target)| found.get(*name) != Some(&Some((*target).clone())));
    let link = missing.map(|(name, target)| Change::Link(name.clone(), target.clone()));
    let remove = found.keys().filter(|name| !wanted.contains_key(*name)).map(|name| Change::Remove(name.clone()));
    // First away with the others: what a kill left under the name that new links are made under is among them.
    Ok(remove.chain(link).collect())
}

/// Reads a view. One that is not there is empty.
///
/// # Errors
/// It cannot be read.
pub fn read(directory: &Path) -> Result<Found, FileError> {
    let failed = FileError::new("list", directory);
    let read = || -> io::Result<Found> {
        let mut found = Found::new();
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let target = if entry.file_type()?.is_symlink() { Some(fs::read_link(entry.path())?) } else { None };
            found.insert(entry.file_name().to_string_lossy().into_owned(), target);
        }
        Ok(found)
    };
    match read() {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(Found::new()),
        other => other.map_err(failed),
    }
}

/// Takes one step.
///
/// # Errors
/// It cannot be taken.
pub fn apply(directory: &Path, change: &Change) -> Result<(), FileError> {
    match change {
        Change::Link(name, target) => {
            let (new, path) = (directory.join(NEW), directory.join(name));
            let link = || symlink(target, &new).and_then(|()| fs::rename(&new, &path));
            link().map_err(FileError::new("link", &path))
        }
        Change::Remove(name) => host::files::remove(&directory.join(name)).map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn links() -> impl Strategy<Value = BTreeMap<String, PathBuf>> {
        let target = prop_oneof![Just(PathBuf::from("/m/a")), Just(PathBuf::from("/m/b"))];
        proptest::collection::btree_map("0[0-3]-[ab]|\\.new", target, 0..6)
    }

    proptest! {
        #[test]
        fn from_wherever_a_kill_left_them_the_links_come_out_right(mut found in links(), wanted in links(), steps in 0_usize..4) {
            let directory = tempfile::tempdir().unwrap();
            let wanted: BTreeMap<_, _> = wanted.into_iter().filter(|(name, _)| name != NEW).collect();
            for (name, target) in &found {
                symlink(target, directory.path().join(name)).unwrap();
            }
            found.clear();
            for _ in 0..2 {
                let changes = difference(&wanted, &read(directory.path()).unwrap()).unwrap();
                changes.iter().take(steps).for_each(|change| apply(directory.path(), change).unwrap());
            }
            for change in difference(&wanted, &read(directory.path()).unwrap()).unwrap() {
                apply(directory.path(), &change).unwrap();
            }
            let whole = read(directory.path()).unwrap();
            prop_assert_eq!(difference(&wanted, &whole), Ok(vec![]));
            let targets: BTreeMap<_, _> = whole.into_iter().map(|(name, target)| (name, target.unwrap())).collect();
            prop_assert_eq!(targets, wanted);
        }
    }

    #[test]
    fn what_is_no_link_stays() {
        let found = Found::from([("00-a".to_owned(), None)]);
        assert_eq!(difference(&BTreeMap::new(), &found), Err(NotALink("00-a".to_owned())));
    }
}
