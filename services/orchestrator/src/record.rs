//! Has what became of commits written into the mirrors, for people with plain Git. It is told, never acted on: nothing waits
//! for it. What was not written, because a process died or a service was away, is written later.

use crate::engine::Engine;
use host::files;
use interfaces::git_sync::{self, Record};
use model::{Revision, TenantName, names::RepositoryName, progress::EventKind};
use planner::Event;
use runtime::client::CallError;
use std::{fs, path::PathBuf, time::Duration};
use tracing::warn;

/// So many events are handed over at a time, and so many of the last ones always: a mirror that was lost has them again.
const TOGETHER: usize = 64;
/// How long to wait before what could not be written is tried again.
const PAUSE: Duration = Duration::from_secs(30);

/// Whether something else has to happen before there is more to tell. While a commit is being applied nothing is written.
pub(crate) fn is_final(kind: EventKind) -> bool {
    match kind {
        EventKind::Refused
        | EventKind::Verified
        | EventKind::Stopped
        | EventKind::RolledBack
        | EventKind::Failed
        | EventKind::Suspended
        | EventKind::Resumed
        | EventKind::Confirming
        | EventKind::Confirmed
        | EventKind::Kept
        | EventKind::Removed => true,
        EventKind::Registered
        | EventKind::Left
        | EventKind::Admitted
        | EventKind::Planned
        | EventKind::FloorLost
        | EventKind::Retried => false,
    }
}

/// What of a history is to be written.
#[derive(Debug, PartialEq, Eq)]
struct Unwritten {
    /// The place of the first event.
    from: usize,
    /// Whether there is anything that was not written before.
    new: bool,
    /// Whether there was more, which is not kept any more.
    lost: bool,
}

impl Unwritten {
    /// Of these events, the last of which that was written happened at `written`, if one was.
    fn of(events: &[Event], written: Option<u64>) -> Self {
        let last = written.map(|written| events.iter().rposition(|event| event.at_usec == written));
        let first = last.flatten().map_or(0, |last| last + 1);
        let from = first.min(events.len().saturating_sub(TOGETHER));
        Self { from, new: first < events.len(), lost: last == Some(None) && !events.is_empty() }
    }
}

impl Engine {
    /// Writes, one repository at a time, for as long as the process lives: first whatever the process before did not.
    pub(crate) async fn record_forever(self) {
        let known: Vec<RepositoryName> = {
            let tenants = &self.store.memory().tenants;
            tenants.keys().map(RepositoryName::from).chain([RepositoryName::system()]).collect()
        };
        for repository in &known {
            // Who wrote the last one wrote all.
            let last = self.history.last(repository, 1).unwrap_or_default();
            if Unwritten::of(&last, self.written(repository)).new {
                self.unwritten.insert(repository);
            }
            tokio::task::yield_now().await;
        }
        loop {
            let repository = self.unwritten.next().await;
            if let Err(reason) = self.record(&repository).await {
                warn!(%repository, "its history is written to its mirror later: {reason}");
                // The others do not wait for that.
                let engine = self.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(PAUSE).await;
                    engine.unwritten.insert(&repository);
                });
            }
        }
    }

    async fn record(&self, repository: &RepositoryName) -> Result<(), String> {
        let events = self.history.last(repository, usize::MAX).map_err(|error| runtime::chain(&error))?;
        let Some(last) = events.last().map(|event| event.at_usec) else { return Ok(()) };
        let written = self.written(repository);
        let unwritten = Unwritten::of(&events, written);
        if unwritten.lost {
            warn!(%repository, "some of what became of it was not written to its mirror and is not kept any more");
        }
        let [wanted, target, verified] = self.commits_that_count(repository);
        for some in events[unwritten.from..].chunks(TOGETHER) {
            let events = some.iter().cloned().filter_map(|event| {
                let Event { kind, at_usec, revision, reason, plan, .. } = event;
                Some(git_sync::Event { revision: revision?, kind, at_u_sec: at_usec, reason, plan })
            });
            let record = Record {
                repository: repository.clone(),
                events: events.collect(),
                wanted: wanted.clone(),
                target: target.clone(),
                verified: verified.clone(),
            };
            match self.services.call(&record).await {
                Ok(_) => {}
                // Without a mirror nobody can look into it either.
                Err(CallError::Failed(git_sync::Error::NoSuchRepository { .. })) => return Ok(()),
                Err(error) => return Err(runtime::chain(&error)),
            }
        }
        if written == Some(last) {
            return Ok(());
        }
        // Who forgets it writes once more what is there already.
        let path = self.written_path(repository);
        files::write_unflushed(&path, last.to_string().as_bytes(), 0o640)
            .map(drop)
            .map_err(|error| runtime::chain(&error))
    }

    /// When the last event happened that was written, as far as that is known.
    fn written(&self, repository: &RepositoryName) -> Option<u64> {
        fs::read_to_string(self.written_path(repository)).ok()?.trim().parse().ok()
    }

    fn written_path(&self, repository: &RepositoryName) -> PathBuf {
        self.store.directory().join(format!("history/{repository}.written"))
    }

    /// What a repository asks for, what the host is made into, and what held last.
    fn commits_that_count(&self, repository: &RepositoryName) -> [Option<Revision>; 3] {
        let memory = self.store.memory();
        let Ok(tenant) = repository.as_str().parse::<TenantName>() else {
            let host = &memory.host;
            return [host.wanted.clone(), host.revision.clone(), host.revision.clone()];
        };
        let Some(ledger) = memory.tenants.get(&tenant) else { return [None, None, None] };
        let of = |desired: &Option<model::DesiredTenant>| desired.as_ref().map(|desired| desired.revision.clone());
        [ledger.wanted.clone(), of(&ledger.target), of(&ledger.verified)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_written_is_due_however_much_it_is() {
        let events: Vec<Event> = (0..200).map(planner::history::registered).collect();
        let of = |written| Unwritten::of(&events, written);
        assert_eq!(of(Some(199)), Unwritten { from: 136, new: false, lost: false });
        assert_eq!(of(Some(190)), Unwritten { from: 136, new: true, lost: false });
        assert_eq!(of(Some(99)), Unwritten { from: 100, new: true, lost: false });
        assert_eq!(of(None), Unwritten { from: 0, new: true, lost: false });
        assert_eq!(of(Some(1000)), Unwritten { from: 0, new: true, lost: true });
        assert_eq!(Unwritten::of(&events[..3], Some(2)), Unwritten { from: 0, new: false, lost: false });
        assert_eq!(Unwritten::of(&[], Some(1)), Unwritten { from: 0, new: false, lost: false });
    }
}
