//! How a tenant leaves: it is stopped at once, can come back as it was for a while, and is removed after that. The deadline is
//! compared with a time that is passed in.

use super::TenantLedger;
use model::{
    DesiredTenant, Revision, TenantName,
    archive::Manifest,
    progress::TenantState,
    retention::{Data, Retention},
    time::TimeSpan,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What is remembered of a tenant that leaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Leaving {
    /// Since when, in microseconds since 1970.
    pub since_usec: u64,
    /// How long it can come back as it was.
    pub grace: TimeSpan,
    /// What becomes of its data then.
    pub data: Data,
    /// Whether somebody asked that it stay as it is until told otherwise.
    pub kept: bool,
    /// Whether somebody asked that the grace end at once.
    pub at_once: bool,
    /// Whether nothing is left of it.
    pub done: bool,
    /// The commit that held last.
    pub revision: Option<Revision>,
}

impl Leaving {
    /// Until when it can come back as it was, in microseconds since 1970; none if it stays until told otherwise.
    #[must_use]
    pub fn until_usec(&self) -> Option<u64> {
        let grace = u64::try_from(self.grace.duration().as_micros()).unwrap_or(u64::MAX);
        match (self.done || self.kept, self.at_once, self.data) {
            (true, ..) | (false, false, Data::Keep) => None,
            (false, true, _) => Some(self.since_usec),
            (false, false, Data::Archive | Data::Delete) => Some(self.since_usec.saturating_add(grace)),
        }
    }

    fn is_over(&self, now_usec: u64) -> bool {
        self.until_usec().is_some_and(|until| until <= now_usec)
    }

    /// What became of its data, in words.
    #[must_use]
    pub fn left_behind(&self) -> String {
        if self.is_archived() { "its data was archived".to_owned() } else { "its data was deleted".to_owned() }
    }

    /// Whether its data is packed into one file before it goes. What was to stay and is removed after all is, too.
    #[must_use]
    pub fn is_archived(&self) -> bool {
        self.data != Data::Delete
    }
}

/// What a tenant is to be made into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aim<'a> {
    /// Nothing was admitted yet: what there is of it is left alone.
    Nothing,
    /// This.
    Run(&'a DesiredTenant),
    /// It does not run, and all of it stays, for this reason.
    Stop(&'static str),
    /// Nothing of it is left, for this reason.
    Remove(&'a Leaving, &'static str),
}

impl TenantLedger {
    /// What the tenant is to be made into at `now`.
    #[must_use]
    pub fn aim(&self, now_usec: u64) -> Aim<'_> {
        let over = self.leaving.as_ref().filter(|leaving| leaving.is_over(now_usec));
        match (self.registered, &self.target, over) {
            (false, _, Some(leaving)) => Aim::Remove(leaving, "it has left, and its grace is over"),
            (false, _, None) => Aim::Stop("it is not registered any more"),
            (true, None, _) => Aim::Nothing,
            (true, Some(_), _) if self.stays_down() => Aim::Stop("nobody confirmed its first commit"),
            (true, Some(target), Some(leaving)) if !target.enabled => {
                Aim::Remove(leaving, "its repository says that it should not run, and its grace is over")
            }
            (true, Some(target), _) => Aim::Run(target),
        }
    }

    /// The registry names it, or does not any more. Who comes back is not suspended.
    pub fn register(&mut self, registered: bool, now_usec: u64) {
        let left = self.registered && !registered;
        self.registered = registered;
        if registered {
            self.leaving = None;
        } else {
            self.suspended_since_usec = None;
            (self.trial_asked, self.trial) = (None, None);
        }
        if left {
            self.leave(|retention| retention.data, now_usec);
        }
    }

    fn leave(&mut self, data: impl Fn(&Retention) -> Data, now_usec: u64) {
        let last = self.verified.as_ref().or(self.target.as_ref());
        let retention = last.map(|last| last.retention).unwrap_or_default();
        self.leaving = Some(Leaving {
            since_usec: now_usec,
            grace: retention.grace,
            data: data(&retention),
            kept: false,
            at_once: false,
            done: false,
            revision: last.map(|last| last.revision.clone()),
        });
    }

    /// Of who is not registered nothing runs.
    pub(super) fn settle_absent(&mut self, now_usec: u64) {
        self.unconverged = None;
        if self.leaving.is_none() && self.slot.is_some() {
            // An older version did not write down when it left.
            self.leave(|retention| retention.data, now_usec);
        }
        self.enter(if self.leaving.is_some() { TenantState::Leaving } else { TenantState::Stopped }, now_usec);
    }

    /// The target holds: one that should not run leaves too, if its repository asks for that.
    pub(super) fn settle_disabled(&mut self, now_usec: u64) {
        match &self.target {
            Some(target) if !target.enabled && target.retention.disabled != Data::Keep => {
                if self.leaving.is_none() {
                    self.leave(|retention| retention.disabled, now_usec);
                }
            }
            Some(_) | None => self.leaving = None,
        }
    }

    /// Nothing of it is on the host any more: what it owned is free. How far its history had come is still known.
    pub fn removed(&mut self, now_usec: u64) {
        self.slot = None;
        if self.registered {
            if let Some(leaving) = &mut self.leaving {
                leaving.done = true;
            }
        } else {
            self.leaving = None;
            self.plan = Vec::new();
            self.enter(TenantState::Stopped, now_usec);
        }
    }

    /// Whether it has left, or is stopped for good, and something of it may still be there.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.leaving.as_ref().is_some_and(|leaving| !leaving.done)
    }

    /// Keeps what is there of a tenant that left until told otherwise. Returns whether that changes anything; nothing if it
    /// does not leave.
    pub fn keep(&mut self) -> Option<bool> {
        let leaving = self.leaving.as_mut().filter(|leaving| !leaving.done)?;
        let before = (leaving.kept, leaving.at_once);
        (leaving.kept, leaving.at_once) = (true, false);
        Some(before != (true, false))
    }

    /// Ends the grace of a tenant that left. Returns whether that changes anything; nothing if it does not leave.
    pub fn end_grace(&mut self) -> Option<bool> {
        let leaving = self.leaving.as_mut().filter(|leaving| !leaving.done)?;
        let before = (leaving.kept, leaving.at_once);
        (leaving.kept, leaving.at_once) = (false, true);
        Some(before != (false, true))
    }

    /// When it has to be looked at again whatever happens until then, in microseconds since 1970.
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        let trial = self.trial.filter(|_| !self.gave_up());
        let trial = trial.and_then(|trial| if trial.rejected { Some(0) } else { trial.until_usec });
        let leaving = self.leaving.as_ref().filter(|_| !self.registered || self.is_disabled());
        [trial, leaving.and_then(Leaving::until_usec)].into_iter().flatten().min()
    }

    fn is_disabled(&self) -> bool {
        self.target.as_ref().is_some_and(|target| !target.enabled)
    }

    /// What its archive says of it.
    #[must_use]
    pub fn manifest(&self, tenant: &TenantName, leaving: &Leaving) -> Manifest {
        let last = self.verified.as_ref().or(self.target.as_ref());
        Manifest {
            tenant: tenant.clone(),
            left_u_sec: leaving.since_usec,
            repository: self.origin.as_ref().map(|origin| origin.repository.clone()),
            reference: self.origin.as_ref().map(|origin| origin.reference.clone()),
            revision: leaving.revision.clone(),
            image: last.map(|last| last.image.clone()),
            uids: self.slot.map(model::identity::Slot::uids),
        }
    }
}

/// Those of `leaving` in the order in which they are stopped: who depends on another goes before it, and who depends on
/// nobody of them goes with others.
#[must_use]
pub fn order(leaving: &[TenantName], tenants: &BTreeMap<TenantName, TenantLedger>) -> Vec<Vec<TenantName>> {
    let needs = |tenant: &TenantName| {
        let ledger = tenants.get(tenant);
        let last = ledger.and_then(|ledger| ledger.target.as_ref().or(ledger.verified.as_ref()));
        last.map(|last| last.depends_on.as_slice()).unwrap_or_default()
    };
    let mut left: BTreeSet<&TenantName> = leaving.iter().collect();
    let mut order = Vec::new();
    while !left.is_empty() {
        let needed: BTreeSet<&TenantName> = left.iter().flat_map(|tenant| needs(tenant)).collect();
        let mut next: BTreeSet<&TenantName> = left.iter().copied().filter(|tenant| !needed.contains(tenant)).collect();
        if next.is_empty() {
            // Admission refuses circles; what an older ledger says does not hold anybody up.
            next.clone_from(&left);
        }
        left.retain(|tenant| !next.contains(tenant));
        order.push(next.into_iter().cloned().collect());
    }
    order
}

#[cfg(test)]
#[path = "leaving_tests.rs"]
mod tests;
