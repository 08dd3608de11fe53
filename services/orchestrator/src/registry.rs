//! Follows the system repository: what its registry says now is remembered, and who comes, leaves or moves by it.

use crate::{
    engine::{Cause, Engine, Look},
    store::{HostLedger, now_usec},
    sync::{Unusable, in_full},
    tell,
};
use host::worktree::WorkTree;
use interfaces::git_sync;
use model::{Reference, Revision, TenantName, names::RepositoryName, registry::Registration, tree::System};
use planner::{Origin, TenantLedger};
use std::collections::HashMap;
use tracing::{info, warn};

impl Engine {
    /// Looks at the system repository, and at the tenants' of those whose entries differ.
    pub(crate) async fn sync_registry(&self, cause: Cause) {
        let changed = self.look_at_system(cause).await;
        self.see_off(&changed).await;
        let look = |engine: Self, tenant| async move { drop(engine.look_at(&tenant, Cause::Asked).await) };
        self.each(changed, look).await;
    }

    /// Looks at the system repository soon. Gives the tenants that came, left, or are registered otherwise than before.
    pub(crate) fn look_at_system(&self, cause: Cause) -> Look {
        self.look(RepositoryName::system(), cause, |engine, begun| async move {
            let _turn = engine.system_turn.lock().await;
            engine.sync_system(begun.now()).await
        })
    }

    async fn sync_system(&self, cause: Cause) -> Vec<TenantName> {
        let (fetch, accepted) = {
            let memory = self.store.memory();
            let host = &memory.host;
            let accepted = host.accepted.clone().map(|accepted| (accepted, host.bound().cloned()));
            let Some(url) = host.url.clone().filter(|_| !cause.waits(host.back_off)) else { return Vec::new() };
            let fetch = git_sync::Fetch {
                repository: RepositoryName::system(),
                url,
                mirrors: host.mirrors.clone().into_call(),
                reference: host.reference.clone().unwrap_or_else(Reference::main),
                trust: host.trust.clone(),
                floor: host.asked_bound().cloned(),
            };
            (fetch, accepted)
        };
        let read = match self.fetch_accepted(fetch, accepted).await {
            Ok(checkout) => match System::read("system", &WorkTree::at(&checkout.path)) {
                Ok(system) => Ok((checkout.revision, system)),
                Err(faults) => Err(Unusable::Refused(checkout.revision, in_full(&faults))),
            },
            Err(unusable) => Err(unusable),
        };
        let before = self.store.memory().host.clone();
        let remembered = self.store.change_host(|host| match read {
            Ok((revision, system)) => {
                host.not_in_effect = model::admission::system_not_in_effect(&system);
                host.noticing = system.noticing();
                host.notifications = tell::since(&host.notifications, system.notifications, now_usec());
                host.tells |= !host.notifications.is_empty();
                let entries = system.registrations;
                if host.revision.as_ref() != Some(&revision) {
                    info!(%revision, tenants = entries.len(), "the registry is followed");
                }
                let changed = concerned(&host.registry, &entries);
                host.shows(&revision);
                host.accepted = None;
                let before = host.revision.replace(revision);
                host.floor_lost &= before.is_none() || before == host.revision;
                host.floor = None;
                host.any_history = false;
                host.registry = entries;
                host.reason = None;
                host.reached(None);
                changed
            }
            Err(Unusable::Unreachable(reason) | Unusable::Silent(reason) | Unusable::Undecided(reason)) => {
                host.unreachable = Some(reason);
                host.back_off.failed(now_usec(), fastrand::u64(..));
                Vec::new()
            }
            Err(Unusable::Absent(reason)) => {
                host.reached(Some(reason));
                Vec::new()
            }
            Err(Unusable::Refused(revision, reason)) => {
                warn!(%revision, "the registry is refused:\n{reason}");
                host.shows(&revision);
                host.reason = Some(reason);
                host.reached(None);
                Vec::new()
            }
            Err(Unusable::NoCommit(reason)) => {
                warn!("the registry is refused: {reason}");
                (host.wanted, host.strayed, host.accepted) = (None, None, None);
                host.reason = Some(reason);
                host.reached(None);
                Vec::new()
            }
            Err(Unusable::Strayed(revision, reason)) => {
                warn!(%revision, "the registry is refused: {reason}");
                host.shows(&revision);
                (host.strayed, host.reason) = (Some(revision), Some(reason));
                host.reached(None);
                Vec::new()
            }
        });
        let mut changed = remembered.unwrap_or_else(|error| {
            warn!("{}", runtime::chain(&error));
            Vec::new()
        });
        let after = self.store.memory().host.clone();
        let told = |host: &HostLedger| (host.revision.clone(), host.wanted.clone(), host.reason.clone());
        let told = planner::history::of_registry(&told(&before), told(&after), now_usec());
        self.note(&RepositoryName::system(), told.as_slice());
        changed.extend(self.register());
        changed.sort();
        changed.dedup();
        self.keep_floors(&[]);
        self.keep_in_step(&RepositoryName::system());
        self.prune_system().await;
        self.poll().await;
        changed
    }

    /// Makes the ledger know the registry's tenants, and whose each memory is. Returns those that it did not know as they are.
    /// Who knows of no registry says of nobody that he left.
    pub(crate) fn register(&self) -> Vec<TenantName> {
        let (unknown, differing) = {
            let memory = self.store.memory();
            if memory.host.revision.is_none() {
                return Vec::new();
            }
            let entries: HashMap<_, _> = memory.host.registry.iter().map(|entry| (&entry.name, entry)).collect();
            let unknown = entries.values().filter(|entry| !memory.tenants.contains_key(&entry.name));
            let unknown: Vec<Registration> = unknown.map(|entry| (*entry).clone()).collect();
            let differs = |(name, ledger): &(&TenantName, &TenantLedger)| match entries.get(name) {
                Some(entry) => !ledger.registered || ledger.origin.is_none() || !ledger.is_of(entry),
                None => ledger.registered,
            };
            let differing = memory.tenants.iter().filter(differs);
            let differing = differing.map(|(name, _)| (name.clone(), entries.get(name).map(|entry| (*entry).clone())));
            (unknown, differing.collect::<Vec<_>>())
        };
        let mut changed = Vec::new();
        for entry in unknown {
            let name = entry.name.clone();
            match self.store.remember(&name, self.unknown(&entry)) {
                Ok(()) => self.note(&RepositoryName::from(&name), &[planner::history::registered(now_usec())]),
                Err(error) => warn!(tenant = %name, "{}", runtime::chain(&error)),
            }
            changed.push(name);
        }
        for (name, entry) in differing {
            self.remember(&name, |ledger, now| {
                if let Some(entry) = &entry {
                    if ledger.origin.is_none() && !ledger.registered {
                        // An older version did not write down whose it is; what is kept beside the ledger says so.
                        ledger.origin = self.floors.origin(&RepositoryName::from(&name));
                    }
                    ledger.belongs_to(&Origin::of(entry), || self.recall(entry), now);
                }
                ledger.register(entry.is_some(), now);
            });
            changed.push(name);
        }
        changed
    }

    /// How far the history of an entry's repository had come, if a copy says so.
    fn recall(&self, entry: &Registration) -> Option<Revision> {
        let addresses = entry.mirrors.beside(&entry.repository);
        self.floors.recall(&RepositoryName::from(&entry.name), addresses, &entry.reference)
    }

    /// A tenant that the ledger does not know, and may have known once.
    fn unknown(&self, entry: &Registration) -> TenantLedger {
        let mut ledger = TenantLedger::new(now_usec());
        (ledger.origin, ledger.floor) = (Some(Origin::of(entry)), self.recall(entry));
        if let Some(floor) = &ledger.floor {
            warn!(tenant = %entry.name, "the ledger had forgotten it; it goes on from {floor}");
        }
        ledger
    }
}

/// The tenants whose entries differ.
fn concerned(before: &[Registration], after: &[Registration]) -> Vec<TenantName> {
    let gone = before.iter().filter(|old| !after.contains(old));
    let new = after.iter().filter(|new| !before.contains(new));
    gone.chain(new).map(|entry| entry.name.clone()).collect()
}
