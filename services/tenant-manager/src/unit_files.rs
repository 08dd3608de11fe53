//! Unit files that go with the next boot: those that are written here, and those that were made at boot, which count where
//! there is none of ours (systemd.unit(5)).

use crate::paths::Paths;
use host::files::{self, FileError};
use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

/// What a file says.
///
/// # Errors
/// It is there and cannot be read.
pub(crate) fn read(paths: &Paths, name: &str) -> Result<Option<String>, FileError> {
    let read = |path: PathBuf| match fs::read_to_string(&path) {
        Ok(said) => Ok(Some(said)),
        Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(FileError::new("read", &path)(cause)),
    };
    match read(paths.units().join(name))? {
        None => read(paths.generated().join(name)),
        said => Ok(said),
    }
}

/// Makes a file say this.
///
/// # Errors
/// It cannot be written.
pub(crate) fn write(paths: &Paths, name: &str, said: &str) -> Result<(), FileError> {
    let path = paths.units().join(name);
    let directory = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(directory).map_err(FileError::new("create", directory))?;
    // It goes with the next boot.
    files::write_unflushed(&path, said.as_bytes(), 0o644).map(drop)
}

/// Takes a file of ours away, and the directory of drop-ins that it was alone in.
///
/// # Errors
/// It is there and stays.
pub(crate) fn remove(paths: &Paths, name: &str) -> Result<(), FileError> {
    let path = paths.units().join(name);
    files::remove(&path)?;
    let Some((directory, _)) = name.split_once('/') else { return Ok(()) };
    let directory = paths.units().join(directory);
    match fs::remove_dir(&directory) {
        Err(cause) if !matches!(cause.kind(), ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty) => {
            Err(FileError::new("remove", &directory)(cause))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
