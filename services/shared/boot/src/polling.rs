//! How often each repository is polled, as it is written down for the next boot, and the drop-in that says so to a timer.

use model::{Noticing, names::RepositoryName, time::TimeSpan};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The file beside the tenants' records. No tenant's record ends like this.
pub const FILE: &str = "polling";
/// No repository is asked for more often.
const SHORTEST: Option<TimeSpan> = TimeSpan::seconds(10);

/// How often one repository is polled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timing {
    /// How long after one look the next one follows.
    pub interval: TimeSpan,
    /// At most this much is added by chance.
    pub jitter: TimeSpan,
}

/// Which repositories are polled.
pub type Polling = BTreeMap<RepositoryName, Timing>;

impl Default for Timing {
    /// What the template of the timers says.
    fn default() -> Self {
        let Noticing { interval, jitter, .. } = Noticing::default();
        Self { interval, jitter }
    }
}

impl Timing {
    /// The drop-in that says it, whatever the template does. Both values are numbers with a unit of time.
    #[must_use]
    pub fn text(&self) -> String {
        let (interval, jitter) = (SHORTEST.map_or(self.interval, |shortest| self.interval.max(shortest)), self.jitter);
        // The first assignment takes away what the template says.
        format!(
            "[Timer]\nOnActiveSec=\nOnActiveSec={interval}\nOnUnitInactiveSec={interval}\nRandomizedDelaySec={jitter}\n"
        )
    }

    /// The same, if it is another than the template's.
    #[must_use]
    pub fn unusual(&self) -> Option<String> {
        let text = self.text();
        (text != Self::default().text()).then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, path::Path};

    fn timing(interval: &str, jitter: &str) -> Timing {
        Timing { interval: interval.parse().unwrap(), jitter: jitter.parse().unwrap() }
    }

    #[test]
    fn the_template_says_what_is_usual() {
        let template = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../units/git-sync@.timer");
        let template = fs::read_to_string(template).unwrap();
        let usual = Timing::default();
        for line in usual.text().lines().filter(|line| *line != "OnActiveSec=") {
            assert!(template.lines().any(|said| said == line), "{line}");
        }
        assert_eq!(usual.unusual(), None);
        assert_eq!(timing("30s", "10s"), usual);
    }

    #[test]
    fn a_drop_in_takes_the_place_of_what_the_template_says() {
        let said = timing("5min", "0").unusual().unwrap();
        assert_eq!(said, "[Timer]\nOnActiveSec=\nOnActiveSec=5min\nOnUnitInactiveSec=5min\nRandomizedDelaySec=0s\n");
        let often = timing("1s", "0").unusual().unwrap();
        assert!(often.contains("OnUnitInactiveSec=10s"), "{often}");
    }
}
