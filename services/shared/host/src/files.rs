//! Files: written whole or not at all, and read from trees that somebody hostile may have filled without leaving them.

use nix::{
    fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2},
    sys::stat::Mode,
};
use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::{fd::AsRawFd, unix::fs::PermissionsExt},
    path::{Path, PathBuf},
};
use thiserror::Error;

/// What failed with which file.
#[derive(Debug, Error)]
#[error("cannot {action} {}", path.display())]
pub struct FileError {
    /// In words: read, write, create.
    pub action: &'static str,
    /// Which file.
    pub path: PathBuf,
    /// What the kernel said.
    #[source]
    pub cause: io::Error,
}

impl FileError {
    /// For `map_err`.
    pub fn new(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self { action, path: path.to_owned(), cause }
    }

    /// Whether the file is not there.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        self.cause.kind() == io::ErrorKind::NotFound
    }
}

/// How a file's name begins that is being written.
const UNFINISHED: &str = ".new-";

/// Removes what a kill left of files that were being written in a directory. For the one who writes there, before it does.
pub fn sweep(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(UNFINISHED)) {
        if let Err(cause) = fs::remove_file(entry.path()) {
            tracing::warn!(path = %entry.path().display(), "what a kill left stays: {cause}");
        }
    }
}

/// Makes the file hold exactly these bytes, whatever happens: written beside it, flushed, renamed over it. Returns whether
/// it held something else before.
///
/// # Errors
/// The step that failed; the old content is then still there.
pub fn write_atomically(path: &Path, bytes: &[u8], mode: u32) -> Result<bool, FileError> {
    replace(path, bytes, mode, true)
}

/// The same for what can be had again: it is not flushed, and after a power failure may be the old content, or empty.
///
/// # Errors
/// The step that failed; the old content is then still there.
pub fn write_unflushed(path: &Path, bytes: &[u8], mode: u32) -> Result<bool, FileError> {
    replace(path, bytes, mode, false)
}

fn replace(path: &Path, bytes: &[u8], mode: u32, flush: bool) -> Result<bool, FileError> {
    if fs::read(path).is_ok_and(|held| held == bytes) {
        return Ok(false);
    }
    let directory = path.parent().unwrap_or(Path::new("/"));
    let write = || -> io::Result<()> {
        let mut file = tempfile::Builder::new()
            .prefix(UNFINISHED)
            .permissions(fs::Permissions::from_mode(mode))
            .tempfile_in(directory)?;
        // The umask applied to the creation; the mode is meant as given.
        file.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
        file.write_all(bytes)?;
        if !flush {
            file.persist(path)?;
            return Ok(());
        }
        file.as_file().sync_all()?;
        file.persist(path)?;
        File::open(directory)?.sync_all()
    };
    write().map_err(FileError::new("write", path))?;
    Ok(true)
}

/// Reads the regular file `relative` below `root`, which somebody hostile may have filled: no symbolic link is followed,
/// nothing but a regular file opened (opening a device can do something), and at most `most` bytes and one more read.
///
/// # Errors
/// It is not there, or is none of that.
pub fn read_beneath(root: &Path, relative: &Path, most: usize) -> Result<Vec<u8>, FileError> {
    let path = root.join(relative);
    let read = || -> io::Result<Vec<u8>> {
        let found = beneath(root, relative)?;
        if !found.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
        }
        at_most(File::open(format!("/proc/self/fd/{}", found.as_raw_fd()))?, most)
    };
    read().map_err(FileError::new("read", &path))
}

/// What `relative` is, as a path alone: nothing is opened before it is known what it is.
fn beneath(root: &Path, relative: &Path) -> io::Result<File> {
    let path_only = OFlag::O_PATH | OFlag::O_CLOEXEC;
    let directory = open(root, path_only | OFlag::O_DIRECTORY, Mode::empty())?;
    let how = OpenHow::new()
        .flags(path_only)
        .mode(Mode::empty())
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    Ok(File::from(openat2(&directory, relative, how)?))
}

/// What stands at a path.
#[derive(Debug)]
pub enum Opened {
    /// A regular file, and whether anybody may execute it.
    File(File, bool),
    /// The names in a directory, in order.
    Directory(Vec<String>),
}

/// Opens what stands at `relative` below `root`, with the same care as [`read_beneath`].
///
/// # Errors
/// It is not there, or is neither a regular file nor a directory with plain names.
pub fn opened_beneath(root: &Path, relative: &Path) -> Result<Opened, FileError> {
    let path = root.join(relative);
    let look = || -> io::Result<Opened> {
        let found = beneath(root, relative)?;
        let metadata = found.metadata()?;
        let place = format!("/proc/self/fd/{}", found.as_raw_fd());
        if metadata.is_file() {
            return Ok(Opened::File(File::open(place)?, metadata.permissions().mode() & 0o111 != 0));
        }
        if !metadata.is_dir() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is neither a regular file nor a directory"));
        }
        let name = |entry: io::Result<fs::DirEntry>| {
            entry?.file_name().into_string().map_err(|_| io::Error::from(io::ErrorKind::InvalidFilename))
        };
        let mut names = fs::read_dir(place)?.map(name).collect::<io::Result<Vec<String>>>()?;
        names.sort_unstable();
        Ok(Opened::Directory(names))
    };
    look().map_err(FileError::new("open", &path))
}

/// At most `most` bytes of a file, and one more.
///
/// # Errors
/// It cannot be read.
pub fn at_most(file: File, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Removes a file, if it is there. Returns whether it was.
///
/// # Errors
/// It is there and cannot be removed.
pub fn remove(path: &Path) -> Result<bool, FileError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(cause) => Err(FileError::new("remove", path)(cause)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writing_the_same_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        assert!(write_atomically(&path, b"1", 0o640).unwrap());
        assert!(!write_atomically(&path, b"1", 0o640).unwrap());
        assert!(write_atomically(&path, b"2", 0o640).unwrap());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert!(!write_unflushed(&path, b"2", 0o600).unwrap());
        assert!(write_unflushed(&path, b"3", 0o600).unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"3");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_hostile_tree_cannot_be_left() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("tree");
        fs::create_dir_all(root.join("units")).unwrap();
        fs::write(root.join("units/a"), "content").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", root.join("link")).unwrap();
        std::os::unix::fs::symlink("units", root.join("inner")).unwrap();
        nix::unistd::mkfifo(&root.join("pipe"), Mode::S_IRWXU).unwrap();
        assert_eq!(read_beneath(&root, Path::new("units/a"), 100).unwrap(), b"content");
        assert_eq!(read_beneath(&root, Path::new("units/a"), 3).unwrap().len(), 4);
        for bad in ["link", "inner/a", "pipe", "units", "../tree/units/a", "/etc/passwd", "absent"] {
            assert!(read_beneath(&root, Path::new(bad), 100).is_err(), "{bad} was read");
        }
    }
}
