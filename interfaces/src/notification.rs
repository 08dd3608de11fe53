//! Twins of io.bitbuilder.Notification.

use crate::macros::{contract, errors, object};
use model::{
    RepositoryUrl, Revision,
    names::{RepositoryName, TargetName},
    notification::{Endpoint, Kind, Target},
    progress::EventKind,
};

object! {
    /// Something that became of a repository's commits.
    Event {
        kind: EventKind,
        #[serde(rename = "atUSec")] at_u_sec: u64,
        revision: Option<Revision>,
        generation: u64,
        reason: Option<String>,
        plan: Vec<String>,
    }
    /// Takes in what became of a repository's commits.
    Notify { targets: Vec<Target>, repository: RepositoryName, url: Option<RepositoryUrl>, events: Vec<Event> }
    /// Whether anything was new.
    Changed { changed: bool }
    /// A target, and how far it has been told.
    Progress {
        target: TargetName,
        kind: Kind,
        address: Endpoint,
        waiting: u32,
        failing: bool,
        #[serde(rename = "lastSuccessUSec")] last_success_u_sec: Option<u64>,
        last_error: Option<String>,
        #[serde(rename = "lastErrorUSec")] last_error_u_sec: Option<u64>,
        #[serde(rename = "nextTryUSec")] next_try_u_sec: Option<u64>,
        lost: u64,
    }
    /// Shows who is told.
    List { target: Option<TargetName> }
    /// Who is told.
    Listed { targets: Vec<Progress> }
}

errors! {
    NoSuchTarget { target: TargetName } = "nobody of the name {target} is told anything"
    Failed { action: String, reason: String } = "cannot {action}: {reason}"
}

contract! { "io.bitbuilder.Notification", "io.bitbuilder.Notification.varlink", Error,
    Notify => Changed, Mutate, Ignored;
    List => Listed, Read, Supported;
}
