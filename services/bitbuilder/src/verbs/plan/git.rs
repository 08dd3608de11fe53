//! The files of a commit that may not be pushed yet, read from Git's objects: nothing is checked out, so nothing of what a
//! hostile repository configures is run, and nothing that it lacks is fetched.

use host::command::{Command, CommandError};
use model::{Revision, config, document::LARGEST_DOCUMENT, manifest, tree::Tree};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};
use thiserror::Error;

/// Why a commit cannot be read.
#[derive(Debug, Error)]
pub(crate) enum GitError {
    /// Git failed.
    #[error("cannot {action} {what}")]
    Command {
        action: &'static str,
        what: String,
        #[source]
        cause: CommandError,
    },
    /// What Git said is no commit.
    #[error("{0} is not a commit of this repository")]
    NoCommit(String),
}

/// The files of a commit, as far as they matter.
#[derive(Debug, Default)]
pub(super) struct Files {
    contents: BTreeMap<String, Result<Vec<u8>, String>>,
    regular: BTreeSet<String>,
}

impl Tree for Files {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
        self.contents.get(path).cloned().transpose()
    }

    fn has(&self, path: &str) -> bool {
        self.regular.contains(path)
    }
}

/// Reads what matters of the commit that `revision` names in the repository at `path`.
pub(super) async fn commit(path: &Path, revision: &str) -> Result<(Files, Revision), GitError> {
    let failed = |action, what: &str| {
        let what = what.to_owned();
        move |cause| GitError::Command { action, what, cause }
    };
    let named = format!("{revision}^{{commit}}");
    let said = git(path).args(["rev-parse", "--verify", "--quiet", "--end-of-options", &named]).run().await;
    let said = said.map_err(failed("find the commit", revision))?;
    let revision: Revision = said.trim().parse().map_err(|_| GitError::NoCommit(revision.to_owned()))?;
    let list = git(path).args(["ls-tree", "-r", "-l", "-z", "--full-tree", revision.as_str(), "--"]);
    let listed = list.args([manifest::PATH, config::PATH, "units", "scripts"]).run().await;
    let listed = listed.map_err(failed("list the files of", revision.as_str()))?;
    let mut files = Files::default();
    for entry in listed.split('\0').filter_map(Entry::parse) {
        if entry.is_regular {
            files.regular.insert(entry.path.to_owned());
        }
        if [manifest::PATH, config::PATH].contains(&entry.path) {
            let content = match entry.refusal() {
                Some(refusal) => Err(refusal),
                None => {
                    let blob = git(path).args(["cat-file", "blob", entry.object]).bytes().await;
                    Ok(blob.map_err(failed("read", entry.path))?)
                }
            };
            files.contents.insert(entry.path.to_owned(), content);
        }
    }
    Ok((files, revision))
}

/// Git in a repository that somebody hostile may have configured: objects are read as they are and none is fetched.
fn git(path: &Path) -> Command {
    let git = Command::new("git")
        .env("GIT_ALLOW_PROTOCOL", "none")
        .env("GIT_NO_LAZY_FETCH", "1")
        .env("GIT_NO_REPLACE_OBJECTS", "1")
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_TERMINAL_PROMPT", "0");
    // Whose repositories may be looked at, Git learns from the caller's own configuration.
    let git = match std::env::var_os("HOME") {
        Some(home) => git.env("HOME", home),
        None => git,
    };
    git.arg("-C").arg(path).args(["-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "--no-pager"])
}

/// A line of `git ls-tree -l`: mode, kind, object, size, a tabulator, and the path.
struct Entry<'a> {
    is_regular: bool,
    mode: &'a str,
    object: &'a str,
    size: Option<usize>,
    path: &'a str,
}

impl<'a> Entry<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (about, path) = line.split_once('\t')?;
        let mut words = about.split_ascii_whitespace();
        let (mode, _kind, object, size) = (words.next()?, words.next()?, words.next()?, words.next()?);
        Some(Self { is_regular: matches!(mode, "100644" | "100755"), mode, object, size: size.parse().ok(), path })
    }

    /// Why it is not read.
    fn refusal(&self) -> Option<String> {
        match self.size {
            _ if self.mode == "120000" => Some("it is a symbolic link".to_owned()),
            Some(size) if self.is_regular && size <= LARGEST_DOCUMENT => None,
            Some(size) if self.is_regular => {
                Some(format!("the file has {size} bytes; at most {LARGEST_DOCUMENT} are read"))
            }
            Some(_) | None => Some("it is not a regular file".to_owned()),
        }
    }
}
