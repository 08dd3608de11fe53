//! What is remembered, through what happens to a tenant.

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
fn what_is_no_commit_is_refused_until_there_is_one() {
    let mut ledger = verified('a');
    ledger.refuse_what_is_no_commit("it is a tree".to_owned(), 2);
    ledger.settle(3);
    assert_eq!((ledger.state, ledger.reason.as_deref()), (TenantState::Refused, Some("it is a tree")));
    assert_eq!((&ledger.wanted, &ledger.verified), (&None, &Some(desired("web", 'a'))));
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
    ledger.boot(2);
    assert_eq!(ledger.target, Some(desired("web", 'a')));
    assert!(ledger.admit(desired("web", 'b')), "what was under way is not taken up again");
    let mut first = TenantLedger::new(0);
    assert!(first.admit(desired("web", 'a')));
    first.boot(2);
    assert_eq!(first.target, Some(desired("web", 'a')));
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

#[test]
fn a_suspended_tenant_rests_but_for_its_verified_commit_after_a_boot() {
    let mut ledger = verified('a');
    assert!(ledger.suspend(7) && !ledger.suspend(8));
    assert_eq!((ledger.suspended_since_usec, ledger.rests()), (Some(7), true));
    ledger.boot(2);
    assert!(!ledger.rests(), "a boot starts what was verified");
    ledger.settle(9);
    assert!(ledger.rests());
    assert!(ledger.resume() && !ledger.resume() && !ledger.rests());
    // What was under way when somebody asked is not gone on with.
    assert!(ledger.admit(desired("web", 'b')) && ledger.suspend(10) && ledger.rests());
    ledger.boot(2);
    assert_eq!((ledger.target.as_ref(), ledger.rests()), (Some(&desired("web", 'a')), false));
    let mut never = TenantLedger::new(0);
    assert!(never.suspend(1));
    never.boot(2);
    assert!(never.rests(), "there is nothing verified to start");
    ledger.register(false, 2);
    assert!(!ledger.rests() && !ledger.is_suspended(), "who left is stopped");
}

#[test]
fn a_suspended_tenant_is_started_once_after_a_boot_whatever_comes_of_it() {
    let mut ledger = verified('a');
    assert!(ledger.suspend(2));
    ledger.proven = false;
    assert!(ledger.rests(), "what was begun and not finished before the suspension is taken up again");
    ledger.boot(2);
    assert!(!ledger.rests());
    assert_eq!(ledger.fail("no start".to_owned(), 3), Verdict::GiveUp);
    assert!(ledger.rests(), "it is tried again and again");
}

#[test]
fn a_retry_is_judged_before_it_is_tried() {
    let mut ledger = verified('a');
    assert!(!ledger.retry());
    assert!(ledger.admit(desired("web", 'b')));
    assert_eq!(ledger.fail("no start".to_owned(), 2), Verdict::GoBack);
    ledger.settle(3);
    assert!(ledger.retry());
    ledger.settle(4);
    assert_eq!(
        (&ledger.target, ledger.starts_anew()),
        (&Some(desired("web", 'a')), false),
        "tried before it was judged"
    );
    let mut unreachable = ledger.clone();
    assert_eq!(unreachable.fail("nor the other".to_owned(), 5), Verdict::GiveUp);
    assert!(
        unreachable.retrying && unreachable.admit(desired("web", 'b')),
        "the look that was asked for is still to come"
    );
    let mut refused = ledger.clone();
    refused.refuse(desired("web", 'b').revision, "too much memory".to_owned(), 5);
    assert!(!refused.retrying && !refused.admit(desired("web", 'b')), "what was asked for was answered by the refusal");
    assert!(ledger.admit(desired("web", 'b')));
    assert_eq!((&ledger.target, &ledger.reason, ledger.starts_anew()), (&Some(desired("web", 'b')), &None, true));
    assert_eq!(ledger.fail("again".to_owned(), 6), Verdict::GoBack, "the verified one is still there to go back to");
}

#[test]
fn a_first_commit_is_given_up_until_its_retry_is_admitted() {
    let mut first = TenantLedger::new(0);
    assert!(first.admit(desired("web", 'a')));
    assert_eq!(first.fail("no start".to_owned(), 1), Verdict::GiveUp);
    assert!(first.retry() && first.gave_up());
    assert!(first.admit(desired("web", 'a')) && first.starts_anew() && !first.gave_up());
    assert!(!first.admit(desired("web", 'a')) && first.starts_anew(), "a look at the same commit takes nothing back");
    first.settle(2);
    assert!(!first.retrying);
}

#[test]
fn what_is_refused_after_something_failed_is_refused() {
    let mut ledger = verified('a');
    assert!(ledger.admit(desired("web", 'b')));
    assert_eq!(ledger.fail("no start".to_owned(), 2), Verdict::GoBack);
    ledger.settle(3);
    ledger.refuse(desired("web", 'c').revision, "schema".to_owned(), 4);
    ledger.settle(5);
    assert_eq!(ledger.state, TenantState::Refused);
    assert!(!ledger.admit(desired("web", 'a')), "what runs is asked for again");
    ledger.settle(6);
    assert_eq!((ledger.state, ledger.reason, ledger.quarantined), (TenantState::Verified, None, None));
}

#[test]
fn what_exists_and_was_forgotten_is_said_until_another_commit_holds() {
    let mut ledger = TenantLedger::new(0);
    assert!(!ledger.found(false) && ledger.found(true) && !ledger.found(true));
    ledger.refuse(desired("web", 'a').revision, "schema".to_owned(), 1);
    ledger.settle(2);
    assert!(ledger.admit(desired("web", 'b')));
    ledger.settle(3);
    ledger.settle(4);
    assert!(ledger.floor_lost, "the first commit that holds says nothing of what was before");
    assert!(ledger.admit(desired("web", 'c')));
    ledger.settle(5);
    assert!(!ledger.floor_lost && !ledger.found(true));

    let mut recalled = TenantLedger { floor: Some(desired("web", 'a').revision), ..TenantLedger::new(0) };
    assert!(!recalled.found(true), "a copy was there");
    assert!(!verified('a').found(true));
}
