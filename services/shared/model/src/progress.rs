//! How far a tenant is on its way to what its repository says.

use serde::{Deserialize, Serialize};
use std::fmt;

/// How far a tenant is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TenantState {
    /// Registered; nothing of it was applied yet.
    Pending,
    /// The last commit was refused before anything was touched; what ran before still runs.
    Refused,
    /// A commit is being applied.
    Applying,
    /// Applied, and watched for its health.
    Verifying,
    /// Runs what its repository says.
    Verified,
    /// Its repository or the registry says that it should not run.
    Stopped,
    /// The last commit failed, and the last verified one runs again.
    RolledBack,
    /// Neither the last commit nor a verified one holds.
    Failed,
}

/// As on the wire, but for people: `rolled back`.
impl fmt::Display for TenantState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pending => "pending",
            Self::Refused => "refused",
            Self::Applying => "applying",
            Self::Verifying => "verifying",
            Self::Verified => "verified",
            Self::Stopped => "stopped",
            Self::RolledBack => "rolled back",
            Self::Failed => "failed",
        })
    }
}
