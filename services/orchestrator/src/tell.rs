//! Hands over what became of commits to the service that tells others. It is told, never acted on: nothing waits for it, and
//! what was handed over already is passed over there, so that all of it may be handed over again.

use crate::engine::Engine;
use interfaces::notification::{Event, Notify};
use model::{RepositoryUrl, TenantName, names::RepositoryName, notification::Target};
use std::time::Duration;
use tracing::warn;

/// So many of the last events are handed over: those before were handed over with them.
const LAST: usize = 64;
/// How long to wait for a service that does not answer.
const PAUSE: Duration = Duration::from_secs(10);

impl Engine {
    /// Hands over, one repository at a time, for as long as the process lives: first whatever the process before did not.
    pub(crate) async fn tell_forever(self) {
        self.untold.insert(&RepositoryName::system());
        let known: Vec<TenantName> = self.store.memory().tenants.keys().cloned().collect();
        known.iter().for_each(|tenant| self.untold.insert(&RepositoryName::from(tenant)));
        loop {
            let repository = self.untold.next().await;
            if let Err(reason) = self.tell(&repository).await {
                warn!(%repository, "what became of it is told later: {reason}");
                self.untold.insert(&repository);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    async fn tell(&self, repository: &RepositoryName) -> Result<(), String> {
        let (targets, tells, url) = {
            let memory = self.store.memory();
            let entry = memory.host.registry.iter().find(|entry| entry.name.as_str() == repository.as_str());
            let of_system = memory.host.url.clone().filter(|_| *repository == RepositoryName::system());
            let url: Option<RepositoryUrl> = entry.map(|entry| entry.repository.clone()).or(of_system);
            (memory.host.notifications.clone(), memory.host.tells, url)
        };
        // Where nobody is told anything the service is not started, but to hear that.
        if !tells {
            return Ok(());
        }
        let anybody = !targets.is_empty();
        let events = self.history.last(repository, LAST).map_err(|error| runtime::chain(&error))?;
        let events = events.into_iter().map(|event| {
            let planner::Event { kind, at_usec, revision, generation, reason, plan } = event;
            Event { kind, at_u_sec: at_usec, revision, generation, reason, plan }
        });
        let told = Notify { targets, repository: repository.clone(), url, events: events.collect() };
        self.services.call(&told).await.map_err(|error| runtime::chain(&error))?;
        if anybody {
            return Ok(());
        }
        // Somebody may have been named meanwhile.
        let remembered = self.store.change_host(|host| host.tells = !host.notifications.is_empty());
        remembered.map_err(|error| runtime::chain(&error))
    }
}

/// Who is told from now on. Who was told before is told what became of commits since then.
pub(crate) fn since(before: &[Target], now: Vec<Target>, now_usec: u64) -> Vec<Target> {
    let since = |target: Target| {
        let held = before.iter().find(|held| held.name == target.name && held.address == target.address);
        Target { since_u_sec: held.map_or(now_usec, |held| held.since_u_sec), ..target }
    };
    now.into_iter().map(since).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::notification::{Kind, Occasion};

    #[test]
    fn nobody_is_told_what_was_before_he_was_named() {
        let target = |name: &str, address: &str, since_u_sec| Target {
            name: name.parse().unwrap(),
            kind: Kind::Webhook,
            address: address.parse().unwrap(),
            project: None,
            events: vec![Occasion::Failed],
            tenants: None,
            since_u_sec,
        };
        let before = [target("a", "https://h/a", 1), target("b", "https://h/b", 2)];
        let now = vec![target("a", "https://h/a", 0), target("b", "https://h/other", 0), target("c", "https://h/c", 0)];
        let since: Vec<u64> = since(&before, now, 9).iter().map(|target| target.since_u_sec).collect();
        assert_eq!(since, [1, 9, 9]);
    }
}
