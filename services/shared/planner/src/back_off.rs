//! How long a Git server is left alone that could not be reached: longer after each failure, and each repository for a
//! time of its own, so that those of one server do not come back all at once.

use serde::{Deserialize, Serialize};

/// The longest pause after the first failure, and after any, in microseconds. A pause is at least half as long.
const MOST_USEC: (u64, u64) = (60_000_000, 600_000_000);

/// How often in a row a repository could not be reached, and until when nobody looks at it unasked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BackOff {
    count: u32,
    until_usec: u64,
}

impl BackOff {
    /// It could not be reached at `now`. `chance` is any number, as random as can be.
    pub fn failed(&mut self, now_usec: u64, chance: u64) {
        self.count = self.count.saturating_add(1);
        self.until_usec = now_usec.saturating_add(pause_usec(self.count, chance));
    }

    /// It was reached, or is another one.
    pub fn reached(&mut self) {
        *self = Self::default();
    }

    /// How often in a row it could not be reached.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Until when it is left alone, if it could not be reached the last time.
    #[must_use]
    pub fn until_usec(&self) -> Option<u64> {
        (self.count > 0).then_some(self.until_usec)
    }

    /// Whether it is left alone now. A time that lies further ahead than any pause comes from a clock that was set.
    #[must_use]
    pub fn holds(&self, now_usec: u64) -> bool {
        let left = self.until_usec.saturating_sub(now_usec);
        left > 0 && left <= MOST_USEC.1
    }
}

/// How long to wait after so many failures in a row.
fn pause_usec(count: u32, chance: u64) -> u64 {
    let (first, longest) = MOST_USEC;
    let doublings = count.saturating_sub(1).min(16);
    let most = first.saturating_mul(1 << doublings).min(longest);
    most / 2 + chance % (most / 2 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pauses_grow_from_about_a_minute_to_ten() {
        let longest = |count| pause_usec(count, u64::MAX - u64::MAX % (pause_usec(count, 0) + 1) - 1) / 1_000_000;
        assert_eq!([1, 2, 3, 4, 5, 99].map(longest), [60, 120, 240, 480, 600, 600]);
        assert_eq!(pause_usec(1, 0), 30_000_000);
    }

    proptest! {
        #[test]
        fn a_pause_is_between_half_a_minute_and_ten(count in 1_u32.., chance: u64) {
            prop_assert!((30_000_000..=600_000_000).contains(&pause_usec(count, chance)));
        }

        #[test]
        fn a_later_failure_never_waits_less_than_half_of_an_earlier_one(count in 1_u32..u32::MAX, one: u64, other: u64) {
            prop_assert!(pause_usec(count + 1, one) >= pause_usec(count, other) / 2);
        }

        #[test]
        fn many_repositories_of_one_server_come_back_spread(count in 1_u32..20, seed: u64) {
            let chances = (1..=100_u64).map(|n| (seed | 1).wrapping_mul(n).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let pauses: Vec<u64> = chances.map(|chance| pause_usec(count, chance) / 1_000_000).collect();
            let most = (0..=600).map(|second| pauses.iter().filter(|pause| **pause == second).count()).max();
            prop_assert!(most < Some(40), "{pauses:?}");
        }

        #[test]
        fn it_holds_until_its_time_whatever_becomes_of_the_clock(now in 0..u64::MAX / 2, chance: u64, later in 0..u64::MAX / 2) {
            let mut back_off = BackOff::default();
            prop_assert!(!back_off.holds(now) && back_off.until_usec().is_none());
            back_off.failed(now, chance);
            let until = back_off.until_usec().unwrap();
            prop_assert!(back_off.holds(now) && back_off.holds(until - 1) && !back_off.holds(until));
            prop_assert!(!back_off.holds(until + later));
            prop_assert!(!back_off.holds(until.saturating_sub(MOST_USEC.1 + 1 + later)) || until <= MOST_USEC.1);
            back_off.reached();
            prop_assert_eq!((back_off.count(), back_off.until_usec(), back_off.holds(now)), (0, None, false));
        }
    }
}
