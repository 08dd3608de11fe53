//! How new commits of a repository are noticed, once its configuration was admitted.

use crate::{config, time::TimeSpan};
use serde::{Deserialize, Serialize};

/// The seconds between two looks if nothing is said.
pub(crate) const USUAL_INTERVAL: u32 = 30;
/// The most that chance adds to them if nothing is said; not more than the shortest interval that can be asked for.
const USUAL_JITTER: u32 = 10;

/// How new commits are noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Noticing {
    /// How long after one look the next one follows.
    pub interval: TimeSpan,
    /// At most this much is added by chance.
    pub jitter: TimeSpan,
    /// Whether a webhook may ask for a look.
    pub webhook: bool,
}

impl Default for Noticing {
    fn default() -> Self {
        Self { interval: TimeSpan::of(USUAL_INTERVAL), jitter: TimeSpan::of(USUAL_JITTER), webhook: true }
    }
}

impl From<&config::Sync> for Noticing {
    fn from(said: &config::Sync) -> Self {
        let usual = Self::default();
        Self {
            interval: said.interval.unwrap_or(usual.interval),
            jitter: said.jitter.unwrap_or(usual.jitter),
            webhook: said.webhook.unwrap_or(usual.webhook),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_as_usual() {
        let said = config::Sync { interval: TimeSpan::seconds(3600), jitter: None, webhook: None };
        let noticing = Noticing::from(&said);
        assert_eq!((noticing.interval.to_string(), noticing.jitter.to_string()), ("1h".to_owned(), "10s".to_owned()));
        assert!(noticing.webhook);
        let said = config::Sync { interval: None, jitter: TimeSpan::seconds(0), webhook: Some(false) };
        assert_eq!(Noticing::from(&said), Noticing { jitter: TimeSpan::of(0), webhook: false, ..Noticing::default() });
    }
}
