//! Reads what was written down, as far as it can be: whatever lies in its place, the rest is used.

use boot::{State, polling};
use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

/// More than any record has.
const LARGEST_RECORD: u64 = 1 << 20;
/// More than the times of all repositories have.
const LARGEST_POLLING: u64 = 16 << 20;
/// More than a host has tenants.
const MOST_FILES: usize = 1 << 16;

/// The state in `directory`; nothing if there is no such directory.
#[must_use]
pub fn state(directory: &Path) -> Option<State> {
    let mut state = State::default();
    let names = match names(directory) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return None,
        Err(cause) => {
            state.fault(".", &cause);
            return Some(state);
        }
        Ok(names) => names,
    };
    if names.len() >= MOST_FILES {
        state.fault(".", &"there are more files than a host has tenants");
    }
    for name in names {
        let Some(file) = name.to_str() else {
            state.fault(&name.to_string_lossy(), &"no record of a tenant is called that");
            continue;
        };
        // Those of tenants that are not started, and what a kill left half written.
        if file == "stopped" || file.starts_with('.') {
            continue;
        }
        let largest = if file == polling::FILE { LARGEST_POLLING } else { LARGEST_RECORD };
        match read(&directory.join(file), largest) {
            Ok(bytes) if file == polling::FILE => state.polling(file, &bytes),
            Ok(bytes) => state.tenant(file, &bytes),
            Err(cause) => state.fault(file, &cause),
        }
    }
    Some(state.in_order())
}

/// The names in a directory, always in the same order.
fn names(directory: &Path) -> io::Result<Vec<OsString>> {
    let entries = fs::read_dir(directory)?.take(MOST_FILES);
    let mut names = entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

/// Reads a regular file that is no link and not too large; nothing else is opened, because opening may wait.
fn read(path: &Path, largest: u64) -> io::Result<Vec<u8>> {
    let found = fs::symlink_metadata(path)?;
    if !found.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    if found.len() > largest {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is too large"));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(found.len()).unwrap_or(0).saturating_add(1));
    File::open(path)?.take(largest).read_to_end(&mut bytes)?;
    Ok(bytes)
}
