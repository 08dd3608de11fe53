//! How long a target is left alone that did not take what it was told: longer after each failure, and not all hosts at once.

use std::time::Duration;

/// The longest pause after the first failure, and after any. A pause is at least half as long.
const MOST: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15 * 60));
/// The longest that a server is believed when it says how long to wait.
pub(crate) const MOST_SAID: Duration = Duration::from_secs(6 * 3600);

/// How long to wait after so many failures in a row, the last of which may have said how long. `chance` is any number, as
/// random as can be.
pub(crate) fn pause(failures: u32, said: Option<Duration>, chance: u64) -> Duration {
    let (first, longest) = MOST;
    let most = first.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(longest);
    let half = most / 2;
    let millis = u64::try_from(half.as_millis()).unwrap_or(u64::MAX);
    let own = half + Duration::from_millis(chance % millis.saturating_add(1));
    // A server that wants less than that wants it of those who ask seldom.
    said.map_or(own, |said| said.min(MOST_SAID).max(own))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pauses_grow_and_have_bounds(failures in 1u32.., chance: u64, other: u64, said in proptest::option::of(0u64..)) {
            let own = pause(failures, None, chance);
            prop_assert!(own >= MOST.0 / 2 && own <= MOST.1, "{own:?}");
            prop_assert!(pause(failures.saturating_add(2), None, other) >= own || own > MOST.1 / 2);
            let told = pause(failures, said.map(Duration::from_secs), chance);
            prop_assert!(told >= own && told <= MOST_SAID);
            prop_assert!(said.is_none_or(|said| told >= Duration::from_secs(said) || told == MOST_SAID));
        }
    }

    #[test]
    fn an_hour_of_failures_is_few_tries() {
        let (mut spent, mut tries) = (Duration::ZERO, 0);
        while spent < Duration::from_secs(3600) {
            tries += 1;
            spent += pause(tries, None, u64::MAX);
        }
        assert!((10..=20).contains(&tries), "{tries}");
    }
}
