//! What a tenant owns by right of its slot: a uid range, a subnet, a bridge and a hardware address. A slot is a number
//! that is given out once; everything else follows from it, so no two tenants can share any of them.

use crate::network::{LinkName, MacAddress};
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// How many uids a tenant's user namespace holds.
pub const UIDS_PER_TENANT: u32 = 65536;
/// The first uid of slot 0: above what systemd allocates by itself (systemd's UIDS-GIDS), below the signed limit.
const FIRST_UID: u32 = 0x4000_0000;
/// 10.88.0.0/16, cut into subnets of eight addresses.
const FIRST_SUBNET: u32 = 0x0a58_0000;
const ADDRESSES_PER_SUBNET: u32 = 8;
/// How many leading bits name a tenant's subnet.
pub const PREFIX_LENGTH: u8 = 29;

/// A number from 0 to 8191 that one tenant holds for as long as anything of it exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Slot(u16);

/// A range of uids that belongs to somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UidRange {
    /// The first uid.
    pub first: u32,
    /// How many.
    pub count: u32,
}

impl UidRange {
    /// Whether `uid` is in the range.
    #[must_use]
    pub fn contains(self, uid: u32) -> bool {
        uid >= self.first && uid - self.first < self.count
    }

    /// Whether the two ranges have a uid in common.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.count > 0 && other.count > 0 && (self.contains(other.first) || other.contains(self.first))
    }
}

/// Whether an address is one of those that tenants and their bridges have.
#[must_use]
pub fn is_a_tenants(address: Ipv4Addr) -> bool {
    u32::from(address).checked_sub(FIRST_SUBNET).is_some_and(|at| at / ADDRESSES_PER_SUBNET < u32::from(Slot::COUNT))
}

impl Slot {
    /// How many slots there are: as many as 10.88.0.0/16 has subnets.
    pub const COUNT: u16 = 8192;

    /// The slot of this number, if there is one.
    #[must_use]
    pub fn new(number: u16) -> Option<Self> {
        (number < Self::COUNT).then_some(Self(number))
    }

    /// The lowest slot that nobody has taken and whose uids nobody else claims.
    #[must_use]
    pub fn lowest_free(taken: impl Fn(Self) -> bool, reserved: &[UidRange]) -> Option<Self> {
        (0..Self::COUNT)
            .map(Self)
            .find(|slot| !taken(*slot) && !reserved.iter().any(|range| range.overlaps(slot.uids())))
    }

    /// The slot whose uids these are, if they are a slot's.
    #[must_use]
    pub fn of_uids(uids: UidRange) -> Option<Self> {
        let number = uids.first.checked_sub(FIRST_UID)? / UIDS_PER_TENANT;
        Self::new(u16::try_from(number).ok()?).filter(|slot| slot.uids() == uids)
    }

    /// The uids of the tenant's user namespace; gids are the same numbers.
    #[must_use]
    pub fn uids(self) -> UidRange {
        UidRange { first: FIRST_UID + u32::from(self.0) * UIDS_PER_TENANT, count: UIDS_PER_TENANT }
    }

    /// The address of the tenant's bridge, its gateway.
    #[must_use]
    pub fn gateway(self) -> Ipv4Addr {
        Ipv4Addr::from(self.subnet() + 1)
    }

    /// The tenant's own address.
    #[must_use]
    pub fn address(self) -> Ipv4Addr {
        Ipv4Addr::from(self.subnet() + 2)
    }

    fn subnet(self) -> u32 {
        FIRST_SUBNET + u32::from(self.0) * ADDRESSES_PER_SUBNET
    }

    /// The tenant's bridge. Eight hexadecimal digits that look arbitrary, so that nobody takes them for a name.
    #[must_use]
    pub fn bridge(self) -> LinkName {
        let digits = format!("bb-{:08x}", scramble(self.0));
        // invariant: the format writes exactly what LinkName accepts
        #[allow(clippy::expect_used)]
        digits.parse().expect("a scrambled slot is a link name")
    }

    /// The hardware address of the tenant's side of its link.
    #[must_use]
    pub fn mac(self) -> MacAddress {
        let [a, b, c, d] = scramble(self.0).to_be_bytes();
        MacAddress::local([0x02, 0xbb, a, b, c, d])
    }
}

/// A bijection of 32-bit numbers (an odd multiplier), so different slots never meet.
fn scramble(number: u16) -> u32 {
    (u32::from(number) + 1).wrapping_mul(0x9e37_79b1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_two_slots_share_anything() {
        let slots = || (0..Slot::COUNT).filter_map(Slot::new);
        let count = usize::from(Slot::COUNT);
        assert_eq!(slots().map(|slot| slot.uids().first).collect::<BTreeSet<_>>().len(), count);
        assert_eq!(slots().map(Slot::address).collect::<BTreeSet<_>>().len(), count);
        assert_eq!(slots().map(Slot::bridge).collect::<BTreeSet<_>>().len(), count);
        assert_eq!(slots().map(Slot::mac).collect::<BTreeSet<_>>().len(), count);
        assert!(slots().all(|slot| Slot::of_uids(slot.uids()) == Some(slot)));
        assert_eq!(Slot::of_uids(UidRange { first: 0, count: UIDS_PER_TENANT }), None);
        let last = Slot::new(Slot::COUNT - 1).unwrap();
        assert_eq!(last.address(), Ipv4Addr::new(10, 88, 255, 250));
        assert!(slots().all(|slot| is_a_tenants(slot.address()) && is_a_tenants(slot.gateway())));
        assert!(!is_a_tenants(Ipv4Addr::new(10, 87, 255, 255)) && !is_a_tenants(Ipv4Addr::new(10, 89, 0, 0)));
        assert!(last.uids().first.checked_add(UIDS_PER_TENANT).is_some_and(|end| end < 0x7fff_0000));
    }

    #[test]
    fn a_reserved_range_is_stepped_over() {
        let first = Slot::new(0).unwrap().uids();
        let reserved = [UidRange { first: first.first + 65535, count: 2 }];
        assert_eq!(Slot::lowest_free(|_| false, &reserved), Slot::new(2));
        assert_eq!(Slot::lowest_free(|_| true, &[]), None);
    }
}
