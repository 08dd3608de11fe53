//! Which slot a tenant gets: the one it has, the one its processes still use, or the lowest that nobody claims.

use crate::ledger::TenantLedger;
use model::{
    TenantName,
    identity::{Slot, UidRange},
};
use std::collections::{BTreeMap, BTreeSet};

/// The slot for `tenant`. `in_use` are the slots that the tenant manager holds for tenants, whatever the ledger says: a
/// ledger may be lost, and what still runs or has data keeps its uids.
#[must_use]
pub fn slot(
    tenant: &TenantName,
    ledger: &BTreeMap<TenantName, TenantLedger>,
    in_use: &BTreeMap<TenantName, Slot>,
    reserved: &[UidRange],
) -> Option<Slot> {
    if let Some(slot) = ledger.get(tenant).and_then(|entry| entry.slot).or_else(|| in_use.get(tenant).copied()) {
        return Some(slot);
    }
    let taken: BTreeSet<Slot> =
        ledger.values().filter_map(|entry| entry.slot).chain(in_use.values().copied()).collect();
    Slot::lowest_free(|slot| taken.contains(&slot), reserved)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_two_tenants_ever_share_a_slot(
            order in proptest::collection::vec(0u8..12, 1..40),
            used in proptest::collection::btree_map(0u8..12, 0u16..20, 0..4),
            reserved in proptest::collection::vec((0u32..20, 1u32..3), 0..4),
        ) {
            let name = |n: u8| format!("t{n}").parse::<TenantName>().unwrap();
            let mut distinct = BTreeSet::new();
            let in_use: BTreeMap<_, _> = used.into_iter().filter(|(_, s)| distinct.insert(*s)).map(|(n, s)| (name(n), Slot::new(s).unwrap())).collect();
            let reserved: Vec<UidRange> = reserved.into_iter().map(|(s, n)| UidRange { first: 0x4000_0000 + s * 65536, count: n * 65536 }).collect();
            let mut ledger: BTreeMap<TenantName, TenantLedger> = BTreeMap::new();
            for n in order {
                let slot = slot(&name(n), &ledger, &in_use, &reserved).unwrap();
                let entry = ledger.entry(name(n)).or_insert_with(|| TenantLedger::new(0));
                prop_assert!(entry.slot.is_none_or(|held| held == slot), "a tenant's slot changed");
                entry.slot = Some(slot);
            }
            let slots: BTreeSet<_> = ledger.values().map(|entry| entry.slot).collect();
            prop_assert_eq!(slots.len(), ledger.len());
        }
    }
}
