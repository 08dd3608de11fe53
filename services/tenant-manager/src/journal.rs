//! Journals: which files a tenant's own consists of, and what a line of `journalctl --output=json` says.
//!
//! journalctl follows symbolic links in a tenant's tree out into the host's (`--machine=`, `--root=` and `--directory=` all
//! do), and would show the host's journal for the tenant's. So the files are opened here, without following any, and
//! journalctl is given the open files.

use crate::text;
use interfaces::tenant::LogLine;
use nix::{
    fcntl::{OFlag, OpenHow, ResolveFlag, openat2},
    sys::stat::Mode,
};
use serde_json::{Map, Value};
use std::{
    fs::{self, File},
    io,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    time::SystemTime,
};

/// How many files are read, the newest first: a journal is rotated into files of up to 128 MiB.
const MOST_FILES: usize = 32;
/// How many directories and files are looked at.
const MOST_ENTRIES: usize = 1024;

/// Opens the files of the journal below a tenant's root, the newest first. None of them is anything but a regular file that
/// lies in the root itself.
#[must_use]
pub fn files(root: &Path) -> Vec<File> {
    let Ok(root) = File::open(root) else { return Vec::new() };
    let mut found: Vec<(SystemTime, File)> = Vec::new();
    let journal = PathBuf::from("var/log/journal");
    for machine in names(&root, &journal) {
        let directory = journal.join(machine);
        for name in names(&root, &directory) {
            // journald marks with a tilde what a crash left behind.
            if !name.trim_end_matches('~').ends_with(".journal") {
                continue;
            }
            let Ok(file) = open(&root, &directory.join(name), OFlag::O_NONBLOCK | OFlag::O_NOCTTY) else { continue };
            match file.metadata() {
                Ok(metadata) if metadata.is_file() => {
                    found.push((metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH), file))
                }
                Ok(_) | Err(_) => {}
            }
        }
    }
    found.sort_by_key(|(modified, _)| std::cmp::Reverse(*modified));
    found.truncate(MOST_FILES);
    found.into_iter().map(|(_, file)| file).collect()
}

fn open(root: &File, path: &Path, flags: OFlag) -> io::Result<File> {
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC | flags)
        .mode(Mode::empty())
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_XDEV);
    Ok(File::from(openat2(root, path, how)?))
}

/// The names in a directory; none if there is no such directory.
fn names(root: &File, directory: &Path) -> Vec<String> {
    let Ok(opened) = open(root, directory, OFlag::O_DIRECTORY) else { return Vec::new() };
    let Ok(entries) = fs::read_dir(format!("/proc/self/fd/{}", opened.as_raw_fd())) else { return Vec::new() };
    entries.take(MOST_ENTRIES).filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
}

/// A line with its place in its journal.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// What is shown.
    pub line: LogLine,
    /// Where it is; only what journalctl can have written.
    pub cursor: Option<String>,
}

/// Reads one line of JSON. None if it is no journal entry.
#[must_use]
pub fn parse(json: &[u8]) -> Option<Entry> {
    let fields: Map<String, Value> = serde_json::from_slice(json).ok()?;
    let realtime_u_sec: u64 = fields.get("__REALTIME_TIMESTAMP")?.as_str()?.parse().ok()?;
    i64::try_from(realtime_u_sec).ok()?;
    let identifier =
        ["SYSLOG_IDENTIFIER", "_COMM"].iter().find_map(|name| content(fields.get(*name)?)).unwrap_or_default();
    let message = match fields.get("MESSAGE") {
        None => String::new(),
        // systemd.journal-fields(7) and journalctl(1): a field of more than 4096 bytes is shown as null.
        Some(Value::Null) => "(a message of more than 4096 bytes)".to_owned(),
        Some(value) => content(value).unwrap_or_default(),
    };
    let cursor = fields.get("__CURSOR").and_then(Value::as_str).filter(|cursor| is_cursor(cursor)).map(str::to_owned);
    let identifier = text::printable(&identifier).replace(['\n', '\t'], " ");
    Some(Entry { line: LogLine { realtime_u_sec, identifier, message: text::printable(&message) }, cursor })
}

/// A field's content: text, or bytes where it is not UTF-8, or several of either where it was given several times.
fn content(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(items) if items.iter().all(Value::is_u64) => {
            let bytes: Vec<u8> = items.iter().filter_map(|byte| u8::try_from(byte.as_u64()?).ok()).collect();
            Some(String::from_utf8_lossy(&bytes).into_owned())
        }
        Value::Array(items) => items.iter().find_map(|item| match item {
            Value::Array(_) | Value::String(_) => content(item),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    }
}

fn is_cursor(text: &str) -> bool {
    (1..=256).contains(&text.len())
        && text.starts_with("s=")
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"=;".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_line_is_read_however_its_message_is_encoded() {
        let message = |json: &str| parse(json.as_bytes()).unwrap().line.message;
        assert_eq!(message(r#"{"__REALTIME_TIMESTAMP":"1","MESSAGE":"a\u001b[1mb"}"#), "ab");
        assert_eq!(message(r#"{"__REALTIME_TIMESTAMP":"1","MESSAGE":[104,105,255]}"#), "hi\u{fffd}");
        assert_eq!(message(r#"{"__REALTIME_TIMESTAMP":"1","MESSAGE":["one","two"]}"#), "one");
        assert_eq!(message(r#"{"__REALTIME_TIMESTAMP":"1","MESSAGE":[[104],[105]]}"#), "h");
        assert_eq!(message(r#"{"__REALTIME_TIMESTAMP":"1"}"#), "");
        assert!(message(r#"{"__REALTIME_TIMESTAMP":"1","MESSAGE":null}"#).contains("4096"));
        let entry = parse(br#"{"__REALTIME_TIMESTAMP":"7","_COMM":"sh","__CURSOR":"s=1;i=2","MESSAGE":"m"}"#).unwrap();
        assert_eq!((entry.line.identifier.as_str(), entry.line.realtime_u_sec), ("sh", 7));
        assert_eq!(entry.cursor.as_deref(), Some("s=1;i=2"));
    }

    #[test]
    fn what_is_no_entry_is_none() {
        for bad in
            ["", "{", "[]", "{}", r#"{"__REALTIME_TIMESTAMP":1}"#, r#"{"__REALTIME_TIMESTAMP":"18446744073709551615"}"#]
        {
            assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        }
        let entry = parse(br#"{"__REALTIME_TIMESTAMP":"1","__CURSOR":"--file=/etc/shadow"}"#).unwrap();
        assert_eq!(entry.cursor, None);
    }

    proptest! {
        #[test]
        fn no_line_is_too_much(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _entry = parse(&bytes);
        }
    }

    #[test]
    fn no_file_of_the_host_is_opened() {
        let (root, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let machine = root.path().join("var/log/journal/0123");
        fs::create_dir_all(&machine).unwrap();
        fs::write(machine.join("system.journal"), "own").unwrap();
        fs::write(machine.join("system.journal.tmp"), "other").unwrap();
        fs::write(outside.path().join("system.journal"), "secret").unwrap();
        symlink(outside.path().join("system.journal"), machine.join("leak.journal")).unwrap();
        symlink(outside.path(), root.path().join("var/log/journal/4567")).unwrap();
        nix::unistd::mkfifo(&machine.join("pipe.journal"), Mode::S_IRWXU).unwrap();
        let opened = files(root.path());
        assert_eq!(opened.len(), 1);
        assert_eq!(io::read_to_string(&opened[0]).unwrap(), "own");

        fs::rename(root.path().join("var/log"), root.path().join("var/old")).unwrap();
        fs::create_dir(root.path().join("var/log")).unwrap();
        symlink(root.path().join("var/old/journal"), root.path().join("var/log/journal")).unwrap();
        assert!(files(root.path()).is_empty());
        assert!(files(&root.path().join("absent")).is_empty());
    }
}
