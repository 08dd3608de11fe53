//! How far a tenant is on its way to what its repository says, and what became of it before.

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
    /// Runs, and goes back by itself unless somebody confirms it.
    Confirming,
    /// Runs what its repository says.
    Verified,
    /// Its repository or the registry says that it should not run.
    Stopped,
    /// The last commit failed, and the last verified one runs again.
    RolledBack,
    /// Neither the last commit nor a verified one holds.
    Failed,
    /// It left, and what is there of it stays for a while.
    Leaving,
}

/// As on the wire, but for people: `rolled back`.
impl fmt::Display for TenantState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pending => "pending",
            Self::Refused => "refused",
            Self::Applying => "applying",
            Self::Verifying => "verifying",
            Self::Confirming => "confirming",
            Self::Verified => "verified",
            Self::Stopped => "stopped",
            Self::RolledBack => "rolled back",
            Self::Failed => "failed",
            Self::Leaving => "leaving",
        })
    }
}

/// What became of a tenant at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// The registry names it.
    Registered,
    /// The registry does not name it any more.
    Left,
    /// A commit is what the host is made into from now on.
    Admitted,
    /// A commit was refused before anything was touched.
    Refused,
    /// Steps were written down and begun.
    Planned,
    /// It runs what its repository says.
    Verified,
    /// It does not run, as its repository or the registry says.
    Stopped,
    /// The last verified commit runs again.
    RolledBack,
    /// A commit did not hold.
    Failed,
    /// It existed, and nothing was remembered of what had held: its history was taken as it was.
    FloorLost,
    /// Somebody asked that it be left alone.
    Suspended,
    /// Somebody asked that it be followed again.
    Resumed,
    /// Somebody asked that a commit that did not hold be tried again.
    Retried,
    /// A commit holds, and goes back by itself unless somebody confirms it.
    Confirming,
    /// Somebody confirmed a commit.
    Confirmed,
    /// Somebody asked that what is there of a tenant that left be kept.
    Kept,
    /// Nothing is left of a tenant that left.
    Removed,
}

/// As on the wire, but for people: `rolled back`.
impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Registered => "registered",
            Self::Left => "left",
            Self::Admitted => "admitted",
            Self::Refused => "refused",
            Self::Planned => "planned",
            Self::Verified => "verified",
            Self::Stopped => "stopped",
            Self::RolledBack => "rolled back",
            Self::Failed => "failed",
            Self::FloorLost => "floor lost",
            Self::Suspended => "suspended",
            Self::Resumed => "resumed",
            Self::Retried => "retried",
            Self::Confirming => "confirming",
            Self::Confirmed => "confirmed",
            Self::Kept => "kept",
            Self::Removed => "removed",
        })
    }
}
