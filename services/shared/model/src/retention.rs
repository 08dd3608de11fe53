//! What becomes of a tenant that leaves: what its repository asked for and the host's policy allowed when its commit was
//! admitted.

use crate::{config, policy::Policy, time::TimeSpan};
use serde::{Deserialize, Serialize};

pub use config::Data;

/// How long a tenant that left can come back if nothing is said: a week, in seconds.
const USUAL_GRACE: u32 = 7 * 86400;

/// How long a tenant that left can come back as it was, and what becomes of it then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Retention {
    /// How long it can come back.
    pub grace: TimeSpan,
    /// What becomes of its data when the registry does not name it any more.
    pub data: Data,
    /// What becomes of it when its repository says that it should not run. Nothing, unless the repository asks for it.
    pub disabled: Data,
}

impl Default for Retention {
    fn default() -> Self {
        Self { grace: TimeSpan::of(USUAL_GRACE), data: Data::Archive, disabled: Data::Keep }
    }
}

impl Retention {
    /// What a repository gets that asks for this. What it does not say is as usual, within what the policy allows.
    #[must_use]
    pub fn resolve(asked: &config::Retention, policy: &Policy) -> Self {
        let usual = Self::default();
        let (least, most) = (policy.least_grace.most, policy.grace.most);
        let allowed = &policy.leaving.most;
        let data =
            if allowed.contains(&usual.data) { usual.data } else { allowed.first().copied().unwrap_or(Data::Keep) };
        Self {
            grace: asked.grace.unwrap_or(usual.grace).min(most).max(least),
            data: asked.data.unwrap_or(data),
            disabled: asked.data.unwrap_or(usual.disabled),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(grace: Option<u32>, data: Option<Data>) -> config::Retention {
        config::Retention { snapshots: None, grace: grace.and_then(TimeSpan::seconds), data }
    }

    #[test]
    fn who_asks_for_nothing_gets_a_week_and_an_archive_and_stays_while_it_is_disabled() {
        let usual = Retention::resolve(&asked(None, None), &Policy::built_in());
        assert_eq!(usual, Retention::default());
        assert_eq!((usual.grace.to_string().as_str(), usual.data, usual.disabled), ("7d", Data::Archive, Data::Keep));
        let said = Retention::resolve(&asked(Some(60), Some(Data::Delete)), &Policy::built_in());
        assert_eq!((said.grace.to_string().as_str(), said.data, said.disabled), ("1min", Data::Delete, Data::Delete));
    }

    #[test]
    fn the_policy_bounds_what_nobody_said() {
        let mut policy = Policy::built_in();
        policy.grace.most = TimeSpan::of(3600);
        policy.leaving.most = vec![Data::Keep];
        let resolved = Retention::resolve(&asked(None, None), &policy);
        assert_eq!((resolved.grace.to_string().as_str(), resolved.data), ("1h", Data::Keep));
        policy.grace.most = TimeSpan::of(30 * 86400);
        policy.least_grace.most = TimeSpan::of(14 * 86400);
        assert_eq!(Retention::resolve(&asked(None, None), &policy).grace.to_string(), "14d");
    }
}
