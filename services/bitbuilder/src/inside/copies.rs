//! What came out of a tenant, before anybody else sees it: nothing in it runs with another's rights, and nothing in it is more
//! than a file, a directory or a link.

use super::WayError;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

/// The bits of a mode that say more than who may do what: set-user-ID and set-group-ID.
const OTHERS_RIGHTS: u32 = 0o6000;

/// A directory of the caller's alone, beside `place`, so that what is in it can be renamed there.
pub(crate) fn staging(place: &Path) -> Result<TempDir, WayError> {
    let beside = match place.parent() {
        Some(parent) if parent != Path::new("") => parent,
        Some(_) | None => Path::new("."),
    };
    let alone = fs::Permissions::from_mode(0o700);
    let made = tempfile::Builder::new().prefix(".bitbuilder-cp-").permissions(alone).tempdir_in(beside);
    made.map_err(failed("make a directory in", beside))
}

/// Takes from a tree what a tenant could do harm with. Returns what was left out. Nobody else writes there meanwhile.
pub(crate) fn disarm(tree: &Path) -> Result<Vec<PathBuf>, WayError> {
    let mut left_out = Vec::new();
    // A list and no recursion: the tenant chose how deep it is.
    let mut todo = vec![tree.to_owned()];
    while let Some(path) = todo.pop() {
        let found = fs::symlink_metadata(&path).map_err(failed("look at", &path))?;
        if found.is_symlink() {
            continue;
        }
        if !found.is_dir() && !found.is_file() {
            fs::remove_file(&path).map_err(failed("leave out", &path))?;
            left_out.push(path);
            continue;
        }
        let mode = found.permissions().mode();
        if mode & OTHERS_RIGHTS != 0 {
            let harmless = fs::Permissions::from_mode(mode & !OTHERS_RIGHTS);
            fs::set_permissions(&path, harmless).map_err(failed("take rights from", &path))?;
        }
        if found.is_dir() {
            let entries = fs::read_dir(&path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
            todo.extend(entries.map_err(failed("list", &path))?.iter().map(fs::DirEntry::path));
        }
    }
    Ok(left_out)
}

/// Puts a tree in its place; what was there is replaced only if that was asked for, and then goes with the staging directory.
pub(crate) fn put(tree: &Path, place: &Path, replace: bool) -> Result<(), WayError> {
    let fresh = renameat_with(CWD, tree, CWD, place, RenameFlags::NOREPLACE);
    let put = match fresh {
        Err(rustix::io::Errno::EXIST) if replace => renameat_with(CWD, tree, CWD, place, RenameFlags::EXCHANGE),
        other => other,
    };
    put.map_err(|cause| failed("put in its place", place)(cause.into()))
}

/// For `map_err`.
pub(crate) fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> WayError {
    move |cause| WayError::Copy { action, path: path.to_owned(), cause }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::{fs::symlink, net::UnixListener};

    #[test]
    fn nothing_in_a_tree_is_more_than_a_file() {
        let root = tempfile::tempdir().unwrap();
        let tree = root.path().join("tree");
        fs::create_dir_all(tree.join("deep/er")).unwrap();
        fs::write(tree.join("deep/er/tool"), "x").unwrap();
        for path in ["deep", "deep/er/tool"] {
            fs::set_permissions(tree.join(path), fs::Permissions::from_mode(0o6755)).unwrap();
        }
        let outside = root.path().join("outside");
        fs::write(&outside, "x").unwrap();
        fs::set_permissions(&outside, fs::Permissions::from_mode(0o4755)).unwrap();
        symlink(&outside, tree.join("link")).unwrap();
        let _socket = UnixListener::bind(tree.join("socket")).unwrap();
        assert_eq!(disarm(&tree).unwrap(), [tree.join("socket")]);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!([mode(&tree.join("deep")), mode(&tree.join("deep/er/tool"))], [0o755, 0o755]);
        assert_eq!(mode(&outside), 0o4755, "a link is not followed");
        assert!(tree.join("link").is_symlink() && !tree.join("socket").exists());
    }

    #[test]
    fn what_is_there_is_replaced_only_when_asked() {
        let root = tempfile::tempdir().unwrap();
        let place = root.path().join("place");
        fs::write(&place, "old").unwrap();
        let staged = staging(&place).unwrap();
        assert_eq!(fs::metadata(staged.path()).unwrap().permissions().mode() & 0o777, 0o700);
        let tree = staged.path().join("tree");
        fs::create_dir(&tree).unwrap();
        assert!(put(&tree, &place, false).is_err());
        assert_eq!(fs::read_to_string(&place).unwrap(), "old");
        put(&tree, &place, true).unwrap();
        assert!(place.is_dir());
        drop(staged);
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }
}
