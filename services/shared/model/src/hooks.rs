//! What of a tenant's own runs around its changes: which script, at which moment, and for how long at most. What a script
//! holds is its commit's.

use crate::{config::Script, time::TimeSpan};
use serde::{Deserialize, Serialize};
use std::fmt;

/// How long a hook has if its repository does not say.
const USUAL_TIMEOUT: TimeSpan = TimeSpan::of(30);

/// A moment at which a script of the tenant's runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hook {
    /// Before its root is made, in a sandbox.
    PreProvision,
    /// After the first start with a new root, in the tenant.
    PostProvision,
    /// Before each start, in a sandbox with its data.
    PreStart,
    /// After each start, in the tenant.
    PostStart,
    /// Before each stop that is asked for, in the tenant.
    PreStop,
}

impl Hook {
    /// As .gitops/config.yaml has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PreProvision => "pre-provision",
            Self::PostProvision => "post-provision",
            Self::PreStart => "pre-start",
            Self::PostStart => "post-start",
            Self::PreStop => "pre-stop",
        }
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A script that runs at a moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HookSpec {
    /// When.
    pub hook: Hook,
    /// Its path in the repository.
    pub script: Script,
    /// How long it may take.
    pub timeout: TimeSpan,
}

impl HookSpec {
    /// A hook that has the time that its repository gives it.
    #[must_use]
    pub fn new(hook: Hook, script: Script, timeout: Option<TimeSpan>) -> Self {
        Self { hook, script, timeout: timeout.unwrap_or(USUAL_TIMEOUT) }
    }
}

impl fmt::Display for HookSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.hook, self.script)
    }
}
