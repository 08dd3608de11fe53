//! A tenant leaves, comes back, is kept, is removed.

use super::*;
use crate::world::desired;
use model::identity::Slot;
use proptest::prelude::*;

const DAY: u64 = 86_400_000_000;

fn verified(desired: DesiredTenant) -> TenantLedger {
    let mut ledger = TenantLedger::new(0);
    ledger.slot = Slot::new(3);
    assert!(ledger.admit(desired));
    ledger.settle(1);
    ledger
}

fn left() -> TenantLedger {
    let mut ledger = verified(desired("web", 'a'));
    ledger.register(false, 10);
    ledger.settle(11);
    ledger
}

#[test]
fn who_left_stays_for_its_grace_and_comes_back_as_it_was() {
    let mut ledger = left();
    assert_eq!((ledger.state, ledger.deadline()), (TenantState::Leaving, Some(10 + 7 * DAY)));
    assert!(matches!(ledger.aim(9 + 7 * DAY), Aim::Stop(_)));
    assert!(matches!(ledger.aim(10 + 7 * DAY), Aim::Remove(leaving, _) if leaving.is_archived()));
    ledger.register(true, 20);
    assert_eq!((ledger.aim(u64::MAX), ledger.deadline()), (Aim::Run(&desired("web", 'a')), None));
    assert_eq!(ledger.slot, Slot::new(3));
    // The second time counts from its own beginning.
    ledger.settle(21);
    ledger.register(false, 30);
    assert_eq!(ledger.deadline(), Some(30 + 7 * DAY));
}

#[test]
fn what_is_kept_stays_until_somebody_ends_its_grace() {
    let mut ledger = left();
    assert_eq!((ledger.keep(), ledger.keep()), (Some(true), Some(false)));
    assert!(ledger.deadline().is_none() && matches!(ledger.aim(u64::MAX), Aim::Stop(_)));
    ledger.settle(12);
    assert_eq!(ledger.state, TenantState::Leaving);
    assert_eq!((ledger.end_grace(), ledger.end_grace()), (Some(true), Some(false)));
    assert!(matches!(ledger.aim(13), Aim::Remove(..)));
    let floor = ledger.floor.clone();
    ledger.removed(14);
    assert_eq!((ledger.slot, ledger.state, ledger.is_leaving()), (None, TenantState::Stopped, false));
    assert_eq!((&ledger.floor, floor), (&Some(desired("web", 'a').revision), ledger.floor.clone()));
    assert!(ledger.keep().is_none() && ledger.end_grace().is_none());
    ledger.settle(15);
    assert_eq!((ledger.state, ledger.deadline()), (TenantState::Stopped, None), "it leaves a second time");
}

#[test]
fn its_repository_says_for_how_long_and_what_becomes_of_it() {
    let retention = |data| Retention { grace: TimeSpan::seconds(5).unwrap(), data, disabled: Data::Keep };
    for data in [Data::Archive, Data::Delete, Data::Keep] {
        let mut ledger = verified(DesiredTenant { retention: retention(data), ..desired("web", 'a') });
        ledger.register(false, 10);
        let until = (data != Data::Keep).then_some(5_000_010);
        assert_eq!(ledger.deadline(), until);
        assert_eq!(ledger.leaving.as_ref().unwrap().is_archived(), data != Data::Delete);
    }
}

#[test]
fn who_is_disabled_stays_unless_its_repository_asks_to_be_removed() {
    let off = |disabled| DesiredTenant {
        enabled: false,
        retention: Retention { disabled, ..Retention::default() },
        ..desired("web", 'a')
    };
    let ledger = verified(off(Data::Keep));
    assert_eq!((ledger.state, ledger.deadline()), (TenantState::Stopped, None));
    let mut ledger = verified(off(Data::Archive));
    assert_eq!((ledger.state, ledger.deadline()), (TenantState::Stopped, Some(1 + 7 * DAY)));
    assert!(matches!(ledger.aim(2), Aim::Run(_)));
    assert!(matches!(ledger.aim(1 + 7 * DAY), Aim::Remove(..)));
    ledger.removed(2 + 7 * DAY);
    ledger.settle(3 + 7 * DAY);
    assert!(
        ledger.deadline().is_none() && matches!(ledger.aim(u64::MAX), Aim::Run(_)),
        "it is removed again and again"
    );
    assert!(ledger.admit(desired("web", 'b')));
    ledger.settle(4 + 7 * DAY);
    assert_eq!((ledger.state, ledger.leaving.is_none()), (TenantState::Verified, true));
}

#[test]
fn what_an_older_version_left_unwritten_gets_its_grace_now() {
    let mut ledger = verified(desired("web", 'a'));
    ledger.registered = false;
    ledger.settle(50);
    assert_eq!(ledger.deadline(), Some(50 + 7 * DAY));
}

#[test]
fn who_depends_on_another_goes_before_it() {
    let name = |text: &str| text.parse::<TenantName>().unwrap();
    let needs = |on: &[&str]| {
        let depends_on = on.iter().map(|on| name(on)).collect();
        verified(DesiredTenant { depends_on, ..desired("web", 'a') })
    };
    let tenants = BTreeMap::from([
        (name("db"), needs(&[])),
        (name("shop"), needs(&["db", "mail"])),
        (name("mail"), needs(&["db"])),
        (name("web"), needs(&["stays"])),
        (name("x"), needs(&["y"])),
        (name("y"), needs(&["x"])),
    ]);
    let ordered = |names: &[&str]| order(&names.iter().map(|of| name(of)).collect::<Vec<_>>(), &tenants);
    assert_eq!(
        ordered(&["db", "mail", "shop", "web"]),
        [vec![name("shop"), name("web")], vec![name("mail")], vec![name("db")]]
    );
    assert_eq!(ordered(&["x", "y"]), [vec![name("x"), name("y")]]);
    assert!(ordered(&[]).is_empty());
}

proptest! {
    #[test]
    fn nothing_is_removed_of_who_is_enabled_or_before_the_grace_ends(
        acts in proptest::collection::vec((0..7, 0u64..4 * DAY), 0..16),
        disabled in proptest::sample::select(vec![Data::Archive, Data::Delete, Data::Keep]),
    ) {
        let retention = Retention { disabled, ..Retention::default() };
        let mut ledger = verified(DesiredTenant { retention, ..desired("web", 'a') });
        let (mut now, mut off_since, mut at_once) = (10, None, false);
        for (act, later) in acts {
            now += later;
            match act {
                0 => ledger.register(true, now),
                1 => ledger.register(false, now),
                2 => { ledger.admit(DesiredTenant { enabled: false, retention, ..desired("web", 'b') }); }
                3 => { ledger.admit(DesiredTenant { retention, ..desired("web", 'c') }); }
                4 => { at_once |= ledger.end_grace().is_some(); }
                5 => { at_once &= ledger.keep().is_none(); }
                _ => ledger.boot(now),
            }
            ledger.settle(now);
            let off = !ledger.registered || ledger.target.as_ref().is_some_and(|target| !target.enabled);
            off_since = if off { off_since.or(Some(now)) } else { None };
            at_once &= off;
            if let Aim::Remove(..) = ledger.aim(now) {
                prop_assert!(off_since.is_some_and(|since| at_once || now - since >= 7 * DAY));
            }
        }
    }
}
