//! What fails on the host, as the interface says it.

use host::{command::CommandError, files::FileError, records::StaleGeneration, systemd::SystemdError};
use interfaces::tenant::Error;
use model::TenantName;
use thiserror::Error;

/// Why a verb failed.
#[derive(Debug, Error)]
pub enum Fault {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The service manager refused or failed.
    #[error(transparent)]
    Systemd(Box<SystemdError>),
    /// A program failed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The call is too old.
    #[error(transparent)]
    Stale(#[from] StaleGeneration),
    /// Nothing is held for the tenant.
    #[error("nothing is held for the tenant {0}")]
    NoSuchTenant(TenantName),
    /// The repository does not ship a unit that it names.
    #[error(transparent)]
    Unit(#[from] crate::repository_units::NoSuchUnit),
    /// The tenant did not become ready.
    #[error("{tenant} did not come up: {reason}")]
    Start {
        /// Which.
        tenant: TenantName,
        /// What its unit and journal say.
        reason: String,
    },
    /// A script of the tenant's failed.
    #[error("a hook of {tenant} failed: {reason}")]
    Hook {
        /// Whose.
        tenant: TenantName,
        /// Which script, how, and what it said last.
        reason: String,
    },
    /// The tenant is not up.
    #[error("{0} does not run")]
    NotRunning(TenantName),
    /// The tenant is up.
    #[error("{0} runs")]
    InUse(TenantName),
    /// The start of a tenant ended by what the host did.
    #[error("{tenant} was not started: {reason}")]
    NotStarted {
        /// Which.
        tenant: TenantName,
        /// What the service manager, its unit and journal say.
        reason: String,
    },
    /// Somebody else may have a port that wakes the tenant.
    #[error(
        "nobody can listen for {0}: a program of the host may have one of its ports (systemctl status bitbuilder-wake@{0}.socket)"
    )]
    Ports(TenantName),
    /// The service manager has the ports of an earlier commit in mind.
    #[error("the service manager listens for {0} on other ports than it was told")]
    OtherPorts(TenantName),
    /// A running tenant was not shown what it should have, for no fault of its own.
    #[error("{tenant} was not shown its commit: {reason}")]
    NotShown {
        /// Which.
        tenant: TenantName,
        /// What its unit said.
        reason: String,
    },
    /// A running tenant's own service manager does not answer, or not in its words.
    #[error("the service manager of {tenant} does not answer: {reason}")]
    Unanswered {
        /// Whose.
        tenant: TenantName,
        /// What was tried, or answered.
        reason: String,
    },
    /// The host ends all tenants.
    #[error("the host is going down")]
    GoingDown,
    /// A tenant's journal holds nothing.
    #[error("{0} has said nothing yet")]
    Silent(TenantName),
    /// A file of the host's accounts.
    #[error("cannot read who else claims uids")]
    Accounts(#[source] std::io::Error),
}

impl From<SystemdError> for Fault {
    fn from(fault: SystemdError) -> Self {
        Self::Systemd(Box::new(fault))
    }
}

impl Fault {
    /// The error that the interface has for it; `action` is what was tried, in words.
    pub fn into_error(self, action: &str) -> Error {
        match self {
            Self::Stale(StaleGeneration { generation, current }) => Error::StaleGeneration { generation, current },
            Self::NoSuchTenant(tenant) => Error::NoSuchTenant { tenant },
            Self::Unit(fault) => Error::NoSuchUnit { unit: fault.unit, reason: fault.reason },
            Self::Start { tenant, reason } => Error::StartFailed { tenant, reason },
            Self::Hook { tenant, reason } => Error::HookFailed { tenant, reason },
            Self::Unanswered { tenant, reason } => {
                Error::StartFailed { tenant, reason: format!("its service manager does not answer: {reason}") }
            }
            Self::NotRunning(tenant) => Error::NotRunning { tenant },
            Self::InUse(tenant) => Error::InUse { tenant },
            Self::File(_)
            | Self::Systemd(_)
            | Self::Command(_)
            | Self::NotStarted { .. }
            | Self::NotShown { .. }
            | Self::Ports(_)
            | Self::OtherPorts(_)
            | Self::GoingDown
            | Self::Silent(_)
            | Self::Accounts(_) => Error::Failed { action: action.to_owned(), reason: runtime::chain(&self) },
        }
    }
}
