//! In which order tenants begin: who depends on others begins when each of those holds.

use crate::TenantLedger;
use model::{DesiredTenant, TenantName};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// Another tenant that has to hold first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Awaited {
    /// Which.
    pub tenant: TenantName,
    /// Why it will not hold before somebody does something; none if it is on its way.
    pub stuck: Option<&'static str>,
}

/// The first of those that `desired` depends on which does not hold, if any. One that will not hold by itself comes first.
#[must_use]
pub fn awaited(desired: &DesiredTenant, ledger: &BTreeMap<TenantName, TenantLedger>) -> Option<Awaited> {
    missing(desired, ledger, &mut BTreeSet::new())
}

fn missing(
    desired: &DesiredTenant,
    ledger: &BTreeMap<TenantName, TenantLedger>,
    seen: &mut BTreeSet<TenantName>,
) -> Option<Awaited> {
    let missing = desired.depends_on.iter().filter(|other| !ledger.get(*other).is_some_and(TenantLedger::holds));
    let awaited = missing.map(|other| Awaited { tenant: other.clone(), stuck: stuck(other, ledger, seen) });
    awaited.min_by_key(|awaited| awaited.stuck.is_none())
}

/// Admission lets nobody wait for himself, and what older states remember is only `seen` once.
fn stuck(
    name: &TenantName,
    ledger: &BTreeMap<TenantName, TenantLedger>,
    seen: &mut BTreeSet<TenantName>,
) -> Option<&'static str> {
    let Some(other) = ledger.get(name).filter(|other| other.registered) else { return Some("is not registered") };
    let is_enabled = other.target.as_ref().map(|target| target.enabled);
    if is_enabled == Some(false) {
        Some("should not run")
    } else if other.gave_up() {
        Some("did not hold")
    } else if other.rests() {
        Some("is suspended")
    } else if is_enabled.is_none() && other.reason.is_some() {
        Some("is refused")
    } else if is_enabled.is_none() && other.unreachable.is_some() {
        Some("cannot be fetched")
    } else if let Some(target) = other.target.as_ref().filter(|_| seen.insert(name.clone())) {
        missing(target, ledger, seen).and_then(|awaited| awaited.stuck).map(|_| "waits for another")
    } else {
        None
    }
}

impl fmt::Display for Awaited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tenant, stuck } = self;
        write!(f, "it waits for {tenant}, which {}", stuck.unwrap_or("does not hold yet"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world;

    fn says(change: impl FnOnce(&mut TenantLedger)) -> Option<String> {
        let (db, web): (TenantName, TenantName) = ("db".parse().unwrap(), "web".parse().unwrap());
        let mut other = TenantLedger::new(0);
        other.admit(world::desired("db", 'a'));
        change(&mut other);
        let desired = DesiredTenant { depends_on: vec![db.clone()], ..world::desired("web", 'a') };
        let ledger = BTreeMap::from([(db, other), (web, TenantLedger::new(0))]);
        awaited(&desired, &ledger).map(|awaited| awaited.to_string())
    }

    #[test]
    fn one_that_holds_is_not_waited_for() {
        assert_eq!(says(|other| other.settle(1)), None);
        let refused_later = |other: &mut TenantLedger| {
            other.settle(1);
            other.refuse("b".repeat(40).parse().unwrap(), "no".to_owned(), 2);
        };
        assert_eq!(says(refused_later), None, "what held goes on");
    }

    #[test]
    fn who_waits_for_one_that_is_stuck_is_stuck_too() {
        let name = |name: &str| name.parse::<TenantName>().unwrap();
        let on = |others: &[&str]| {
            let mut ledger = TenantLedger::new(0);
            let depends_on = others.iter().map(|other| name(other)).collect();
            ledger.admit(DesiredTenant { depends_on, ..world::desired("any", 'a') });
            ledger
        };
        let web = DesiredTenant { depends_on: vec![name("cache"), name("app")], ..world::desired("web", 'a') };
        let mut ledger = BTreeMap::from([(name("cache"), on(&[])), (name("app"), on(&["db"])), (name("db"), on(&[]))]);
        assert_eq!(awaited(&web, &ledger).unwrap().to_string(), "it waits for cache, which does not hold yet");
        ledger.get_mut("db").unwrap().suspend(1);
        assert_eq!(awaited(&web, &ledger).unwrap().to_string(), "it waits for app, which waits for another");
        ledger.insert(name("db"), on(&["app"]));
        assert_eq!(awaited(&web, &ledger).unwrap().stuck, None, "a circle has an end");
    }

    #[test]
    fn why_one_does_not_hold_is_said() {
        let yet = Some("it waits for db, which does not hold yet".to_owned());
        assert_eq!(says(|_| ()), yet);
        let rebooted = |other: &mut TenantLedger| {
            other.settle(1);
            other.boot(2);
        };
        assert_eq!(says(rebooted), yet, "after a boot it has to hold anew");
        type Change = fn(&mut TenantLedger);
        let for_ever: [(Change, &str); 6] = [
            (|other| other.register(false, 1), "is not registered"),
            (|other| other.target.as_mut().unwrap().enabled = false, "should not run"),
            (|other| assert_eq!(other.fail(String::new(), 1), crate::Verdict::GiveUp), "did not hold"),
            (|other| assert!(other.suspend(1)), "is suspended"),
            (|other| (other.target, other.reason) = (None, Some(String::new())), "is refused"),
            (|other| (other.target, other.unreachable) = (None, Some(String::new())), "cannot be fetched"),
        ];
        for (change, why) in for_ever {
            assert_eq!(says(change), Some(format!("it waits for db, which {why}")));
        }
    }
}
