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
    /// When its health is decided, in microseconds since 1970, while it is being verified.
    pub verify_at_usec: Option<u64>,
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
            verified: None,
            quarantined: None,
            reason: None,
            unreachable: None,
            unconverged: None,
            plan: Vec::new(),
            verify_at_usec: None,
        }
    }

    /// Changes the state; `since` moves only if it is another one.
    pub fn enter(&mut self, state: TenantState, now_usec: u64) {
        if self.state != state {
            self.state = state;
            self.since_usec = now_usec;
        }
        if state != TenantState::Verifying {
            self.verify_at_usec = None;
        }
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
            self.enter(TenantState::Stopped, now_usec);
            return;
        };
        let wanted = self.wanted.as_ref().is_none_or(|wanted| *wanted == target.revision);
        let state = match (target.enabled, wanted, self.quarantined.is_some()) {
            (_, false, true) => TenantState::RolledBack,
            (_, false, false) => TenantState::Refused,
            (true, true, _) => TenantState::Verified,
            (false, true, _) => TenantState::Stopped,
        };
        if wanted {
            self.reason = None;
            self.quarantined = None;
        }
        self.verified = self.target.clone();
        self.unconverged = None;
        self.enter(state, now_usec);
    }

    /// The target did not hold.
    pub fn fail(&mut self, reason: String, now_usec: u64) -> Verdict {
        let failed = self.target.take();
        self.unconverged = None;
        match &self.verified {
            Some(verified) if failed.as_ref() != Some(verified) => {
                self.target = Some(verified.clone());
                self.quarantined = failed;
                self.reason = Some(reason);
                Verdict::GoBack
            }
            Some(_) | None => {
                // Going back failed too: both reasons count.
                let first = self.quarantined.as_ref().and(self.reason.take());
                self.reason = Some(match first {
                    Some(first) => format!("{first}\ngoing back to the last verified commit failed too: {reason}"),
                    None => reason,
                });
                if self.verified.is_none() {
                    self.quarantined = failed.clone();
                }
                self.target = failed;
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
        assert!(ledger.admit(desired("web", 'c')));
        ledger.settle(5);
        assert_eq!((ledger.state, ledger.reason, ledger.since_usec), (TenantState::Verified, None, 5));
    }

    #[test]
    fn a_first_commit_that_fails_has_nothing_to_go_back_to() {
        let mut ledger = TenantLedger::new(0);
        assert!(ledger.admit(desired("web", 'a')));
        assert_eq!(ledger.fail("no start".to_owned(), 1), Verdict::GiveUp);
        assert_eq!(ledger.state, TenantState::Failed);
        assert!(ledger.admit(desired("web", 'b')));
    }

    #[test]
    fn a_rollback_that_fails_keeps_both_reasons() {
        let mut ledger = verified('a');
        assert!(ledger.admit(desired("web", 'b')));
        assert_eq!(ledger.fail("first".to_owned(), 2), Verdict::GoBack);
        assert_eq!(ledger.fail("second".to_owned(), 3), Verdict::GiveUp);
        assert_eq!(ledger.reason.as_deref(), Some("first\ngoing back to the last verified commit failed too: second"));
        assert_eq!(ledger.target, Some(desired("web", 'a')), "the verified commit stays the target");
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
