//! Which places in the network make sense by themselves and beside each other.

use model::{NetworkSpec, TenantName};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};
use thiserror::Error;

/// The place of every tenant, by name.
pub type Places = BTreeMap<TenantName, NetworkSpec>;

/// Why a place cannot be anybody's.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidPlace {
    /// A subnet for a bridge, its tenant, and the two addresses that name the subnet itself.
    #[error("a prefix of {0} bits is not one of 8 to 30")]
    Prefix(u8),
    /// The network's own or its broadcast address, or one that no link may have.
    #[error("{0} is not a host's address in a subnet of {1} bits")]
    NotAHost(Ipv4Addr, u8),
    /// The tenant could not reach its gateway.
    #[error("{address} and the gateway {gateway} are not two addresses of one subnet of {prefix_length} bits")]
    Apart {
        /// The tenant's.
        address: Ipv4Addr,
        /// The bridge's.
        gateway: Ipv4Addr,
        /// Of both.
        prefix_length: u8,
    },
    /// One port cannot lead to two.
    #[error("the host port {0} is forwarded twice")]
    Twice(String),
}

/// Somebody else is there already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// Who.
    pub tenant: TenantName,
    /// What they hold, in words.
    pub what: String,
}

/// Refuses a place that cannot work.
///
/// # Errors
/// What is wrong with it.
pub fn check(spec: &NetworkSpec) -> Result<(), InvalidPlace> {
    let prefix_length = spec.prefix_length;
    if !(8..=30).contains(&prefix_length) {
        return Err(InvalidPlace::Prefix(prefix_length));
    }
    for address in [spec.gateway, spec.address] {
        let host = address.to_bits() & !mask(prefix_length);
        let usable =
            !(address.is_loopback() || address.is_multicast() || address.is_link_local() || address.octets()[0] == 0);
        if host == 0 || host == !mask(prefix_length) || !usable || address.octets()[0] >= 240 {
            return Err(InvalidPlace::NotAHost(address, prefix_length));
        }
    }
    if subnet(spec) != spec.address.to_bits() & mask(prefix_length) || spec.gateway == spec.address {
        return Err(InvalidPlace::Apart { address: spec.address, gateway: spec.gateway, prefix_length });
    }
    let mut seen = BTreeSet::new();
    match spec.forwards.iter().find(|forward| !seen.insert((forward.protocol, forward.host))) {
        Some(twice) => Err(InvalidPlace::Twice(format!("{}/{}", twice.host, twice.protocol))),
        None => Ok(()),
    }
}

/// What of `spec` another tenant than `tenant` holds.
#[must_use]
pub fn conflict(places: &Places, tenant: &TenantName, spec: &NetworkSpec) -> Option<Conflict> {
    places
        .iter()
        .filter(|(other, _)| *other != tenant)
        .find_map(|(other, held)| Some(Conflict { tenant: other.clone(), what: shared(spec, held)? }))
}

/// How far into its subnet the tenant's address is.
#[must_use]
pub fn offset(spec: &NetworkSpec) -> u32 {
    spec.address.to_bits() & !mask(spec.prefix_length)
}

fn shared(a: &NetworkSpec, b: &NetworkSpec) -> Option<String> {
    let common = mask(a.prefix_length.min(b.prefix_length));
    if a.bridge == b.bridge {
        return Some(format!("the bridge {}", a.bridge));
    }
    if a.gateway.to_bits() & common == b.gateway.to_bits() & common {
        return Some(format!("the subnet of {}/{}", a.gateway, a.prefix_length));
    }
    if a.mac == b.mac {
        return Some(format!("the hardware address {}", a.mac));
    }
    let both = a
        .forwards
        .iter()
        .find(|one| b.forwards.iter().any(|other| (one.protocol, one.host) == (other.protocol, other.host)));
    both.map(|forward| format!("the host port {}/{}", forward.host, forward.protocol))
}

fn subnet(spec: &NetworkSpec) -> u32 {
    spec.gateway.to_bits() & mask(spec.prefix_length)
}

fn mask(prefix_length: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix_length.min(32))).unwrap_or(0)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use model::{Forward, Protocol, identity::Slot, network::Port};
    use proptest::prelude::*;

    /// A port by number.
    pub(crate) fn port(number: i64) -> Port {
        Port::try_from(number).unwrap()
    }

    /// A forward of a port to a port.
    pub(crate) fn forward(protocol: Protocol, host: i64, tenant: i64) -> Forward {
        Forward { host: port(host), tenant: port(tenant), protocol }
    }

    /// The place that the tenant in this slot has.
    pub(crate) fn place(slot: u16, forwards: Vec<Forward>) -> NetworkSpec {
        let slot = Slot::new(slot).unwrap();
        NetworkSpec {
            bridge: slot.bridge(),
            gateway: slot.gateway(),
            prefix_length: model::identity::PREFIX_LENGTH,
            address: slot.address(),
            mac: slot.mac(),
            forwards,
            on_demand: false,
        }
    }

    /// Any place that a slot can have, with any forwards.
    pub(crate) fn any_place() -> impl Strategy<Value = NetworkSpec> {
        let forwards = proptest::collection::btree_map((any::<bool>(), 1..=65535_i64), 1..=65535_i64, 0..20);
        (0..Slot::COUNT, forwards).prop_map(|(slot, forwards)| {
            let protocol = |udp| if udp { Protocol::Udp } else { Protocol::Tcp };
            place(
                slot,
                forwards.into_iter().map(|((udp, host), tenant)| forward(protocol(udp), host, tenant)).collect(),
            )
        })
    }

    proptest! {
        #[test]
        fn what_a_slot_gives_is_valid_and_in_nobody_s_way(mut a in any_place(), mut b in any_place()) {
            prop_assert_eq!(check(&a), Ok(()));
            let (one, other): (TenantName, TenantName) = ("web".parse().unwrap(), "web-2".parse().unwrap());
            let same_slot = a.bridge == b.bridge;
            a.forwards.clear();
            b.forwards.clear();
            prop_assert_eq!(conflict(&Places::from([(other, b)]), &one, &a).is_some(), same_slot);
        }
    }

    #[test]
    fn a_place_that_cannot_work_is_refused() {
        let good = place(0, vec![]);
        let address = |text: &str| text.parse::<Ipv4Addr>().unwrap();
        for prefix_length in [0, 7, 31, 32, 33, 255] {
            assert_eq!(check(&NetworkSpec { prefix_length, ..good.clone() }), Err(InvalidPlace::Prefix(prefix_length)));
        }
        for bad in ["10.88.0.0", "10.88.0.7", "127.0.0.2", "224.0.0.1", "169.254.0.2", "0.0.0.1", "255.255.255.254"] {
            let spec = NetworkSpec { address: address(bad), ..good.clone() };
            assert_eq!(check(&spec), Err(InvalidPlace::NotAHost(address(bad), 29)));
        }
        for apart in ["10.88.0.1", "10.88.0.9"] {
            let spec = NetworkSpec { address: address(apart), ..good.clone() };
            assert!(matches!(check(&spec), Err(InvalidPlace::Apart { .. })), "{apart}");
        }
        let both = vec![forward(Protocol::Tcp, 80, 80), forward(Protocol::Udp, 80, 80)];
        assert_eq!(check(&place(0, both)), Ok(()));
        let twice = vec![forward(Protocol::Tcp, 80, 80), forward(Protocol::Tcp, 80, 81)];
        assert_eq!(check(&place(0, twice)), Err(InvalidPlace::Twice("80/tcp".to_owned())));
    }

    #[test]
    fn each_thing_can_be_held_once() {
        let (web, mail): (TenantName, TenantName) = ("web".parse().unwrap(), "mail".parse().unwrap());
        let held = place(0, vec![forward(Protocol::Tcp, 80, 80)]);
        let places = Places::from([(web.clone(), held.clone())]);
        let other = place(1, vec![forward(Protocol::Tcp, 81, 80), forward(Protocol::Udp, 80, 80)]);
        assert_eq!(conflict(&places, &mail, &other), None);
        assert_eq!(conflict(&places, &web, &held), None);
        let rows = [
            (NetworkSpec { bridge: held.bridge.clone(), ..other.clone() }, "the bridge bb-9e3779b1"),
            (NetworkSpec { gateway: held.gateway, ..other.clone() }, "the subnet of 10.88.0.1/29"),
            (NetworkSpec { prefix_length: 16, ..other.clone() }, "the subnet of 10.88.0.9/16"),
            (NetworkSpec { mac: held.mac, ..other.clone() }, "the hardware address 02:bb:9e:37:79:b1"),
            (NetworkSpec { forwards: vec![forward(Protocol::Tcp, 80, 81)], ..other }, "the host port 80/tcp"),
        ];
        for (spec, what) in rows {
            assert_eq!(conflict(&places, &mail, &spec), Some(Conflict { tenant: web.clone(), what: what.to_owned() }));
        }
    }
}
