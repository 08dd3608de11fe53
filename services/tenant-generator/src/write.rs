//! Writes the units where systemd reads them. Files that are there already, from a call that was killed, are replaced.

use boot::{Entry, Output};
use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};
use thiserror::Error;

/// What could not be written.
#[derive(Debug, Error)]
#[error("cannot write {}", path.display())]
pub struct WriteError {
    path: PathBuf,
    #[source]
    cause: io::Error,
}

/// Writes everything below `directory`.
///
/// # Errors
/// The first that could not be written; the rest is tried all the same.
pub fn all(directory: &Path, output: &Output) -> Result<(), WriteError> {
    let mut made = BTreeSet::new();
    let mut first = Ok(());
    for (relative, entry) in output {
        let path = directory.join(relative);
        if let Err(cause) = one(&path, entry, &mut made) {
            first = first.and(Err(WriteError { path, cause }));
        }
    }
    first
}

fn one(path: &Path, entry: &Entry, made: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    if let Some(parent) = path.parent()
        && !made.contains(parent)
    {
        fs::create_dir_all(parent)?;
        made.insert(parent.to_owned());
    }
    match entry {
        Entry::File(text) => fs::write(path, text),
        Entry::Link(to) => match symlink(to, path) {
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {
                fs::remove_file(path)?;
                symlink(to, path)
            }
            other => other,
        },
    }
}
