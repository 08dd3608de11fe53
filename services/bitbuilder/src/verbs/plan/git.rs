//! The files of a commit that may not be pushed yet, read from Git's objects: nothing is checked out, so nothing of what a
//! hostile repository configures is run, and nothing that it lacks is fetched.

use host::command::{Command, CommandError};
use model::{
    Revision, config,
    document::LARGEST_DOCUMENT,
    manifest, secrets,
    tree::{Request, Tree},
};
use std::{
    cell::RefCell,
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
    executable: BTreeSet<String>,
    /// The executable files among the scripts.
    programs: BTreeSet<String>,
    /// What was read with everything below it.
    whole: BTreeSet<String>,
    /// What somebody wanted to be read with everything below it, and was not.
    missed: RefCell<BTreeSet<String>>,
}

/// More files than this count as changed with each commit, as on a host.
const MOST_FILES: usize = 1024;

impl Tree for Files {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
        self.contents.get(path).cloned().transpose()
    }

    fn has(&self, path: &str) -> bool {
        self.regular.contains(path)
    }

    fn is_program(&self, path: &str) -> Result<(), String> {
        match () {
            () if self.programs.contains(path) => Ok(()),
            () if self.has(path) => Err(format!("{path} may not be executed: git update-index --chmod=+x {path}")),
            () => Err(format!("the repository has no file {path}")),
        }
    }

    fn each(&self, path: &str, most: usize, see: &mut dyn FnMut(&str, bool, &[u8])) -> Result<(), String> {
        if !self.whole.iter().any(|whole| is_at_or_below(path, whole)) {
            self.missed.borrow_mut().insert(path.to_owned());
            return Err("it was not read".to_owned());
        }
        let mut left = most;
        let mut found: Vec<_> = self.contents.iter().filter(|(own, _)| is_at_or_below(own, path)).collect();
        found.sort_by(|(one, _), (other, _)| one.split('/').cmp(other.split('/')));
        for (own, content) in found {
            let content = content.as_ref().map_err(Clone::clone)?;
            left = left.checked_sub(content.len()).ok_or("the files are too large")?;
            see(own, self.executable.contains(own), content);
        }
        Ok(())
    }
}

fn is_at_or_below(path: &str, above: &str) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Reads what matters of the commit that `revision` names in the repository at `path`.
pub(super) async fn commit(path: &Path, revision: &str) -> Result<(Files, Revision), GitError> {
    let named = format!("{revision}^{{commit}}");
    let said = git(path).args(["rev-parse", "--verify", "--quiet", "--end-of-options", &named]).run().await;
    let said = said.map_err(failed("find the commit", revision))?;
    let revision: Revision = said.trim().parse().map_err(|_| GitError::NoCommit(revision.to_owned()))?;
    let mut files = Files::default();
    let documents = [manifest::PATH, config::PATH, secrets::PATH];
    files.read_below(path, &revision, &[&documents[..], &["units"]].concat()).await?;
    files.whole.insert("units".to_owned());
    let scripts = list(path, &revision, &["scripts"]).await?;
    for script in scripts.split('\0').filter_map(Entry::parse).filter(|entry| entry.is_regular) {
        files.regular.insert(script.path.to_owned());
        if script.mode == "100755" {
            files.programs.insert(script.path.to_owned());
        }
    }
    // What is read with these shows what else is needed; what is wrong with it is said by who asks next.
    drop(Request::examine("", &files));
    let missed = files.missed.take();
    files.read_below(path, &revision, &missed.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    files.whole.extend(missed);
    Ok((files, revision))
}

fn failed(action: &'static str, what: &str) -> impl FnOnce(CommandError) -> GitError + use<> {
    let what = what.to_owned();
    move |cause| GitError::Command { action, what, cause }
}

/// What a commit has at or below these paths.
async fn list(path: &Path, revision: &Revision, below: &[&str]) -> Result<String, GitError> {
    if below.is_empty() {
        return Ok(String::new());
    }
    let list =
        git(path).args(["--literal-pathspecs", "ls-tree", "-r", "-l", "-z", "--full-tree", revision.as_str(), "--"]);
    list.args(below).run().await.map_err(failed("list the files of", revision.as_str()))
}

impl Files {
    async fn read_below(&mut self, path: &Path, revision: &Revision, below: &[&str]) -> Result<(), GitError> {
        let listed = list(path, revision, below).await?;
        for entry in listed.split('\0').filter_map(Entry::parse) {
            if entry.is_regular {
                self.regular.insert(entry.path.to_owned());
            }
            if entry.mode == "100755" {
                self.executable.insert(entry.path.to_owned());
            }
            let content = match entry.refusal() {
                Some(refusal) => Err(refusal),
                None if self.contents.len() >= MOST_FILES => Err("there are too many files".to_owned()),
                None => {
                    let blob = git(path).args(["cat-file", "blob", entry.object]).bytes().await;
                    Ok(blob.map_err(failed("read", entry.path))?)
                }
            };
            self.contents.insert(entry.path.to_owned(), content);
        }
        Ok(())
    }
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
