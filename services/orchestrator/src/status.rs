//! What is remembered, as callers see it.

use crate::{remotes::Servers, store::HostLedger};
use interfaces::orchestrator::{self, HostStatus, Limit, TenantStatus};
use model::{
    Limits, TenantName, archive,
    policy::{self, Policy},
    registry::Registration,
};
use planner::{Leaving, TenantLedger};

pub(crate) fn tenant(
    name: &TenantName,
    ledger: &TenantLedger,
    entry: Option<&Registration>,
    servers: Servers,
) -> TenantStatus {
    let shown = ledger.target.as_ref().or(ledger.verified.as_ref());
    TenantStatus {
        tenant: name.clone(),
        state: ledger.state,
        wanted: ledger.wanted.clone(),
        verified: ledger.verified.as_ref().map(|desired| desired.revision.clone()),
        generation: ledger.generation,
        since_u_sec: ledger.since_usec,
        address: ledger.slot.map(model::identity::Slot::address),
        forwards: shown.map(|desired| desired.forwards.clone()).unwrap_or_default(),
        reason: match (&ledger.reason, &ledger.rollback_reason) {
            (Some(reason), Some(rollback)) => {
                Some(format!("{reason}\ngoing back to the last verified commit failed too: {rollback}"))
            }
            (reason, rollback) => reason.clone().or_else(|| rollback.clone()),
        },
        unconverged: ledger.unconverged.clone(),
        unreachable: ledger.unreachable.clone(),
        remotes: servers.remotes,
        push_mirror: servers.push_mirror,
        floor: ledger.bound().cloned(),
        floor_lost: ledger.floor_lost,
        unreachable_count: ledger.back_off.count(),
        next_look_u_sec: ledger.back_off.until_usec().filter(|_| !ledger.is_suspended()),
        not_in_effect: shown.map(|desired| desired.not_in_effect.clone()).unwrap_or_default(),
        plan: ledger.plan.clone(),
        suspended_since_u_sec: ledger.suspended_since_usec,
        limits: entry.zip(shown).map(|(entry, desired)| limits(&entry.policy, &desired.limits)).unwrap_or_default(),
        confirm_until_u_sec: ledger.trial.filter(|_| !ledger.gave_up()).and_then(|trial| trial.until_usec),
        sleep_after: shown.and_then(|desired| desired.sleep_after),
        leaving: ledger
            .leaving
            .as_ref()
            .filter(|_| ledger.is_leaving())
            .map(|leaving| shown_leaving(name, ledger, leaving)),
    }
}

fn shown_leaving(name: &TenantName, ledger: &TenantLedger, leaving: &Leaving) -> orchestrator::Leaving {
    let until_u_sec = leaving.until_usec();
    let archived = until_u_sec.is_some() && leaving.is_archived();
    orchestrator::Leaving {
        since_u_sec: leaving.since_usec,
        until_u_sec,
        data: leaving.data,
        kept: leaving.kept,
        archive: archived.then(|| format!("{}/{}", archive::DIRECTORY, ledger.manifest(name, leaving).file_name())),
    }
}

/// What is in effect, and who set the most that could be.
fn limits(policy: &Policy, limits: &Limits) -> Vec<Limit> {
    fn limit<T: ToString>(what: &str, value: Option<&impl ToString>, most: &policy::Limit<T>) -> Option<Limit> {
        let (value, place) = (value?.to_string(), most.place.clone());
        Some(Limit { what: what.to_owned(), value, most: most.most.to_string(), place })
    }
    let found = [
        limit("cores", limits.cpu_cores.as_ref(), &policy.cores),
        limit("memory", limits.memory.as_ref(), &policy.memory),
        limit("swap", limits.swap.as_ref(), &policy.swap),
        limit("tasks", limits.tasks.as_ref(), &policy.tasks),
        limit("processors", limits.allowed_cpus.as_ref(), &policy.cpus),
        limit("memory nodes", limits.allowed_memory_nodes.as_ref(), &policy.nodes),
        limit("read per second", limits.io_read.as_ref(), &policy.read),
        limit("written per second", limits.io_write.as_ref(), &policy.write),
        limit("reads per second", limits.io_reads.as_ref(), &policy.reads),
        limit("writes per second", limits.io_writes.as_ref(), &policy.writes),
    ];
    found.into_iter().flatten().collect()
}

pub(crate) fn host(ledger: &HostLedger, tenants: usize, servers: Servers) -> HostStatus {
    HostStatus {
        url: ledger.url.clone(),
        reference: ledger.reference.clone(),
        wanted: ledger.wanted.clone(),
        revision: ledger.revision.clone(),
        reason: ledger.reason.clone(),
        unreachable: ledger.unreachable.clone(),
        remotes: servers.remotes,
        push_mirror: servers.push_mirror,
        floor_lost: ledger.floor_lost,
        unreachable_count: ledger.back_off.count(),
        next_look_u_sec: ledger.back_off.until_usec(),
        not_in_effect: ledger.not_in_effect.clone(),
        tenants: u32::try_from(tenants).unwrap_or(u32::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::tree::{System, Tree};

    struct Files;

    impl Tree for Files {
        fn read(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
            Ok(match path {
                model::registry::PATH => Some(br#"{"version":"1.0","tenants":[]}"#.to_vec()),
                model::config::PATH => Some(b"version: \"1.0\"\nmaintenance:\n  windows: []\n".to_vec()),
                _ => None,
            })
        }

        fn has(&self, _: &str) -> bool {
            false
        }
    }

    #[test]
    fn what_the_system_repository_asks_for_in_vain_is_said() {
        let system = System::read("system", &Files).unwrap();
        let ledger =
            HostLedger { not_in_effect: model::admission::system_not_in_effect(&system), ..HostLedger::default() };
        assert_eq!(host(&ledger, 0, Servers::default()).not_in_effect, ["maintenance"]);
        let before: HostLedger = serde_json::from_str("{}").unwrap();
        assert!(host(&before, 0, Servers::default()).not_in_effect.is_empty());
    }
}
