//! A repository's files as they stand in a directory, whose every path is the repository owner's and leads nowhere else.

use crate::files::{self, FileError, Opened};
use model::{document::LARGEST_DOCUMENT, tree::Tree};
use nix::errno::Errno;
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// How many files and directories are looked at for one path.
const MOST_ENTRIES: usize = 4096;

/// A checkout or a work tree. Only the files that are asked for are looked at, however many there are.
#[derive(Debug, Clone)]
pub struct WorkTree {
    root: PathBuf,
}

impl WorkTree {
    /// The files below `root`.
    #[must_use]
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The files in a directory that a person named: one that is not there would look like a repository without files.
    ///
    /// # Errors
    /// It is no directory, or cannot be looked at.
    pub fn of_directory(path: &Path) -> Result<Self, FileError> {
        let found = fs::metadata(path).map_err(FileError::new("read", path))?;
        if !found.is_dir() {
            return Err(FileError::new("read", path)(io::ErrorKind::NotADirectory.into()));
        }
        Ok(Self::at(path))
    }

    fn file(&self, path: &str, most: usize) -> Result<Vec<u8>, FileError> {
        files::read_beneath(&self.root, Path::new(path), most)
    }

    /// Whether anything at all stands there, were it nothing that could be read.
    #[must_use]
    pub fn names(&self, path: &str) -> bool {
        let below_a_file = |error: &FileError| error.cause.raw_os_error() == Some(Errno::ENOTDIR as i32);
        !self.file(path, 0).is_err_and(|error| error.is_absent() || below_a_file(&error))
    }
}

impl Tree for WorkTree {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
        match self.file(path, LARGEST_DOCUMENT) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.is_absent() => Ok(None),
            Err(error) if error.cause.raw_os_error() == Some(Errno::ELOOP as i32) => {
                Err("it is a symbolic link or below one, and none is followed".to_owned())
            }
            Err(error) => Err(error.cause.to_string()),
        }
    }

    fn has(&self, path: &str) -> bool {
        self.file(path, 0).is_ok()
    }

    fn is_program(&self, path: &str) -> Result<(), String> {
        match files::opened_beneath(&self.root, Path::new(path)) {
            Ok(Opened::File(_, true)) => Ok(()),
            Ok(Opened::File(_, false)) => {
                Err(format!("{path} may not be executed: git update-index --chmod=+x {path}"))
            }
            Ok(Opened::Directory(_)) => Err(format!("{path} is a directory")),
            Err(error) if error.is_absent() => Err(format!("the repository has no file {path}")),
            Err(error) if error.cause.raw_os_error() == Some(Errno::ELOOP as i32) => {
                Err(format!("{path} is a symbolic link or below one, and none is followed"))
            }
            Err(error) => Err(in_words(&error)),
        }
    }

    fn each(&self, path: &str, most: usize, see: &mut dyn FnMut(&str, bool, &[u8])) -> Result<(), String> {
        let (mut left, mut entries) = (most, MOST_ENTRIES);
        let mut rest = vec![path.to_owned()];
        while let Some(path) = rest.pop() {
            match files::opened_beneath(&self.root, Path::new(&path)) {
                Err(error) if error.is_absent() => {}
                Err(error) => return Err(in_words(&error)),
                Ok(Opened::Directory(names)) => {
                    entries = entries.checked_sub(names.len()).ok_or("there are too many files")?;
                    // The last is taken first.
                    rest.extend(names.into_iter().rev().map(|name| format!("{path}/{name}")));
                }
                Ok(Opened::File(file, executable)) => {
                    let content = files::at_most(file, left).map_err(|cause| cause.to_string())?;
                    left = left.checked_sub(content.len()).ok_or("the files are too large")?;
                    see(&path, executable, &content);
                }
            }
        }
        Ok(())
    }
}

fn in_words(error: &FileError) -> String {
    format!("{error}: {}", error.cause)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn files_are_told_from_what_only_has_a_name() {
        let directory = tempfile::tempdir().unwrap();
        let tree = WorkTree::at(directory.path());
        fs::write(directory.path().join("file"), "content").unwrap();
        fs::create_dir(directory.path().join("folder")).unwrap();
        symlink("file", directory.path().join("link")).unwrap();
        assert_eq!(tree.read("file"), Ok(Some(b"content".to_vec())));
        assert_eq!(tree.read("absent"), Ok(None));
        assert!(tree.read("link").unwrap_err().contains("symbolic link"));
        assert!(tree.read("folder").unwrap_err().contains("not a regular file"));
        let answers = ["file", "folder", "link", "absent", "file/below"].map(|name| (tree.has(name), tree.names(name)));
        assert_eq!(answers, [(true, true), (false, true), (false, true), (false, false), (false, false)]);
    }

    #[test]
    fn only_a_file_that_may_be_executed_is_a_program() {
        let directory = tempfile::tempdir().unwrap();
        let tree = WorkTree::at(directory.path());
        for (name, mode) in [("program", 0o755), ("text", 0o644)] {
            fs::write(directory.path().join(name), "").unwrap();
            fs::set_permissions(directory.path().join(name), PermissionsExt::from_mode(mode)).unwrap();
        }
        fs::create_dir(directory.path().join("folder")).unwrap();
        symlink("program", directory.path().join("link")).unwrap();
        assert_eq!(tree.is_program("program"), Ok(()));
        for (path, reason) in [
            ("text", "may not be executed"),
            ("folder", "is a directory"),
            ("link", "is a symbolic link"),
            ("absent", "has no file absent"),
        ] {
            assert!(tree.is_program(path).unwrap_err().contains(reason), "{path}");
        }
    }

    #[test]
    fn what_is_below_a_directory_is_seen_in_order_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let tree = WorkTree::at(directory.path());
        fs::create_dir_all(directory.path().join("a/b")).unwrap();
        for path in ["a/c", "a/b/z", "a/b/y", "a0"] {
            fs::write(directory.path().join(path), path).unwrap();
        }
        fs::set_permissions(directory.path().join("a/c"), PermissionsExt::from_mode(0o755)).unwrap();
        let seen = |path: &str, most| {
            let mut seen = Vec::new();
            tree.each(path, most, &mut |path, executable, content| {
                assert_eq!(path.as_bytes(), content);
                seen.push(format!("{path}{}", if executable { "*" } else { "" }));
            })
            .map(|()| seen)
        };
        assert_eq!(seen("a", 99).unwrap(), ["a/b/y", "a/b/z", "a/c*"]);
        assert_eq!(seen("a/c", 3).unwrap(), ["a/c*"]);
        assert_eq!(seen("absent", 9).unwrap(), [""; 0]);
        assert!(seen("a/c", 2).is_err() && seen("a", 9).is_err());
        symlink("c", directory.path().join("a/link")).unwrap();
        assert!(seen("a", 99).is_err() && seen("a/link", 99).is_err() && seen("../x", 9).is_err());
        assert!(seen("a/b", 99).is_ok());
    }
}
