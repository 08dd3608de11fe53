//! What a commit's tree may hold to be checked out here: the rules for names, links, contents and sizes. A tenant writes
//! its trees with whatever it likes, so that nothing of them is taken for granted.

use gix::{
    bstr::ByteSlice,
    objs::tree::{EntryKind, EntryMode},
    validate::path::{
        component,
        component::{Mode, Options},
    },
};
use std::collections::HashSet;
use thiserror::Error;
use unicode_normalization::UnicodeNormalization;

/// How much is checked out at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Files, links and directories.
    pub(crate) entries: usize,
    /// Directories in each other.
    pub(crate) depth: usize,
    /// Bytes of one file.
    pub(crate) file: u64,
    /// Bytes of all files.
    pub(crate) total: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { entries: 20_000, depth: 64, file: 64 << 20, total: 1 << 30 }
    }
}

/// Longest path in the tree: with its directory before it, it stays below PATH_MAX.
const LONGEST_PATH: usize = 1024;
/// Longest target of a link.
pub(crate) const LONGEST_TARGET: u64 = 1024;
/// git-lfs(1): pointer files are smaller than this.
const LARGEST_POINTER: usize = 1024;

/// Why an entry is not checked out.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum Refused {
    #[error("it is a submodule")]
    Submodule,
    #[error("it is a Git LFS pointer, not the file itself")]
    LfsPointer,
    #[error("its mode is none that Git has")]
    Mode,
    #[error("its name is not UTF-8")]
    NotUtf8,
    #[error("its name has control characters")]
    Control,
    #[error("its name is not allowed: {0}")]
    Name(String),
    #[error("another entry has this name, or one that a file system may take for it")]
    Twin,
    #[error("its path has more than {LONGEST_PATH} bytes")]
    LongPath,
    #[error("there are more than {0} files and directories")]
    TooMany(usize),
    #[error("it is more than {0} directories deep")]
    TooDeep(usize),
    #[error("it has more than {0} bytes")]
    TooLarge(u64),
    #[error("the files have more than {0} bytes together")]
    TooMuch(u64),
    #[error("it links to {0:?}, which is not a relative path within the tree that only begins with '..'")]
    Link(String),
    #[error("the tree is malformed")]
    Malformed,
}

/// What kind of entry a mode stands for, of those that `git fsck` knows. gix takes each that it does not know for a
/// submodule's, and looks at no permission but the owner's.
pub(crate) fn entry_kind(mode: EntryMode) -> Result<EntryKind, Refused> {
    match mode.value() {
        0o040_000 | 0o100_644 | 0o100_664 | 0o100_755 | 0o120_000 => Ok(mode.kind()),
        0o160_000 => Err(Refused::Submodule),
        _ => Err(Refused::Mode),
    }
}

/// Checks the name of an entry. `link` says whether it is a symbolic link.
pub(crate) fn entry_name(name: &[u8], link: bool) -> Result<&str, Refused> {
    let text = std::str::from_utf8(name).map_err(|_| Refused::NotUtf8)?;
    if text.chars().any(char::is_control) {
        return Err(Refused::Control);
    }
    // Backslashes are part of systemd's unit names; Windows' own rules do not matter here.
    let options = Options { protect_windows: false, protect_hfs: true, protect_ntfs: true };
    let mode = link.then_some(Mode::Symlink);
    // What is a path on another file system must not be `.git` in any part of it.
    for part in std::iter::once(text).chain(text.split('\\').filter(|part| !part.is_empty())) {
        match component(part.as_bytes().as_bstr(), mode, options) {
            // "." and ".." mean nothing behind a backslash.
            Err(component::Error::Relative) if part.len() < text.len() => {}
            Err(cause) => return Err(Refused::Name(cause.to_string())),
            Ok(_) => {}
        }
    }
    if text.len() > 255 {
        return Err(Refused::Name("it has more than 255 bytes".to_owned()));
    }
    Ok(text)
}

/// Checks where a link points to that lies in `depth` directories. `..` is taken only at the beginning, where it leads
/// through real directories: behind a name it would lead out of wherever a link of that name leads.
pub(crate) fn link_target(target: &[u8], depth: usize) -> Result<&str, Refused> {
    let refused = || Refused::Link(String::from_utf8_lossy(target).chars().take(80).collect());
    let text = std::str::from_utf8(target).map_err(|_| refused())?;
    if text.is_empty() || text.starts_with('/') || text.chars().any(char::is_control) {
        return Err(refused());
    }
    let mut above = 0;
    let mut named = false;
    for part in text.split('/').filter(|part| !part.is_empty() && *part != ".") {
        match part {
            ".." if named || above == depth => return Err(refused()),
            ".." => above += 1,
            _ => named = true,
        }
    }
    Ok(text)
}

/// Whether this is a Git LFS pointer instead of a file.
pub(crate) fn is_lfs_pointer(content: &[u8]) -> bool {
    content.len() < LARGEST_POINTER
        && ["version https://git-lfs.github.com/spec/", "version https://hawser.github.com/spec/"]
            .iter()
            .any(|first| content.starts_with(first.as_bytes()))
}

/// What was seen of a tree so far, against its bounds.
#[derive(Debug)]
pub(crate) struct Tally {
    bounds: Bounds,
    entries: usize,
    total: u64,
}

impl Tally {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self { bounds, entries: 0, total: 0 }
    }

    /// Counts an entry in `depth` directories.
    pub(crate) fn entry(&mut self, path: &str, depth: usize) -> Result<(), Refused> {
        self.entries += 1;
        match () {
            () if self.entries > self.bounds.entries => Err(Refused::TooMany(self.bounds.entries)),
            () if depth > self.bounds.depth => Err(Refused::TooDeep(self.bounds.depth)),
            () if path.len() > LONGEST_PATH => Err(Refused::LongPath),
            () => Ok(()),
        }
    }

    /// Counts a file's bytes.
    pub(crate) fn bytes(&mut self, size: u64) -> Result<(), Refused> {
        self.total = self.total.saturating_add(size);
        match () {
            () if size > self.bounds.file => Err(Refused::TooLarge(self.bounds.file)),
            () if self.total > self.bounds.total => Err(Refused::TooMuch(self.bounds.total)),
            () => Ok(()),
        }
    }
}

/// The names of one directory, told apart as a file system does that ignores case and the forms of Unicode (UAX #15).
#[derive(Debug, Default)]
pub(crate) struct Names(HashSet<String>);

impl Names {
    pub(crate) fn add(&mut self, name: &str) -> Result<(), Refused> {
        // Upper first: it folds what has two lower cases, as the final sigma has.
        let folded: String = name.nfd().collect::<String>().to_uppercase().to_lowercase().nfc().collect();
        if self.0.insert(folded) { Ok(()) } else { Err(Refused::Twin) }
    }
}

#[cfg(test)]
mod tests;
