//! What to run next when something failed: the command that mends it, or the one that tells more.

use crate::{inside::WayError, services::Service};
use host::inside::InsideError;
use interfaces::{orchestrator, secret, storage, tenant};
use runtime::{client::CallError, foreign::ForeignError};
use std::{error::Error, path::Path};

/// The next command, if one is known.
pub(crate) fn next(error: &(dyn Error + 'static)) -> Option<String> {
    if let Some(error) = error.downcast_ref::<CallError<orchestrator::Error>>() {
        return of_call(error, |error| match error {
            orchestrator::Error::NoSuchTenant { .. } | orchestrator::Error::NoSuchObject { .. } => {
                Some("bitbuilder list".to_owned())
            }
            orchestrator::Error::TenantSuspended { tenant } => Some(format!("bitbuilder resume {tenant}")),
            orchestrator::Error::NothingStrayed { .. }
            | orchestrator::Error::NothingOnTrial { .. }
            | orchestrator::Error::NotLeaving { .. } => Some("bitbuilder status".to_owned()),
            orchestrator::Error::Failed { .. } => Some("bitbuilder doctor".to_owned()),
            // Their own words name the command.
            orchestrator::Error::NotInitialized {} | orchestrator::Error::AlreadyInitialized { .. } => None,
        });
    }
    if let Some(error) = error.downcast_ref::<CallError<tenant::Error>>() {
        return of_call(error, |error| match error {
            tenant::Error::NoSuchTenant { .. } => Some("bitbuilder list".to_owned()),
            tenant::Error::NotRunning { tenant }
            | tenant::Error::StartFailed { tenant, .. }
            | tenant::Error::HookFailed { tenant, .. } => Some(format!("bitbuilder status {tenant}")),
            tenant::Error::Failed { .. } => Some("bitbuilder doctor".to_owned()),
            tenant::Error::NoSuchUnit { .. } | tenant::Error::InUse { .. } | tenant::Error::StaleGeneration { .. } => {
                None
            }
        });
    }
    if let Some(error) = error.downcast_ref::<CallError<storage::Error>>() {
        return of_call(error, |error| match error {
            storage::Error::InUse { tenant } => {
                Some(format!("bitbuilder suspend {tenant} && systemctl stop bitbuilder-container@{tenant}"))
            }
            storage::Error::Failed { .. } => Some("bitbuilder doctor".to_owned()),
            // Their own words say what to do.
            storage::Error::NoSuchImage { .. }
            | storage::Error::StaleGeneration { .. }
            | storage::Error::NotOwned { .. }
            | storage::Error::NoRoom { .. }
            | storage::Error::DataThere { .. }
            | storage::Error::RefusedArchive { .. } => None,
        });
    }
    if let Some(error) = error.downcast_ref::<CallError<secret::Error>>() {
        return of_call(error, |error| match error {
            secret::Error::NoSuchRecipient { .. } => Some("bitbuilder key show".to_owned()),
            secret::Error::Failed { .. } => Some("journalctl --pager-end --unit='bitbuilder-secret*'".to_owned()),
            // Its own words say what to do.
            secret::Error::CannotOpen { .. } => None,
        });
    }
    match error.downcast_ref::<WayError>()? {
        WayError::Machined { tenant, cause, .. } => of_machined(tenant.as_str(), cause),
        WayError::Inside { tenant, cause } => match **cause {
            // Its own words say what is wrong.
            InsideError::NotRun { .. } | InsideError::Bridge(_) => None,
            InsideError::Unreachable(..) | InsideError::Systemd(_) | InsideError::Gone(_) => {
                Some(format!("as root (sudo); bitbuilder status {tenant}"))
            }
        },
        WayError::NoTerminal(_) | WayError::Side(..) | WayError::Copy { .. } => None,
    }
}

fn of_call<E: Error>(error: &CallError<E>, of_reply: impl FnOnce(&E) -> Option<String>) -> Option<String> {
    match error {
        CallError::Unreachable { service, cause } => Some(unreachable(service, &**cause)),
        CallError::TimedOut { service, .. } => {
            Service::at(service).map(|service| format!("journalctl --pager-end --unit={}", service.unit))
        }
        CallError::Refused { error, .. } if is_denied(error) => {
            Some("as root (sudo); members of the group bitbuilder may look: adduser USER bitbuilder".to_owned())
        }
        // A service of another version than the command.
        CallError::Refused { service, .. } | CallError::Malformed { service, .. } => {
            Service::at(service).map(|service| format!("systemctl restart {}", service.unit))
        }
        CallError::Failed(error) => of_reply(error),
    }
}

fn unreachable(path: &str, cause: &dyn Error) -> String {
    // A socket that was stopped leaves its name.
    let nobody_listens = !Path::new(path).exists() || cause.to_string().contains("Connection refused");
    match Service::at(path) {
        Some(service) if !nobody_listens => {
            format!("systemctl restart {}; journalctl --pager-end --unit={}", service.socket, service.unit)
        }
        Some(service) if Path::new(path).parent().is_some_and(Path::exists) => {
            format!("systemctl start {}", service.socket)
        }
        // Nothing of ours is here: the package is not installed, or not configured.
        Some(_) | None => "bitbuilder doctor".to_owned(),
    }
}

fn is_denied(error: &str) -> bool {
    error.contains("PermissionDenied") || error.to_ascii_lowercase().contains("permission denied")
}

fn of_machined(tenant: &str, cause: &ForeignError) -> Option<String> {
    match cause {
        ForeignError::Failed { error, .. } if error.ends_with("NoSuchMachine") => {
            Some(format!("bitbuilder status {tenant}"))
        }
        ForeignError::Failed { .. } => Some("as root (sudo)".to_owned()),
        ForeignError::Unreachable { .. } | ForeignError::TimedOut { .. } => {
            Some("systemctl restart systemd-machined.socket".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    type Call = CallError<orchestrator::Error>;

    fn unreachable_at(path: &Path, cause: &str) -> Option<String> {
        let service = path.join("io.bitbuilder.Orchestrator").display().to_string();
        next(&Call::Unreachable { service, cause: cause.into() })
    }

    #[test]
    fn who_does_not_answer_is_started() {
        let directory = tempfile::tempdir().unwrap();
        let start = "systemctl start bitbuilder-orchestrator.socket";
        assert_eq!(unreachable_at(directory.path(), "No such file or directory").unwrap(), start);
        assert_eq!(unreachable_at(&directory.path().join("absent"), "").unwrap(), "bitbuilder doctor");
        std::fs::write(directory.path().join("io.bitbuilder.Orchestrator"), "").unwrap();
        assert_eq!(unreachable_at(directory.path(), "I/O error: Connection refused (os error 111)").unwrap(), start);
        assert!(unreachable_at(directory.path(), "Broken pipe").unwrap().contains("systemctl restart"));
    }

    #[test]
    fn each_failure_has_its_command() {
        let service = "/run/bitbuilder/io.bitbuilder.Orchestrator".to_owned();
        let denied = Call::Refused {
            service: service.clone(),
            error: "org.varlink.service.PermissionDenied".to_owned(),
            parameters: Value::Null,
        };
        assert!(next(&denied).unwrap().contains("group bitbuilder"));
        let slow = Call::TimedOut { service, seconds: 30 };
        assert_eq!(next(&slow).unwrap(), "journalctl --pager-end --unit=bitbuilder-orchestrator.service");
        let unknown = Call::Failed(orchestrator::Error::NoSuchTenant { tenant: "web".parse().unwrap() });
        assert_eq!(next(&unknown).unwrap(), "bitbuilder list");
        let closed = ForeignError::Failed {
            method: "io.systemd.Machine.Open".to_owned(),
            error: "io.systemd.Machine.NoSuchMachine".to_owned(),
            parameters: Value::Null,
        };
        let closed = WayError::Machined { action: "open a shell in", tenant: "web".parse().unwrap(), cause: closed };
        assert_eq!(next(&closed).unwrap(), "bitbuilder status web");
        assert_eq!(next(&std::fmt::Error), None);
    }
}
