//! Uids that somebody else on this host claims: subordinate ranges (subuid(5)), and accounts that lie where ours begin.

use model::identity::{Slot, UidRange};
use std::{fs, io, path::Path};

/// Everything that the host's files reserve, in order. A file that is not there reserves nothing.
///
/// # Errors
/// A file is there and cannot be read.
pub fn ranges(etc: &Path) -> io::Result<Vec<UidRange>> {
    let mut found = Vec::new();
    for file in ["subuid", "subgid"] {
        found.extend(read(&etc.join(file))?.lines().filter_map(subordinate));
    }
    for file in ["passwd", "group"] {
        found.extend(read(&etc.join(file))?.lines().filter_map(account));
    }
    found.sort_unstable_by_key(|range| (range.first, range.count));
    found.dedup();
    Ok(found)
}

fn read(path: &Path) -> io::Result<String> {
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(cause) => Err(cause),
    }
}

/// `name:first:count`; other lines mean nothing to shadow's tools either.
fn subordinate(line: &str) -> Option<UidRange> {
    let mut fields = line.trim().split(':').skip(1).map(str::parse::<u32>);
    let range = UidRange { first: fields.next()?.ok()?, count: fields.next()?.ok()? };
    (fields.next().is_none() && range.count > 0).then_some(range)
}

/// `name:password:id:…`, where the id is not below all of ours.
fn account(line: &str) -> Option<UidRange> {
    let id: u32 = line.split(':').nth(2)?.parse().ok()?;
    let ours = Slot::new(0)?.uids().first;
    (id >= ours).then_some(UidRange { first: id, count: 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_with_tolerance() {
        let etc = tempfile::tempdir().unwrap();
        assert_eq!(ranges(etc.path()).unwrap(), []);
        fs::write(etc.path().join("subuid"), "a:100000:65536\n\n# c\nb:x:1\nc:1\nd:1:0\ne:5:6:7\nf:1073741824:65536\n")
            .unwrap();
        fs::write(etc.path().join("subgid"), "a:100000:65536\ng:4294967295:4294967295\n").unwrap();
        fs::write(etc.path().join("passwd"), "root:x:0:0:root:/root:/bin/sh\nbig:x:1073741900:1::/:/bin/sh\n:\n")
            .unwrap();
        let range = |first, count| UidRange { first, count };
        let expected =
            [range(100_000, 65536), range(0x4000_0000, 65536), range(1_073_741_900, 1), range(u32::MAX, u32::MAX)];
        assert_eq!(ranges(etc.path()).unwrap(), expected);
    }
}
