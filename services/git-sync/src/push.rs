//! Makes another server name what holds here. Only what goes on from what it names, or replaces what was pushed there last:
//! a commit that does not go on from the last one holds only after somebody accepted that.

use crate::{
    export::held,
    git::{git, said},
    place::Place,
};
use host::files::FileError;
use interfaces::git_sync::Push;
use model::{PushUrl, Reference, Revision};
use serde::{Deserialize, Serialize};
use std::path::Path;
use thiserror::Error;

/// Why nothing was pushed.
#[derive(Debug, Error)]
pub(crate) enum PushError {
    #[error("the commit was not fetched")]
    NoRevision,
    /// The server, or the way to it.
    #[error("{0}")]
    Unreachable(String),
    /// The server has something else, or does not take it.
    #[error("{0}")]
    Refused(String),
    #[error(transparent)]
    File(#[from] FileError),
}

/// What was pushed last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pushed {
    url: PushUrl,
    reference: Reference,
    revision: Revision,
    /// A commit, or the tag that names it.
    object: String,
}

impl Pushed {
    /// Whether it is what a call wants.
    pub(crate) fn is(&self, call: &Push) -> bool {
        (&self.url, &self.reference, &self.revision) == (&call.url, &call.reference, &call.revision)
    }
}

/// How one attempt ended.
enum Attempt {
    Done,
    /// It would not be a fast-forward.
    Elsewhere(String),
}

/// Pushes. Returns whether that was not done before.
pub(crate) fn push(place: &Place, call: &Push, ssh: Result<String, String>) -> Result<bool, PushError> {
    let last = place.pushed();
    if last.as_ref().is_some_and(|last| last.is(call)) {
        return Ok(false);
    }
    let object = held(place, &call.reference, &call.revision).ok_or(PushError::NoRevision)?.to_string();
    let Push { url, reference, revision, .. } = call.clone();
    let wanted = Pushed { url, reference, revision, object };
    let ssh = ssh.map_err(PushError::Unreachable)?;
    if let Attempt::Elsewhere(reason) = attempt(&place.mirror(), &wanted, None, &ssh)? {
        let ours = last.filter(|last| last.url == wanted.url && last.reference == wanted.reference);
        let ours = ours.ok_or_else(|| PushError::Refused(reason.clone()))?;
        if let Attempt::Elsewhere(reason) = attempt(&place.mirror(), &wanted, Some(&ours.object), &ssh)? {
            return Err(PushError::Refused(reason));
        }
    }
    place.write_pushed(&wanted)?;
    Ok(true)
}

/// Runs `git push`. With `instead` whatever the reference names is replaced, if that is still this object.
fn attempt(mirror: &Path, wanted: &Pushed, instead: Option<&str>, ssh: &str) -> Result<Attempt, PushError> {
    let Pushed { url, reference, object, .. } = wanted;
    let lease = instead.map(|object| format!("--force-with-lease={reference}:{object}"));
    let ended = git(mirror)
        .args(["-c", "protocol.allow=never", "-c", "protocol.ssh.allow=always"])
        .args(["push", "--porcelain", "--no-signed", "--no-follow-tags", "--no-recurse-submodules"])
        .args(lease)
        .arg(url.as_str())
        .arg(format!("{object}:{reference}"))
        // Paths of keys, and nothing that they hold.
        .env("GIT_SSH_COMMAND", ssh)
        .env("GIT_SSH_VARIANT", "ssh")
        .output()
        .map_err(|cause| PushError::Unreachable(format!("git does not start: {cause}")))?;
    if ended.status.success() {
        return Ok(Attempt::Done);
    }
    let told = String::from_utf8_lossy(&ended.stdout);
    if let Some(line) = told.lines().find(|line| line.starts_with('!')) {
        // "!", from:to, and why, with tabs between.
        let why = said(line.rsplit('\t').next().unwrap_or_default().as_bytes());
        return if why.starts_with("[rejected]") {
            Ok(Attempt::Elsewhere(format!("it has commits that are not from here: {why}")))
        } else {
            Err(PushError::Refused(format!("it does not take it: {why}")))
        };
    }
    Err(PushError::Unreachable(said(&ended.stderr)))
}
