//! The order in which tenants are started: who waits for whom, without a circle.

use model::TenantName;
use std::collections::{BTreeMap, BTreeSet};

/// Whom each tenant waits for.
pub type Waits = BTreeMap<TenantName, BTreeSet<TenantName>>;

/// How far one tenant was looked at.
enum Look {
    /// Whom it waits for is being looked at.
    Begun,
    /// It leads back to nobody.
    Done,
}

/// Takes away what would make tenants wait for themselves, always the same, and returns it. Admission lets no circle in; a
/// state that fell into other hands may hold one, and systemd would drop a job of its own choice to break it.
pub fn break_circles(waits: &mut Waits) -> Vec<(TenantName, TenantName)> {
    let mut looks: BTreeMap<TenantName, Look> = BTreeMap::new();
    let mut broken = Vec::new();
    for first in waits.keys() {
        // A list and no recursion: a chain may be as long as there are tenants.
        let mut way: Vec<(TenantName, Vec<TenantName>)> = Vec::new();
        enter(first, waits, &mut looks, &mut way);
        while let Some((tenant, left)) = way.last_mut() {
            let Some(next) = left.pop() else {
                looks.insert(tenant.clone(), Look::Done);
                way.pop();
                continue;
            };
            match looks.get(&next) {
                Some(Look::Begun) => broken.push((tenant.clone(), next)),
                Some(Look::Done) => {}
                None => enter(&next, waits, &mut looks, &mut way),
            }
        }
    }
    for (tenant, other) in &broken {
        if let Some(others) = waits.get_mut(tenant) {
            others.remove(other);
        }
    }
    broken
}

/// Begins to look at a tenant, if nobody has. Whom nothing is known of waits for nobody.
fn enter(
    tenant: &TenantName,
    waits: &Waits,
    looks: &mut BTreeMap<TenantName, Look>,
    way: &mut Vec<(TenantName, Vec<TenantName>)>,
) {
    if looks.contains_key(tenant) {
        return;
    }
    let Some(others) = waits.get(tenant) else { return };
    looks.insert(tenant.clone(), Look::Begun);
    way.push((tenant.clone(), others.iter().rev().cloned().collect()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn waits(edges: &[(&str, &str)]) -> Waits {
        let name = |text: &str| text.parse::<TenantName>().unwrap();
        let mut waits = Waits::new();
        for (tenant, other) in edges {
            waits.entry(name(other)).or_default();
            waits.entry(name(tenant)).or_default().insert(name(other));
        }
        waits
    }

    fn said(broken: &[(TenantName, TenantName)]) -> Vec<String> {
        broken.iter().map(|(tenant, other)| format!("{tenant} {other}")).collect()
    }

    #[test]
    fn a_circle_is_broken_once_and_a_chain_is_left_alone() {
        let mut chain = waits(&[("web", "db"), ("db", "store"), ("mail", "db")]);
        let before = chain.clone();
        assert!(break_circles(&mut chain).is_empty());
        assert_eq!(chain, before);
        let mut circle = waits(&[("a", "b"), ("b", "c"), ("c", "a"), ("d", "a")]);
        assert_eq!(said(&break_circles(&mut circle)), ["c a"]);
        assert_eq!(
            circle["d".parse::<TenantName>().unwrap().as_str().parse::<TenantName>().as_ref().unwrap()].len(),
            1
        );
        assert_eq!(said(&break_circles(&mut waits(&[("a", "a")]))), ["a a"]);
    }

    proptest! {
        #[test]
        fn what_is_left_has_an_order(edges in proptest::collection::vec((0..12_u8, 0..12_u8), 0..60)) {
            let name = |number: u8| format!("t{number}").parse::<TenantName>().unwrap();
            let mut left = Waits::new();
            for (tenant, other) in &edges {
                left.entry(name(*tenant)).or_default().insert(name(*other));
            }
            let before: usize = left.values().map(BTreeSet::len).sum();
            let broken = break_circles(&mut left);
            prop_assert_eq!(before, broken.len() + left.values().map(BTreeSet::len).sum::<usize>());
            prop_assert!(break_circles(&mut left.clone()).is_empty());
            // Start whoever waits for nobody that is left, until all are started.
            let mut waiting = left;
            while !waiting.is_empty() {
                let ready: Vec<_> = waiting
                    .iter()
                    .filter(|(_, others)| others.iter().all(|other| !waiting.contains_key(other)))
                    .map(|(tenant, _)| tenant.clone())
                    .collect();
                prop_assert!(!ready.is_empty(), "{waiting:?}");
                ready.iter().for_each(|tenant| drop(waiting.remove(tenant)));
            }
        }
    }
}
