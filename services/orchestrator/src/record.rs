//! Has what became of commits written into the mirrors, for people with plain Git. It is told, never acted on: nothing waits
//! for it, and what is written late is written with what comes next.

use crate::engine::Engine;
use interfaces::git_sync::{self, Record};
use model::{Revision, TenantName, names::RepositoryName, progress::EventKind};
use planner::Event;
use runtime::client::CallError;
use tracing::warn;

/// So many of the last events are handed over: those before were written with them.
const LAST: usize = 64;

/// Whether something else has to happen before there is more to tell. While a commit is being applied nothing is written.
pub(crate) fn is_final(kind: EventKind) -> bool {
    match kind {
        EventKind::Refused
        | EventKind::Verified
        | EventKind::Stopped
        | EventKind::RolledBack
        | EventKind::Failed
        | EventKind::Suspended
        | EventKind::Resumed => true,
        EventKind::Registered
        | EventKind::Left
        | EventKind::Admitted
        | EventKind::Planned
        | EventKind::FloorLost
        | EventKind::Retried => false,
    }
}

impl Engine {
    /// Writes, one repository at a time, for as long as the process lives.
    pub(crate) async fn record_forever(self) {
        loop {
            let repository = self.unwritten.next().await;
            self.record(&repository).await;
        }
    }

    async fn record(&self, repository: &RepositoryName) {
        let events = match self.history.last(repository, LAST) {
            Ok(events) => events,
            Err(error) => {
                warn!(%repository, "{}", runtime::chain(&error));
                return;
            }
        };
        let [wanted, target, verified] = self.commits_that_count(repository);
        let events = events.into_iter().filter_map(|event| {
            let Event { kind, at_usec, revision, reason, plan, .. } = event;
            Some(git_sync::Event { revision: revision?, kind, at_u_sec: at_usec, reason, plan })
        });
        let record = Record { repository: repository.clone(), events: events.collect(), wanted, target, verified };
        match self.services.call(&record).await {
            // Without a mirror nobody can look into it either.
            Ok(_) | Err(CallError::Failed(git_sync::Error::NoSuchRepository { .. })) => {}
            Err(error) => warn!(%repository, "its history is not written to its mirror: {}", runtime::chain(&error)),
        }
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
