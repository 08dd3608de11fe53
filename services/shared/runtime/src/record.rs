//! Reads what the service manager hands over as a credential: a record of ours, of which a process needs a part.

use serde::de::DeserializeOwned;
use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

/// More than any record has.
const LARGEST: u64 = 1 << 20;

/// The part that `T` is of the record at `path`.
///
/// # Errors
/// It cannot be read, or does not have that part.
pub fn read<T: DeserializeOwned>(path: &Path) -> io::Result<T> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LARGEST).read_to_end(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes)?)
}
