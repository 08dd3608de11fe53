//! What became of commits, written into the mirror for people with plain Git: a note on each commit (git-notes(1)), and
//! references to those that count.

use crate::{
    mirror::{open_mirror, remove_stale},
    place::Place,
};
use gix::{
    ObjectId, Repository,
    bstr::BString,
    date::{Time, time::format::ISO8601_STRICT},
    objs::{
        Commit, Tree,
        tree::{Entry, EntryKind},
    },
    refs::transaction::PreviousValue,
};
use host::files::FileError;
use interfaces::git_sync::{Event, Record};
use model::{Revision, text::printable_lines};
use std::collections::BTreeMap;
use thiserror::Error;

/// Where the commits that count are named.
pub(crate) const COUNT: &str = "refs/bitbuilder/";
/// Where `git log --notes=bitbuilder` looks.
pub(crate) const NOTES: &str = "refs/notes/bitbuilder";
/// Of a note that grows longer the oldest lines go.
const LONGEST: usize = 64 << 10;

/// Why nothing was written.
#[derive(Debug, Error)]
pub(crate) enum RecordError {
    #[error("nothing was fetched")]
    NoRepository,
    #[error("cannot write to the mirror: {0}")]
    Mirror(#[source] Box<gix::Error>),
    #[error(transparent)]
    File(#[from] FileError),
}

impl From<gix::Error> for RecordError {
    fn from(cause: gix::Error) -> Self {
        Self::Mirror(Box::new(cause))
    }
}

/// Writes what became of commits. Returns whether that was not there yet.
pub(crate) fn record(place: &Place, call: &Record) -> Result<bool, RecordError> {
    if !place.mirror().is_dir() {
        return Err(RecordError::NoRepository);
    }
    let _alone = place.lock()?;
    remove_stale(&place.mirror())?;
    let mirror = open_mirror(&place.mirror()).map_err(RecordError::Mirror)?;
    let mut changed = false;
    for (name, revision) in [("wanted", &call.wanted), ("target", &call.target), ("verified", &call.verified)] {
        changed |= point(&mirror, &format!("{COUNT}{name}"), revision.as_ref())?;
    }
    Ok(annotate(&mirror, &call.events)? || changed)
}

/// Whether a reference of the mirror is one of those that are written here.
pub(crate) fn wrote(reference: &str) -> bool {
    reference == NOTES || reference.starts_with(COUNT)
}

/// Makes a reference name a commit, or nothing.
fn point(mirror: &Repository, name: &str, revision: Option<&Revision>) -> Result<bool, gix::Error> {
    let held = mirror.try_find_reference(name)?;
    let wanted = revision.map(object).transpose()?.filter(|id| mirror.has_object(id));
    match (held, wanted) {
        (Some(held), Some(wanted)) if held.try_id().is_some_and(|id| id == wanted) => Ok(false),
        (_, Some(wanted)) => mirror.reference(name, wanted, PreviousValue::Any, "").map(|_| true),
        (Some(held), None) => held.delete().map(|()| true),
        (None, None) => Ok(false),
    }
}

/// Adds to the commits' notes. All of them are one commit of the notes' own history.
fn annotate(mirror: &Repository, events: &[Event]) -> Result<bool, gix::Error> {
    let tip = mirror.try_find_reference(NOTES)?.and_then(|held| held.try_id().map(gix::Id::detach));
    let mut notes: BTreeMap<BString, Entry> = match tip {
        Some(tip) => {
            let tree = mirror.find_commit(tip)?.tree()?;
            let tree = tree.decode().map_err(gix::Error::from_error)?;
            tree.entries.into_iter().map(|entry| (entry.filename.to_owned(), Entry::from(entry))).collect()
        }
        None => BTreeMap::new(),
    };
    let mut by_commit: BTreeMap<&Revision, Vec<&Event>> = BTreeMap::new();
    for event in events {
        by_commit.entry(&event.revision).or_default().push(event);
    }
    let mut changed = false;
    for (revision, events) in by_commit {
        if !mirror.has_object(object(revision)?) {
            continue;
        }
        let name = BString::from(revision.as_str());
        let before = match notes.get(&name) {
            Some(note) => String::from_utf8_lossy(&mirror.find_object(note.oid)?.data).into_owned(),
            None => String::new(),
        };
        let after = noted(&before, &events);
        if after != before {
            let oid = mirror.write_blob(&after)?.detach();
            notes.insert(name.clone(), Entry { mode: EntryKind::Blob.into(), filename: name, oid });
            changed = true;
        }
    }
    if !changed {
        return Ok(false);
    }
    let tree = mirror.write_object(Tree { entries: notes.into_values().collect() })?.detach();
    let seconds = events.iter().map(|event| event.at_u_sec / 1_000_000).max().unwrap_or(0);
    let author = author(seconds);
    let commit = Commit {
        tree,
        parents: tip.into_iter().collect(),
        committer: author.clone(),
        author,
        encoding: None,
        message: "What became of commits\n".into(),
        extra_headers: Vec::new(),
    };
    let commit = mirror.write_object(commit)?.detach();
    mirror.reference(NOTES, commit, PreviousValue::Any, "")?;
    Ok(true)
}

/// Who makes commits here, at this many seconds since 1970.
pub(crate) fn author(seconds: u64) -> gix::actor::Signature {
    let time = Time::new(i64::try_from(seconds).unwrap_or(i64::MAX), 0);
    gix::actor::Signature { name: "BitBuilder".into(), email: "bitbuilder@localhost".into(), time }
}

fn object(revision: &Revision) -> Result<ObjectId, gix::Error> {
    ObjectId::from_hex(revision.as_str().as_bytes()).map_err(gix::Error::from_error)
}

/// A note with these events in it: a line each, and below it, indented so that no reason looks like an event, its reason and
/// its steps.
fn noted(before: &str, events: &[&Event]) -> String {
    let mut told: BTreeMap<String, String> = BTreeMap::new();
    let mut last = None;
    for line in before.lines() {
        if line.starts_with(' ') {
            if let Some(text) = last.as_ref().and_then(|head| told.get_mut(head)) {
                text.push_str(line);
                text.push('\n');
            }
        } else {
            told.entry(line.to_owned()).or_default();
            last = Some(line.to_owned());
        }
    }
    for Event { kind, at_u_sec, reason, plan, .. } in events {
        let reason = reason.iter().flat_map(|reason| reason.lines().map(str::to_owned));
        let text = reason.chain(plan.iter().cloned()).map(|line| format!("    {}\n", printable_lines(&line))).collect();
        told.insert(format!("{} {kind}", moment(*at_u_sec)), text);
    }
    let lines: Vec<String> = told.into_iter().map(|(head, text)| format!("{head}\n{text}")).collect();
    let mut room = LONGEST;
    let fits = |event: &&String| {
        room = room.saturating_sub(event.len());
        room > 0
    };
    let kept = lines.iter().rev().take_while(fits).count();
    lines[lines.len() - kept..].concat()
}

/// RFC 3339 in UTC, so that the order of the text is the order of time.
fn moment(usec: u64) -> String {
    let seconds = i64::try_from(usec / 1_000_000).unwrap_or(i64::MAX);
    let text = Time::new(seconds, 0).format_or_unix(ISO8601_STRICT);
    format!("{}.{:06}Z", text.trim_end_matches("+00:00"), usec % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use interfaces::git_sync::EventKind;

    fn event(kind: EventKind, at_u_sec: u64, reason: Option<&str>, plan: &[&str]) -> Event {
        let plan = plan.iter().map(|line| (*line).to_owned()).collect();
        Event { revision: "a".repeat(40).parse().unwrap(), kind, at_u_sec, reason: reason.map(str::to_owned), plan }
    }

    #[test]
    fn a_note_tells_each_event_once_in_order() {
        let admitted = event(EventKind::Admitted, 1_764_000_000_000_007, None, &[]);
        let planned = event(EventKind::Planned, 1_764_000_000_500_000, None, &["restart  start it"]);
        let failed =
            event(EventKind::Failed, 1_764_000_002_000_000, Some("no\n2026-01-01T00:00:00Z verified\u{1b}"), &[]);
        let first = noted("", &[&planned, &admitted]);
        let all = noted(&first, &[&planned, &failed]);
        assert_eq!(
            all,
            "2025-11-24T16:00:00.000007Z admitted\n2025-11-24T16:00:00.500000Z planned\n    restart  start it\n\
             2025-11-24T16:00:02.000000Z failed\n    no\n    2026-01-01T00:00:00Z verified\u{fffd}\n"
        );
        assert_eq!(noted(&all, &[&failed, &admitted]), all);
    }

    #[test]
    fn a_note_is_bounded_and_keeps_what_is_newest() {
        let reason = "x".repeat(4000);
        let events: Vec<Event> =
            (0..40).map(|second| event(EventKind::Refused, second * 1_000_000, Some(&reason), &[])).collect();
        let mut note = String::new();
        for event in &events {
            note = noted(&note, &[event]);
            assert!(note.len() <= LONGEST);
        }
        assert!(note.contains("1970-01-01T00:00:39") && !note.contains("1970-01-01T00:00:01."));
    }
}
