//! A commit on trial: it runs, holds, and goes back by itself unless somebody confirms it in time.

use super::TenantLedger;
use model::{Revision, progress::TenantState, time::TimeSpan};
use serde::{Deserialize, Serialize};

/// Why a commit goes back that was on trial when the host went down.
const BOOTED: &str = "the host was booted before anybody confirmed it";

/// What is remembered of the target while nobody has confirmed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Trial {
    /// How long somebody has to confirm it once it holds.
    pub time: TimeSpan,
    /// Until when, in microseconds since 1970; none as long as it has not held.
    pub until_usec: Option<u64>,
    /// Whether somebody does not want it.
    pub rejected: bool,
}

impl Trial {
    /// Whether it is over at `now`. A time that lies further ahead than the whole of it comes from a clock that was set.
    fn is_over(&self, now_usec: u64) -> bool {
        let left = |until: u64| until.saturating_sub(now_usec);
        self.rejected || self.until_usec.is_some_and(|until| left(until) == 0 || left(until) > usec(self.time))
    }
}

fn usec(time: TimeSpan) -> u64 {
    u64::try_from(time.duration().as_micros()).unwrap_or(u64::MAX)
}

impl TenantLedger {
    /// The next commit that becomes the target is on trial for so long, also one that was given up.
    pub fn put_next_on_trial(&mut self, time: TimeSpan) {
        self.trial_asked = Some(time);
        self.retry();
    }

    /// The target is a new one: it is on trial if somebody asked for that or its repository wants it, unless the commit held
    /// already and only what the host makes of it is another.
    pub(super) fn begin_trial(&mut self) {
        let Some(target) = &self.target else { return };
        self.trial = if self.verified.as_ref().is_some_and(|verified| verified.revision == target.revision) {
            None
        } else {
            let time = self.trial_asked.take().or(target.confirm);
            time.map(|time| Trial { time, until_usec: None, rejected: false })
        };
    }

    /// Whether the target was found to hold since it was last changed, be it that it still has to be confirmed.
    #[must_use]
    pub fn has_held(&self) -> bool {
        let on_trial = self.trial.is_some_and(|trial| trial.until_usec.is_some());
        self.proven && (on_trial || self.verified == self.target)
    }

    /// Whether it may sleep: its target was seen to hold, whatever was done to it since.
    #[must_use]
    pub fn may_sleep(&self) -> bool {
        self.has_held() || self.target.is_some() && self.verified == self.target
    }

    /// The target holds at `now`. Returns whether it still has to be confirmed.
    pub(super) fn is_tried(&mut self, now_usec: u64) -> bool {
        if let Some(trial) = &mut self.trial {
            trial.until_usec.get_or_insert(now_usec.saturating_add(usec(trial.time)));
        }
        self.trial.is_some()
    }

    /// Why the target goes back at `now` although it holds, if so.
    #[must_use]
    pub fn unconfirmed(&self, now_usec: u64) -> Option<String> {
        let trial = self.trial.filter(|trial| trial.is_over(now_usec) && self.registered && !self.gave_up())?;
        Some(if trial.rejected {
            "somebody rejected it".to_owned()
        } else {
            format!("nobody confirmed it within {}", trial.time)
        })
    }

    /// Whether there was nothing to go back to from a commit that nobody confirmed: it is given up and does not run.
    #[must_use]
    pub fn stays_down(&self) -> bool {
        self.gave_up() && self.trial.is_some_and(|trial| trial.until_usec.is_some() || trial.rejected)
    }

    /// Somebody confirms the commit that holds, or this one. Returns whether it waited for that.
    pub fn confirm(&mut self, revision: Option<&Revision>, now_usec: u64) -> bool {
        let is_meant = |revision: &Revision| self.target.as_ref().is_some_and(|target| target.revision == *revision);
        let waits = self.trial.is_some_and(|trial| trial.until_usec.is_some() && !trial.is_over(now_usec));
        if !waits || self.gave_up() || !revision.is_none_or(is_meant) {
            return false;
        }
        self.trial = None;
        // What is being mended just now is settled after that.
        if matches!(self.state, TenantState::Confirming | TenantState::Refused) {
            self.settle(now_usec);
        }
        true
    }

    /// Somebody does not want the commit that is on trial, or this one. Returns whether it is.
    pub fn reject(&mut self, revision: Option<&Revision>) -> bool {
        let is_meant = |revision: &Revision| self.target.as_ref().is_some_and(|target| target.revision == *revision);
        if self.gave_up() || !revision.is_none_or(is_meant) {
            return false;
        }
        self.trial.as_mut().map(|trial| trial.rejected = true).is_some()
    }

    /// The host was booted: what nobody confirmed is not started again.
    pub(super) fn boot_on_trial(&mut self, now_usec: u64) {
        let Some(trial) = self.trial.filter(|_| self.registered && !self.gave_up()) else { return };
        if trial.until_usec.is_some() || self.verified.is_some() {
            self.fail(BOOTED.to_owned(), now_usec);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Verdict, ledger::Aim, world::desired};
    use model::DesiredTenant;
    use proptest::prelude::*;

    const MINUTE: u64 = 60_000_000;

    fn wanting(digit: char) -> DesiredTenant {
        DesiredTenant { confirm: TimeSpan::seconds(60), ..desired("web", digit) }
    }

    fn tried() -> TenantLedger {
        let mut ledger = TenantLedger::new(0);
        assert!(ledger.admit(desired("web", 'a')));
        ledger.settle(1);
        assert!(ledger.admit(wanting('b')));
        ledger.settle(10);
        ledger
    }

    #[test]
    fn what_nobody_confirms_goes_back_and_is_not_tried_again() {
        let mut ledger = tried();
        assert_eq!((ledger.state, &ledger.verified), (TenantState::Confirming, &Some(desired("web", 'a'))));
        assert_eq!(ledger.floor, Some(desired("web", 'a').revision), "the floor moved before anybody confirmed");
        ledger.settle(20);
        assert_eq!(ledger.trial.unwrap().until_usec, Some(10 + MINUTE), "another look makes it longer");
        assert_eq!(ledger.unconfirmed(9 + MINUTE), None);
        let reason = ledger.unconfirmed(10 + MINUTE).unwrap();
        assert_eq!(reason, "nobody confirmed it within 1min");
        assert!(!ledger.confirm(None, 10 + MINUTE), "confirmed too late");
        assert_eq!(ledger.fail(reason, 11 + MINUTE), Verdict::GoBack);
        ledger.settle(12 + MINUTE);
        assert_eq!((ledger.state, &ledger.target), (TenantState::RolledBack, &Some(desired("web", 'a'))));
        assert!(!ledger.admit(wanting('b')));
        assert!(ledger.unconfirmed(u64::MAX).is_none());
    }

    #[test]
    fn what_is_confirmed_is_verified() {
        let mut ledger = tried();
        assert!(!ledger.confirm(Some(&desired("web", 'c').revision), 20), "another commit was confirmed");
        assert!(ledger.confirm(Some(&desired("web", 'b').revision), 20));
        assert_eq!((ledger.state, &ledger.verified), (TenantState::Verified, &Some(wanting('b'))));
        assert_eq!(ledger.floor, Some(desired("web", 'b').revision));
        assert!(!ledger.confirm(None, 21) && ledger.unconfirmed(u64::MAX).is_none());
        // Another policy makes something else of a commit that was confirmed.
        let limited = DesiredTenant { healthy_for_usec: 1, ..wanting('b') };
        assert!(ledger.admit(limited));
        ledger.settle(22);
        assert_eq!(ledger.state, TenantState::Verified);
    }

    #[test]
    fn what_is_rejected_goes_back_at_once() {
        let mut ledger = tried();
        assert!(!ledger.reject(Some(&desired("web", 'c').revision)));
        assert!(ledger.reject(None));
        assert_eq!(ledger.unconfirmed(11).as_deref(), Some("somebody rejected it"));
        assert!(!ledger.confirm(None, 11));
    }

    #[test]
    fn the_next_commit_is_on_trial_when_somebody_asks_and_one_that_was_given_up_too() {
        let mut ledger = TenantLedger::new(0);
        assert!(ledger.admit(desired("web", 'a')));
        ledger.settle(1);
        ledger.put_next_on_trial(TimeSpan::seconds(60).unwrap());
        assert!(!ledger.admit(desired("web", 'a')), "what holds is no new commit");
        ledger.settle(2);
        assert!(ledger.admit(desired("web", 'b')));
        ledger.settle(3);
        assert_eq!((ledger.state, ledger.trial_asked), (TenantState::Confirming, None));
        assert!(ledger.reject(None));
        assert_eq!(ledger.fail("somebody rejected it".to_owned(), 4), Verdict::GoBack);
        ledger.put_next_on_trial(TimeSpan::seconds(60).unwrap());
        assert!(ledger.admit(desired("web", 'b')), "it is not tried again");
        ledger.settle(5);
        assert_eq!(ledger.state, TenantState::Confirming);
    }

    #[test]
    fn a_boot_is_no_confirmation() {
        for held in [false, true] {
            let mut ledger = tried();
            if !held {
                assert!(ledger.admit(wanting('c')));
            }
            let tried = ledger.target.clone();
            ledger.boot(30);
            assert_eq!((&ledger.target, &ledger.quarantined), (&Some(desired("web", 'a')), &tried));
            assert_eq!((ledger.trial, ledger.booting), (None, true));
            ledger.settle(31);
            assert!(ledger.reason.as_ref().is_none_or(|reason| reason == BOOTED));
        }
    }

    #[test]
    fn a_first_commit_that_nobody_confirms_does_not_run() {
        let mut ledger = TenantLedger::new(0);
        assert!(ledger.admit(wanting('a')));
        assert_eq!(ledger.aim(0), Aim::Run(&wanting('a')));
        ledger.settle(10);
        assert_eq!(ledger.fail(ledger.unconfirmed(10 + MINUTE).unwrap(), 10 + MINUTE), Verdict::GiveUp);
        assert!(ledger.stays_down() && matches!(ledger.aim(11 + MINUTE), Aim::Stop(_)));
        ledger.settle(12 + MINUTE);
        assert_eq!(ledger.state, TenantState::Failed);
        assert!(ledger.retry() && ledger.admit(wanting('a')));
        assert!(!ledger.stays_down() && ledger.trial.unwrap().until_usec.is_none());
        // One that did not even hold is left for a person to look at, as any first commit.
        assert_eq!(ledger.fail("no start".to_owned(), 13 + MINUTE), Verdict::GiveUp);
        assert!(ledger.gave_up() && !ledger.stays_down());
    }

    proptest! {
        #[test]
        fn nothing_but_a_confirmation_moves_the_floor(acts in proptest::collection::vec(0..6, 0..12), confirmed in any::<bool>()) {
            let mut ledger = tried();
            let mut now = 100;
            for act in acts {
                now += 1;
                match act {
                    0 => ledger.settle(now),
                    1 => ledger.refuse(desired("web", 'd').revision, "schema".to_owned(), now),
                    2 => drop(ledger.admit(wanting('b'))),
                    3 => drop(ledger.suspend(now)),
                    4 => drop(ledger.resume()),
                    _ => ledger.boot(now),
                }
            }
            prop_assert_eq!(&ledger.floor, &Some(desired("web", 'a').revision));
            prop_assert_eq!(&ledger.verified, &Some(desired("web", 'a')));
            if confirmed && ledger.confirm(None, now) {
                ledger.settle(now);
                prop_assert_eq!(&ledger.verified, &Some(wanting('b')));
            }
        }
    }
}
