//! Why a tenant is not what its commit asks for, and whose fault that is: a commit that cannot be met is given up, a host
//! that fails for the moment is asked again.

use interfaces::{extension, git_sync, network, storage, tenant};
use runtime::client::CallError;

/// Why a convergence ended early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The commit asks for something that cannot be had, or does not hold.
    Commit(String),
    /// The tenant ended while it was looked at: somebody stopped it, or it did so itself. Once is no proof.
    Ended(String),
    /// A service did not answer or failed: nothing is known about the commit.
    Host(String),
    /// Another tenant has to hold first, and will say so when it does.
    Waits(String),
}

impl Fault {
    pub(crate) fn reason(&self) -> &str {
        match self {
            Self::Commit(reason) | Self::Ended(reason) | Self::Host(reason) | Self::Waits(reason) => reason,
        }
    }
}

/// Whether an error of an interface is the commit's fault.
pub(crate) trait Blame {
    fn is_the_commits(&self) -> bool;

    /// Whether the tenant was not there to be looked at.
    fn is_an_end(&self) -> bool {
        false
    }

    /// The reason in words that say nothing of another tenant, where the error's own words do.
    fn for_the_tenant(&self) -> Option<String> {
        None
    }
}

impl Blame for storage::Error {
    fn is_the_commits(&self) -> bool {
        match self {
            Self::NoSuchImage { .. } => true,
            Self::StaleGeneration { .. }
            | Self::InUse { .. }
            | Self::NotOwned { .. }
            | Self::NoRoom { .. }
            | Self::DataThere { .. }
            | Self::RefusedArchive { .. }
            | Self::Failed { .. } => false,
        }
    }
}

impl Blame for network::Error {
    fn is_the_commits(&self) -> bool {
        match self {
            Self::Conflict { .. } => true,
            Self::StaleGeneration { .. } | Self::Failed { .. } => false,
        }
    }

    fn for_the_tenant(&self) -> Option<String> {
        match self {
            Self::Conflict { what, .. } => Some(format!("{what} is held by another tenant")),
            Self::StaleGeneration { .. } | Self::Failed { .. } => None,
        }
    }
}

impl Blame for extension::Error {
    fn is_the_commits(&self) -> bool {
        match self {
            Self::NoSuchExtension { .. } | Self::InvalidImage { .. } | Self::Incompatible { .. } => true,
            Self::StaleGeneration { .. } | Self::Failed { .. } => false,
        }
    }
}

impl Blame for tenant::Error {
    fn is_the_commits(&self) -> bool {
        match self {
            Self::StartFailed { .. } | Self::HookFailed { .. } | Self::NoSuchUnit { .. } => true,
            Self::NotRunning { .. }
            | Self::NoSuchTenant { .. }
            | Self::InUse { .. }
            | Self::StaleGeneration { .. }
            | Self::Failed { .. } => false,
        }
    }

    fn is_an_end(&self) -> bool {
        matches!(self, Self::NotRunning { .. })
    }
}

impl Blame for git_sync::Error {
    fn is_the_commits(&self) -> bool {
        match self {
            Self::RefusedContent { .. } | Self::NotTrusted { .. } | Self::HistoryRewritten { .. } => true,
            Self::NoSuchRepository { .. }
            | Self::NoSuchRevision { .. }
            | Self::RepositoryUnreachable { .. }
            | Self::NoSuchReference { .. }
            | Self::NotPushed { .. }
            | Self::RefusedBundle { .. }
            | Self::Failed { .. } => false,
        }
    }
}

impl<E: Blame + std::error::Error + 'static> From<CallError<E>> for Fault {
    fn from(error: CallError<E>) -> Self {
        let reason = runtime::chain(&error);
        match error {
            CallError::Failed(inner) if let Some(reason) = inner.for_the_tenant() => Self::Commit(reason),
            CallError::Failed(inner) if inner.is_the_commits() => Self::Commit(reason),
            CallError::Failed(inner) if inner.is_an_end() => Self::Ended(reason),
            CallError::Failed(_)
            | CallError::Unreachable { .. }
            | CallError::TimedOut { .. }
            | CallError::Refused { .. }
            | CallError::Malformed { .. } => Self::Host(reason),
        }
    }
}
