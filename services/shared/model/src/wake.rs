//! What wakes a tenant that is activated on demand, and when it sleeps again.

use crate::{network::Forward, time::TimeSpan};
use serde::{Deserialize, Serialize};

/// When a tenant sleeps whose repository does not say.
pub(crate) const SLEEP_AFTER: TimeSpan = TimeSpan::of(600);
/// How much longer it is awake at least than its services have to hold: who verifies it finds it awake.
const SLACK: TimeSpan = TimeSpan::of(5);

/// How a tenant is woken and goes to sleep.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Wake {
    /// The ports of the host that wake it, all of them tcp, in order.
    pub forwards: Vec<Forward>,
    /// It sleeps when nobody has been connected for so long.
    pub sleep_after: TimeSpan,
}

/// The same as asked for, but not before it is verified: its services have to hold for `healthy_for`.
pub(crate) fn sleep_after(asked: Option<TimeSpan>, healthy_for: TimeSpan) -> TimeSpan {
    asked.unwrap_or(SLEEP_AFTER).max(healthy_for.saturating_add(SLACK))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_sleeps_while_it_is_verified() {
        let after = |asked: Option<&str>, healthy: &str| {
            sleep_after(asked.map(|asked| asked.parse().unwrap()), healthy.parse().unwrap()).to_string()
        };
        assert_eq!(after(None, "5s"), "10min");
        assert_eq!(after(Some("1s"), "5s"), "10s");
        assert_eq!(after(Some("1h"), "5s"), "1h");
        assert_eq!(after(Some("0"), "365d"), "365d");
    }
}
