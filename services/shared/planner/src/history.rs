//! What became of a tenant, read off the change of what is remembered of it: there is no second place that could say
//! otherwise.

use crate::ledger::TenantLedger;
use model::{
    Revision,
    progress::{EventKind, TenantState},
};
use serde::{Deserialize, Serialize};

/// Of a reason and of a line of a plan, so much is kept. A repository can make the one long, and many forwards the other.
const LONGEST: (usize, usize) = (4096, 1024);
/// No plan has so many steps.
const MOST_STEPS: usize = 32;

/// Something that became of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Event {
    /// What.
    pub kind: EventKind,
    /// When, in microseconds since 1970.
    pub at_usec: u64,
    /// Which commit it is about.
    pub revision: Option<Revision>,
    /// The generation of the last change by then.
    pub generation: u64,
    /// Why.
    pub reason: Option<String>,
    /// The steps, a line each, if they were planned.
    pub plan: Vec<String>,
}

/// What became of a tenant when `before` turned into `after` at `now`, in order.
#[must_use]
pub fn events(before: &TenantLedger, after: &TenantLedger, now_usec: u64) -> Vec<Event> {
    let mut events = Vec::new();
    let mut event = |kind, revision: Option<&Revision>, reason: Option<&String>, plan: &[String]| {
        events.push(Event {
            kind,
            at_usec: now_usec,
            revision: revision.cloned(),
            generation: after.generation,
            reason: reason.map(|reason| clipped(reason, LONGEST.0)),
            plan: plan.iter().take(MOST_STEPS).map(|line| clipped(line, LONGEST.1)).collect(),
        });
    };
    let target = after.target.as_ref().map(|target| &target.revision);
    match (before.registered, after.registered) {
        (true, false) => event(EventKind::Left, None, None, &[]),
        (false, true) => event(EventKind::Registered, None, None, &[]),
        (true, true) | (false, false) => {}
    }
    match (before.suspended_since_usec, after.suspended_since_usec) {
        (None, Some(_)) => event(EventKind::Suspended, target, None, &[]),
        (Some(_), None) if after.registered => event(EventKind::Resumed, target, None, &[]),
        _ => {}
    }
    if !before.retrying
        && after.retrying
        && let Some(given_up) = &after.quarantined
    {
        event(EventKind::Retried, Some(&given_up.revision), None, &[]);
    }
    if let (Some(leaving), None | Some(_)) = (&before.leaving, &after.leaving)
        && !leaving.done
        && after.leaving.as_ref().is_none_or(|after| after.done)
        && before.slot.is_some()
        && after.slot.is_none()
    {
        event(EventKind::Removed, leaving.revision.as_ref(), Some(&leaving.left_behind()), &[]);
    }
    if let (Some(leaving), Some(now)) = (&before.leaving, &after.leaving)
        && !leaving.kept
        && now.kept
    {
        event(EventKind::Kept, leaving.revision.as_ref(), None, &[]);
    }
    if before.trial.is_some() && after.trial.is_none() && after.registered && before.target == after.target {
        event(EventKind::Confirmed, target, None, &[]);
    }
    if !before.floor_lost && after.floor_lost {
        event(EventKind::FloorLost, None, None, &[]);
    }
    if was_admitted(before, after) {
        event(EventKind::Admitted, target, None, &[]);
    }
    if after.quarantined.is_some() && after.quarantined != before.quarantined {
        let revision = after.quarantined.as_ref().map(|given_up| &given_up.revision);
        event(EventKind::Failed, revision, after.reason.as_ref(), &[]);
    } else if let Some(reason) = after.rollback_reason.as_ref().or(after.reason.as_ref())
        && after.state == TenantState::Failed
        && says(before) != says(after)
    {
        event(EventKind::Failed, target, Some(reason), &[]);
    }
    // How much room there is, say, differs from look to look and is no other refusal.
    let numberless = |reason: &String| reason.chars().filter(|c| !c.is_ascii_digit()).collect::<String>();
    let asked = |ledger: &TenantLedger| (ledger.wanted.clone(), ledger.reason.as_ref().map(numberless));
    if after.state == TenantState::Refused && after.reason.is_some() && asked(before) != asked(after) {
        event(EventKind::Refused, after.wanted.as_ref(), after.reason.as_ref(), &[]);
    }
    if after.generation > before.generation {
        event(EventKind::Planned, target.filter(|_| after.registered), None, &after.plan);
    }
    let settled = |ledger: &TenantLedger| (ledger.state, ledger.verified.clone());
    if settled(before) != settled(after) {
        match after.state {
            TenantState::Verified => event(EventKind::Verified, target, None, &[]),
            TenantState::Confirming => event(EventKind::Confirming, target, None, &[]),
            TenantState::Leaving => event(EventKind::Stopped, None, None, &[]),
            // Who left was stopped when it did.
            TenantState::Stopped
                if before.state == TenantState::Leaving || !after.registered && before.slot.is_some() => {}
            TenantState::Stopped => event(EventKind::Stopped, target.filter(|_| after.registered), None, &[]),
            TenantState::RolledBack => event(EventKind::RolledBack, target, after.reason.as_ref(), &[]),
            // The last verified commit was applied anew, and holds; another was refused before.
            TenantState::Refused if before.state == TenantState::Applying || before.state == TenantState::Verifying => {
                event(EventKind::Verified, target, None, &[]);
            }
            TenantState::Pending
            | TenantState::Refused
            | TenantState::Applying
            | TenantState::Verifying
            | TenantState::Failed => {}
        }
    }
    events
}

/// The commit of the system repository that is followed, the one that it names, and why that is not followed.
pub type Registry = (Option<Revision>, Option<Revision>, Option<String>);

/// What became of the system repository when `before` turned into `after` at `now`.
#[must_use]
pub fn of_registry(before: &Registry, after: Registry, now_usec: u64) -> Option<Event> {
    let (kind, revision, reason) = match after {
        (_, wanted, Some(reason)) if before.1 != wanted || before.2.as_ref() != Some(&reason) => {
            (EventKind::Refused, wanted, Some(clipped(&reason, LONGEST.0)))
        }
        (followed, _, None) if before.0 != followed || before.2.is_some() => (EventKind::Verified, followed, None),
        _ => return None,
    };
    Some(Event { kind, at_usec: now_usec, revision, generation: 0, reason, plan: Vec::new() })
}

/// The first event of a tenant that was not known.
#[must_use]
pub fn registered(now_usec: u64) -> Event {
    let kind = EventKind::Registered;
    Event { kind, at_usec: now_usec, revision: None, generation: 0, reason: None, plan: Vec::new() }
}

/// What its repository names became the target. Going back, starting what was verified after a boot, and another try, of
/// which it was said that somebody asked for it, are something else.
fn was_admitted(before: &TenantLedger, after: &TenantLedger) -> bool {
    let Some(target) = after.target.as_ref().filter(|_| after.target != before.target) else { return false };
    let back = after.target == after.verified && after.wanted == before.wanted;
    let again = after.target == before.quarantined;
    after.wanted.as_ref() == Some(&target.revision) && after.quarantined.is_none() && !back && !again
}

fn says(ledger: &TenantLedger) -> (TenantState, Option<&String>, Option<&String>) {
    (ledger.state, ledger.reason.as_ref(), ledger.rollback_reason.as_ref())
}

fn clipped(text: &str, longest: usize) -> String {
    if text.len() <= longest {
        return text.to_owned();
    }
    let end = (0..=longest).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::desired;

    /// A tenant and what became of it.
    struct Story {
        ledger: TenantLedger,
        now: u64,
        told: Vec<String>,
    }

    impl Story {
        fn then(&mut self, change: impl FnOnce(&mut TenantLedger, u64)) -> &mut Self {
            let before = self.ledger.clone();
            self.now += 1;
            change(&mut self.ledger, self.now);
            for event in events(&before, &self.ledger, self.now) {
                let Event { kind, at_usec, revision, generation, reason, plan } = event;
                let commit = revision.map_or("-".to_owned(), |revision| revision.as_str()[..1].to_owned());
                self.told.push(format!(
                    "{at_usec} {kind} {commit} {generation} {} {}",
                    reason.unwrap_or_default(),
                    plan.join(";")
                ));
            }
            self
        }

        fn applies(&mut self) -> &mut Self {
            self.then(|ledger, now| {
                ledger.generation += 1;
                ledger.plan = vec!["start".to_owned()];
                ledger.proven = false;
                ledger.enter(TenantState::Applying, now);
            })
            .then(|ledger, now| ledger.enter(TenantState::Verifying, now))
        }
    }

    fn admit(digit: char) -> impl FnOnce(&mut TenantLedger, u64) {
        move |ledger, _| {
            ledger.admit(desired("web", digit));
        }
    }

    fn fail(reason: &str) -> impl FnOnce(&mut TenantLedger, u64) {
        move |ledger, now| {
            ledger.fail(reason.to_owned(), now);
        }
    }

    #[test]
    fn a_life_is_told_in_order_and_nothing_twice() {
        let mut story = Story { ledger: TenantLedger::new(0), now: 0, told: Vec::new() };
        story.then(admit('a')).applies().then(TenantLedger::settle).then(TenantLedger::settle).then(admit('a'));
        story.then(admit('b')).applies().then(fail("no start")).applies().then(TenantLedger::settle).then(admit('b'));
        story
            .then(|ledger, _| {
                ledger.retry();
            })
            .then(admit('b'))
            .applies()
            .then(fail("still none"));
        story.applies().then(fail("nor the other")).then(fail("nor the other"));
        let refused =
            |ledger: &mut TenantLedger, now| ledger.refuse(desired("web", 'c').revision, "schema".to_owned(), now);
        story.then(refused).then(refused).then(TenantLedger::settle);
        story
            .then(|ledger, now| {
                ledger.suspend(now);
            })
            .then(TenantLedger::boot);
        story.applies().then(TenantLedger::settle).then(|ledger, _| {
            ledger.resume();
        });
        story.then(admit('d')).then(TenantLedger::boot).then(admit('d')).applies().then(TenantLedger::settle);
        story
            .then(|ledger, now| ledger.register(false, now))
            .then(TenantLedger::settle)
            .then(|ledger, now| ledger.register(true, now));
        insta::assert_snapshot!(story.told.join("\n"));
    }

    #[test]
    fn a_first_commit_that_fails_is_told_once_and_can_be_retried() {
        let mut story = Story { ledger: TenantLedger::new(0), now: 0, told: Vec::new() };
        story.then(admit('a')).applies().then(fail("no start")).then(admit('a')).then(|ledger, _| {
            ledger.retry();
        });
        let kinds: Vec<&str> = story.told.iter().filter_map(|line| line.split(' ').nth(1)).collect();
        assert_eq!(kinds, ["admitted", "planned", "failed", "retried"]);
    }

    #[test]
    fn the_same_refusal_with_other_numbers_is_told_once() {
        let mut story = Story { ledger: TenantLedger::new(0), now: 0, told: Vec::new() };
        for (digit, reason) in [('a', "12.5G are free"), ('a', "12.4G are free"), ('a', "no image"), ('b', "no image")]
        {
            story.then(|ledger, now| ledger.refuse(desired("web", digit).revision, reason.to_owned(), now));
        }
        assert_eq!(story.told.len(), 3, "{:?}", story.told);
    }

    #[test]
    fn the_registry_is_followed_or_refused_once_for_each_commit() {
        let a = || desired("web", 'a').revision;
        let b = || desired("web", 'b').revision;
        let followed = || (Some(a()), Some(a()), None);
        let refused = || (Some(a()), Some(b()), Some("schema".to_owned()));
        let kind = |before, after| of_registry(&before, after, 1).map(|event| (event.kind, event.revision));
        assert_eq!(kind((None, None, None), followed()), Some((EventKind::Verified, Some(a()))));
        assert_eq!(kind(followed(), followed()), None);
        assert_eq!(kind(followed(), refused()), Some((EventKind::Refused, Some(b()))));
        assert_eq!(kind(refused(), refused()), None);
        assert_eq!(kind(refused(), followed()), Some((EventKind::Verified, Some(a()))));
    }

    #[test]
    fn what_a_repository_says_at_length_is_cut() {
        let before = TenantLedger::new(0);
        let mut after = before.clone();
        after.refuse(desired("web", 'a').revision, "é".repeat(5000), 1);
        let told = events(&before, &after, 1);
        assert!(told[0].reason.as_ref().is_some_and(|reason| reason.len() <= 4100 && reason.ends_with('…')));
    }
}
