//! How often something may go wrong, by whose doing: a number at once, and one more as time goes by. It holds one point in
//! time for each, and so few of them that a flood from everywhere finds no memory to fill.

use std::{
    collections::HashMap,
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// More than this are not told apart.
const MOST_KEYS: usize = 4096;

/// A limit for each key.
pub(crate) struct Limit<K> {
    at_once: Duration,
    each: Duration,
    /// When all that was counted will be forgotten.
    until: Mutex<HashMap<K, Instant>>,
}

impl<K: Hash + Eq> Limit<K> {
    /// `at_once`, and another after each `each`.
    pub(crate) fn new(at_once: u32, each: Duration) -> Self {
        Self { at_once: each.saturating_mul(at_once), each, until: Mutex::default() }
    }

    /// How long to wait until it may happen again; nothing if it may now.
    pub(crate) fn wait(&self, key: &K, now: Instant) -> Option<Duration> {
        let until = *self.until.lock().unwrap_or_else(PoisonError::into_inner).get(key)?;
        let with_another = until.saturating_duration_since(now) + self.each;
        with_another.checked_sub(self.at_once).filter(|over| !over.is_zero())
    }

    /// Counts one.
    pub(crate) fn count(&self, key: K, now: Instant) {
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        if until.len() >= MOST_KEYS && !until.contains_key(&key) {
            until.retain(|_, until| *until > now);
            if until.len() >= MOST_KEYS {
                // Somebody has thousands of addresses; what each costs is bounded elsewhere.
                until.clear();
            }
        }
        let forgotten = until.entry(key).or_insert(now);
        *forgotten = (*forgotten).max(now) + self.each;
    }
}

/// Whose doing it is: an IPv4 address, or the /64 that an IPv6 host has to itself.
pub(crate) fn origin(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_at_once_and_one_more_as_time_goes_by() {
        let limit = Limit::new(3, Duration::from_secs(2));
        let now = Instant::now();
        for _ in 0..3 {
            assert_eq!(limit.wait(&1, now), None);
            limit.count(1, now);
        }
        assert_eq!(limit.wait(&1, now), Some(Duration::from_secs(2)));
        assert_eq!(limit.wait(&2, now), None);
        assert_eq!(limit.wait(&1, now + Duration::from_secs(1)), Some(Duration::from_secs(1)));
        let later = now + Duration::from_millis(2001);
        assert_eq!(limit.wait(&1, later), None);
        limit.count(1, later);
        assert!(limit.wait(&1, later).is_some());
        assert_eq!(limit.wait(&1, now + Duration::from_secs(60)), None);
    }

    #[test]
    fn a_flood_from_everywhere_fills_no_memory() {
        let limit = Limit::new(1, Duration::from_secs(1));
        let now = Instant::now();
        for key in 0..3 * MOST_KEYS {
            limit.count(key, now);
            assert!(limit.wait(&key, now).is_some());
        }
        assert!(limit.until.lock().unwrap().len() <= MOST_KEYS);
    }

    #[test]
    fn a_host_is_one_whatever_addresses_it_takes() {
        let same = |a: &str, b: &str| origin(a.parse().unwrap()) == origin(b.parse().unwrap());
        assert!(same("2001:db8::1", "2001:db8::ffff:1") && same("::ffff:192.0.2.1", "192.0.2.1"));
        assert!(!same("2001:db8::1", "2001:db8:0:1::1") && !same("192.0.2.1", "192.0.2.2"));
    }
}
