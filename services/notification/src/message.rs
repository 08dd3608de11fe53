//! What is told of an event to whom. Text of others' is cut and made fit to be shown before it leaves the host.

use interfaces::notification::{Event, Notify};
use model::{
    RepositoryUrl, Revision,
    names::RepositoryName,
    notification::{CommitState, Kind, Occasion, ProjectPath, Target},
    progress::EventKind,
    text::{printable, printable_lines, without_secrets},
};
use serde::{Deserialize, Serialize};

/// What GitHub takes; the others take more.
const LONGEST_DESCRIPTION: usize = 140;

/// Something that one target is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Message {
    /// The same for the same event, however often it is told.
    pub(crate) id: String,
    pub(crate) repository: RepositoryName,
    pub(crate) occasion: Occasion,
    pub(crate) content: Content,
}

/// What a target is told of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub(crate) enum Content {
    /// The state of a commit, for a forge.
    Status { project: ProjectPath, revision: Revision, state: CommitState, description: String },
    /// All of it, for a webhook.
    Event {
        url: Option<RepositoryUrl>,
        at_usec: u64,
        revision: Option<Revision>,
        failed: Option<Revision>,
        generation: u64,
        reason: Option<String>,
        plan: Vec<String>,
    },
}

impl Message {
    /// What a later message of the same makes needless: the state of a commit at a forge.
    pub(crate) fn about(&self) -> Option<(ProjectPath, Revision)> {
        match &self.content {
            Content::Status { project, revision, .. } => Some((project.clone(), revision.clone())),
            Content::Event { .. } => None,
        }
    }
}

/// The name of an event of a repository.
pub(crate) fn id(repository: &RepositoryName, event: &Event) -> String {
    let commit = event.revision.as_ref().map_or("-", Revision::short);
    format!("{repository}/{}/{}/{commit}", event.at_u_sec, Occasion::from(event.kind))
}

/// What a target is told of the event at `index`, if anything.
pub(crate) fn compose(target: &Target, told: &Notify, index: usize) -> Option<Message> {
    let Notify { repository, url, events, .. } = told;
    let event = events.get(index)?;
    let occasion = Occasion::from(event.kind);
    let wanted = event.at_u_sec >= target.since_u_sec && target.events.contains(&occasion);
    if !wanted || !target.concerns(repository, url.as_ref()) {
        return None;
    }
    let before = &events[..index];
    let content = match target.kind {
        Kind::Webhook => {
            let failed = (event.kind == EventKind::RolledBack).then(|| last_failed(before)).flatten();
            let Event { at_u_sec, revision, generation, reason, plan, .. } = event.clone();
            let reason = reason.map(|reason| printable_lines(&without_secrets(&reason)));
            let plan = plan.iter().map(|line| printable(&without_secrets(line))).collect();
            Content::Event {
                url: url.clone(),
                at_usec: at_u_sec,
                revision,
                failed: failed.cloned(),
                generation,
                reason,
                plan,
            }
        }
        Kind::Github | Kind::Gitlab | Kind::Gitea => {
            let project = target.project(url.as_ref())?;
            let revision = concerned(before, event)?.clone();
            let description = description(occasion, event.reason.as_deref());
            Content::Status { project, revision, state: occasion.commit_state()?, description }
        }
    };
    Some(Message { id: id(repository, event), repository: repository.clone(), occasion, content })
}

/// The commit of which an event says something. Of the one that runs again it says nothing: that has held before.
fn concerned<'a>(before: &'a [Event], event: &'a Event) -> Option<&'a Revision> {
    match event.kind {
        EventKind::RolledBack => last_failed(before),
        EventKind::Planned if goes_back(before, event) => None,
        EventKind::Registered
        | EventKind::Left
        | EventKind::Admitted
        | EventKind::Refused
        | EventKind::Planned
        | EventKind::Verified
        | EventKind::Stopped
        | EventKind::Failed
        | EventKind::FloorLost
        | EventKind::Suspended
        | EventKind::Resumed
        | EventKind::Retried
        | EventKind::Confirming
        | EventKind::Confirmed
        | EventKind::Kept
        | EventKind::Removed => event.revision.as_ref(),
    }
}

fn last_failed(before: &[Event]) -> Option<&Revision> {
    before.iter().rev().find(|event| event.kind == EventKind::Failed)?.revision.as_ref()
}

/// Whether steps lead back from a commit that failed to the one that held before.
fn goes_back(before: &[Event], planned: &Event) -> bool {
    let settles =
        |kind| matches!(kind, EventKind::Failed | EventKind::Admitted | EventKind::Verified | EventKind::RolledBack);
    let last = before.iter().rev().find(|event| settles(event.kind));
    last.is_some_and(|last| last.kind == EventKind::Failed && last.revision != planned.revision)
}

/// One line that a forge shows beside the commit.
fn description(occasion: Occasion, reason: Option<&str>) -> String {
    let what = match occasion {
        Occasion::Admitted => "is about to be applied",
        Occasion::Planned => "is being applied",
        Occasion::Retried => "is tried again",
        Occasion::Confirming => "holds, and waits for somebody to confirm it",
        Occasion::Confirmed => "was confirmed",
        Occasion::Kept => "has left and is kept",
        Occasion::Removed => "is removed",
        Occasion::Verified => "runs",
        Occasion::Stopped => "does not run, as is asked for",
        Occasion::Refused => "refused",
        Occasion::Failed => "did not hold",
        Occasion::RolledBack => "did not hold, and the last verified commit runs again",
        Occasion::Registered | Occasion::Left | Occasion::FloorLost | Occasion::Suspended | Occasion::Resumed => {
            occasion.word()
        }
    };
    let line = reason.and_then(|reason| reason.lines().map(str::trim).find(|line| !line.is_empty()));
    let line = line.map(|line| line.strip_prefix("error: ").unwrap_or(line));
    let text = line.map_or(what.to_owned(), |line| format!("{what}: {line}"));
    let text = printable(&without_secrets(&text));
    match text.char_indices().nth(LONGEST_DESCRIPTION) {
        Some(_) => text.chars().take(LONGEST_DESCRIPTION - 1).chain(['…']).collect(),
        None => text,
    }
}

#[cfg(test)]
pub(crate) mod tests;
