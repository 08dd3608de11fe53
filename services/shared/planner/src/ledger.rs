//! What is remembered of a tenant between one convergence and the next, and how it changes: nothing here reads a clock or
//! writes a file.

use model::{DesiredTenant, Revision, identity::Slot, progress::TenantState};
use serde::{Deserialize, Serialize};

/// One tenant's memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TenantLedger {
    /// What it owns by right; given once.
    pub slot: Option<Slot>,
    /// Whether the registry names it.
    pub registered: bool,
    /// The generation of the last change.
    pub generation: u64,
    /// How far it is.
    pub state: TenantState,
    /// Since when, in microseconds since 1970.
    pub since_usec: u64,
    /// The commit that its repository names.
    pub wanted: Option<Revision>,
    /// What the host is made into.
    pub target: Option<DesiredTenant>,
    /// The commit that every later one has to have in its history: nobody goes back behind it unasked.
    pub floor: Option<Revision>,
    /// What held last.
    pub verified: Option<DesiredTenant>,
    /// What was tried and did not hold: not tried again as long as the request is the same.
    pub quarantined: Option<DesiredTenant>,
    /// Why the wanted commit is not what runs.
    pub reason: Option<String>,
    /// Why its repository could not be fetched.
    pub unreachable: Option<String>,
    /// Why the host could not make it what it should be, the last time it tried.
    pub unconverged: Option<String>,
    /// The steps of the last plan that changed something.
    pub plan: Vec<String>,
    /// Why going back to the last verified commit did not work either.
    pub rollback_reason: Option<String>,
    /// Whether the target was found healthy since it was last changed.
    pub proven: bool,
}

/// What becomes of a tenant whose target did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The last verified request is the target again.
    GoBack,
    /// There is nothing to go back to.
    GiveUp,
}

impl TenantLedger {
    /// A tenant that was registered at `now`.
    #[must_use]
    pub fn new(now_usec: u64) -> Self {
        Self {
            slot: None,
            registered: true,
            generation: 0,
            state: TenantState::Pending,
            since_usec: now_usec,
            wanted: None,
            target: None,
            floor: None,
            verified: None,
            quarantined: None,
            reason: None,
            unreachable: None,
            unconverged: None,
            plan: Vec::new(),
            rollback_reason: None,
            proven: false,
        }
    }

    /// Changes the state; `since` moves only if it is another one.
    pub fn enter(&mut self, state: TenantState, now_usec: u64) {
        if self.state != state {
            self.state = state;
            self.since_usec = now_usec;
        }
    }

    /// Whether nothing is to be done: the first commit failed, and there is none to go back to. It is left for a person to
    /// look at until another one is pushed.
    #[must_use]
    pub fn gave_up(&self) -> bool {
        self.registered && self.target.is_some() && self.target == self.quarantined
    }

    /// The host was booted: what was verified comes first, whatever was under way. What is wanted is looked at afterwards.
    pub fn resume(&mut self) {
        self.proven = false;
        if let Some(verified) = &self.verified
            && self.target.as_ref() != Some(verified)
        {
            self.target = Some(verified.clone());
        }
    }

    /// Its repository is another one: what the former one asked for is nothing to go back to.
    pub fn moved(&mut self) {
        self.verified = None;
        self.quarantined = None;
        self.floor = None;
    }

    /// Another of its repository's histories counts from now on: what comes next need not go on from what held.
    pub fn accept_history(&mut self) {
        self.floor = None;
    }

    /// A commit was fetched and admitted. Returns whether it becomes the target: not if it is the target already, nor if it
    /// was tried and did not hold.
    pub fn admit(&mut self, desired: DesiredTenant) -> bool {
        self.wanted = Some(desired.revision.clone());
        if self.quarantined.as_ref() == Some(&desired) {
            return false;
        }
        if self.target.as_ref() == Some(&desired) {
            // What was refused in between is gone from the repository.
            if self.quarantined.is_none() && self.state != TenantState::Failed {
                self.reason = None;
            }
            return false;
        }
        self.target = Some(desired);
        self.quarantined = None;
        self.reason = None;
        self.rollback_reason = None;
        self.proven = false;
        true
    }

    /// A commit was fetched and refused. What runs goes on.
    pub fn refuse(&mut self, revision: Revision, reason: String, now_usec: u64) {
        self.wanted = Some(revision);
        self.reason = Some(reason);
        self.enter(TenantState::Refused, now_usec);
    }

    /// The host is what the target says, and healthy.
    pub fn settle(&mut self, now_usec: u64) {
        let Some(target) = self.target.as_ref().filter(|_| self.registered) else {
            self.unconverged = None;
            // Of one that is registered nothing was admitted yet, and its state says why.
            if !self.registered {
                self.enter(TenantState::Stopped, now_usec);
            }
            return;
        };
        // A commit may be refused that runs already: its policy was narrowed, or a key revoked.
        let refused = self.state == TenantState::Refused && self.reason.is_some();
        let wanted = !refused && self.wanted.as_ref().is_none_or(|wanted| *wanted == target.revision);
        let state = match (target.enabled, wanted, self.quarantined.is_some()) {
            (_, false, true) => TenantState::RolledBack,
            (_, false, false) => TenantState::Refused,
            (true, true, _) => TenantState::Verified,
            (false, true, _) => TenantState::Stopped,
        };
        if wanted {
            self.reason = None;
            self.quarantined = None;
            self.floor = Some(target.revision.clone());
        }
        self.verified = self.target.clone();
        (self.unconverged, self.rollback_reason, self.proven) = (None, None, true);
        self.enter(state, now_usec);
    }

    /// The target did not hold.
    pub fn fail(&mut self, reason: String, now_usec: u64) -> Verdict {
        self.unconverged = None;
        self.proven = false;
        match &self.verified {
            Some(verified) if self.target.as_ref() != Some(verified) => {
                self.quarantined = self.target.replace(verified.clone());
                self.reason = Some(reason);
                Verdict::GoBack
            }
            Some(_) => {
                if self.quarantined.is_some() {
                    self.rollback_reason = Some(reason);
                } else {
                    self.reason = Some(reason);
                }
                self.enter(TenantState::Failed, now_usec);
                Verdict::GiveUp
            }
            None => {
                self.quarantined = self.target.clone();
                self.reason = Some(reason);
                self.enter(TenantState::Failed, now_usec);
                Verdict::GiveUp
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::desired;

    fn verified(revision: char) -> TenantLedger {
        let mut ledger = TenantLedger::new(0);
        assert!(ledger.admit(desired("web", revision)));
        ledger.settle(1);
        assert_eq!(ledger.state, TenantState::Verified);
        ledger
    }

    #[test]
    fn a_commit_that_fails_goes_back_and_is_not_tried_again() {
        let mut ledger = verified('a');
        assert!(ledger.admit(desired("web", 'b')));
        assert_eq!(ledger.fail("no start".to_owned(), 2), Verdict::GoBack);
        assert_eq!(ledger.target, Some(desired("web", 'a')));
        ledger.settle(3);
        assert_eq!((ledger.state, ledger.reason.as_deref()), (TenantState::RolledBack, Some("no start")));
        assert!(!ledger.admit(desired("web", 'b')), "the quarantined commit was tried again");
        ledger.settle(4);
        assert_eq!(ledger.state, TenantState::RolledBack);
        assert_eq!(ledger.floor, Some(desired("web", 'a').revision), "what did not hold has to be in no history");
        assert!(ledger.admit(desired("web", 'c')));
        ledger.settle(5);
        assert_eq!(ledger.floor, Some(desired("web", 'c').revision));
        assert_eq!((ledger.state, ledger.reason, ledger.since_usec), (TenantState::Verified, None, 5));
    }

    #[test]
    fn a_first_commit_that_fails_has_nothing_to_go_back_to() {
        let mut ledger = TenantLedger::new(0);
        assert!(ledger.admit(desired("web", 'a')));
        assert_eq!(ledger.fail("no start".to_owned(), 1), Verdict::GiveUp);
        assert_eq!(ledger.state, TenantState::Failed);
        assert!(ledger.gave_up());
        let before = ledger.clone();
        assert!(!ledger.admit(desired("web", 'a')), "the commit that failed was tried again");
        assert_eq!(ledger, before);
        assert!(ledger.admit(desired("web", 'b')));
        assert!(!ledger.gave_up());
    }

    #[test]
    fn what_runs_may_be_refused_later_and_be_admitted_again() {
        let mut ledger = verified('a');
        ledger.refuse(desired("web", 'a').revision, "the key is revoked".to_owned(), 2);
        ledger.settle(3);
        assert_eq!((ledger.state, ledger.reason.as_deref()), (TenantState::Refused, Some("the key is revoked")));
        assert_eq!(ledger.verified, Some(desired("web", 'a')), "what runs is forgotten");
        assert!(!ledger.admit(desired("web", 'a')));
        ledger.settle(4);
        assert_eq!((ledger.state, ledger.reason), (TenantState::Verified, None));
    }

    #[test]
    fn a_first_commit_that_is_refused_stays_refused() {
        let mut ledger = TenantLedger::new(0);
        ledger.settle(1);
        assert_eq!(ledger.state, TenantState::Pending);
        ledger.refuse(desired("web", 'a').revision, "schema".to_owned(), 2);
        ledger.settle(3);
        assert_eq!(ledger.state, TenantState::Refused);
        ledger.registered = false;
        ledger.settle(4);
        assert_eq!(ledger.state, TenantState::Stopped);
    }

    #[test]
    fn a_rollback_that_fails_keeps_both_reasons() {
        let mut ledger = verified('a');
        assert!(ledger.admit(desired("web", 'b')));
        assert_eq!(ledger.fail("first".to_owned(), 2), Verdict::GoBack);
        assert_eq!(ledger.fail("second".to_owned(), 3), Verdict::GiveUp);
        assert_eq!((ledger.reason.as_deref(), ledger.rollback_reason.as_deref()), (Some("first"), Some("second")));
        assert_eq!(ledger.fail("third".to_owned(), 4), Verdict::GiveUp);
        assert_eq!((ledger.reason.as_deref(), ledger.rollback_reason.as_deref()), (Some("first"), Some("third")));
        assert!(!ledger.proven && !ledger.gave_up());
        assert_eq!(ledger.target, Some(desired("web", 'a')), "the verified commit stays the target");
    }

    #[test]
    fn a_boot_goes_to_the_verified_commit_and_then_on() {
        let mut ledger = verified('a');
        assert!(ledger.admit(desired("web", 'b')));
        ledger.resume();
        assert_eq!(ledger.target, Some(desired("web", 'a')));
        assert!(ledger.admit(desired("web", 'b')), "what was under way is not taken up again");
        let mut first = TenantLedger::new(0);
        assert!(first.admit(desired("web", 'a')));
        first.resume();
        assert_eq!(first.target, Some(desired("web", 'a')));
    }

    #[test]
    fn another_repository_has_nothing_to_go_back_to() {
        let mut ledger = verified('a');
        ledger.moved();
        assert!(ledger.admit(desired("web", 'b')));
        assert_eq!(ledger.fail("no start".to_owned(), 2), Verdict::GiveUp);
        assert!(ledger.gave_up());
    }

    #[test]
    fn a_refused_commit_leaves_the_target_and_is_forgotten_when_reverted() {
        let mut ledger = verified('a');
        ledger.refuse(desired("web", 'b').revision, "schema".to_owned(), 2);
        assert_eq!((ledger.state, &ledger.target), (TenantState::Refused, &Some(desired("web", 'a'))));
        ledger.settle(3);
        assert_eq!(ledger.state, TenantState::Refused);
        assert!(!ledger.admit(desired("web", 'a')));
        ledger.settle(4);
        assert_eq!((ledger.state, ledger.reason), (TenantState::Verified, None));
    }
}
