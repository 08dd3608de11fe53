//! A directory of files that somebody hostile may have written, as the model reads a repository.

use crate::files;
use model::{document::LARGEST_DOCUMENT, tree::Tree};
use std::path::{Path, PathBuf};

/// The files below a directory, whose every path is the repository owner's and leads nowhere else.
#[derive(Debug, Clone)]
pub struct Beneath(PathBuf);

impl Beneath {
    /// The files below `root`.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self(root.to_owned())
    }
}

impl Tree for Beneath {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
        match files::read_beneath(&self.0, Path::new(path), LARGEST_DOCUMENT) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.is_absent() => Ok(None),
            Err(error) => Err(error.cause.to_string()),
        }
    }

    fn has(&self, path: &str) -> bool {
        matches!(self.read(path), Ok(Some(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_no_file_and_absence_is_no_fault() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("a"), "content").unwrap();
        std::os::unix::fs::symlink("a", root.path().join("link")).unwrap();
        let tree = Beneath::new(root.path());
        assert_eq!(tree.read("a"), Ok(Some(b"content".to_vec())));
        assert_eq!(tree.read("absent"), Ok(None));
        assert!(tree.read("link").is_err() && tree.read("../x").is_err());
        assert!(tree.has("a") && !tree.has("link") && !tree.has("absent"));
    }
}
