//! Twins of io.bitbuilder.Orchestrator.

use crate::{
    macros::{contract, errors, object},
    shape::{Shape, Shaped},
};
use model::{
    Diagnostic, Forward, Mirrors, PushUrl, Reference, Remote, RepositoryUrl, Revision, ServiceSpec, TenantName,
    names::RepositoryName, signer::Trust, time::TimeSpan,
};
pub use model::{
    progress::{EventKind, TenantState},
    retention::Data,
};
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

object! {
    /// A tenant, and what this host makes of it.
    TenantStatus {
        tenant: TenantName,
        state: TenantState,
        wanted: Option<Revision>,
        verified: Option<Revision>,
        generation: u64,
        #[serde(rename = "sinceUSec")] since_u_sec: u64,
        address: Option<Ipv4Addr>,
        forwards: Vec<Forward>,
        reason: Option<String>,
        unconverged: Option<String>,
        unreachable: Option<String>,
        remotes: Vec<Remote>,
        push_mirror: Option<PushMirror>,
        floor: Option<Revision>,
        floor_lost: bool,
        unreachable_count: u32,
        #[serde(rename = "nextLookUSec")] next_look_u_sec: Option<u64>,
        not_in_effect: Vec<String>,
        plan: Vec<String>,
        #[serde(rename = "suspendedSinceUSec")] suspended_since_u_sec: Option<u64>,
        limits: Vec<Limit>,
        #[serde(rename = "confirmUntilUSec")] confirm_until_u_sec: Option<u64>,
        sleep_after: Option<TimeSpan>,
        leaving: Option<Leaving>,
    }
    /// How a tenant leaves.
    Leaving {
        #[serde(rename = "sinceUSec")] since_u_sec: u64,
        #[serde(rename = "untilUSec")] until_u_sec: Option<u64>,
        data: Data,
        kept: bool,
        archive: Option<String>,
    }
    /// A server to which each commit that held is pushed.
    PushMirror {
        url: PushUrl,
        revision: Option<Revision>,
        #[serde(rename = "behindSinceUSec")] behind_since_u_sec: Option<u64>,
        reason: Option<String>,
    }
    /// A limit in effect.
    Limit { what: String, value: String, most: String, place: String }
    /// Where something on this host comes from.
    Origin {
        tenant: Option<TenantName>,
        what: String,
        repository: Option<RepositoryUrl>,
        revision: Option<Revision>,
        place: Option<String>,
        registered: Option<String>,
        system_revision: Option<Revision>,
    }
    /// Shows where something comes from.
    Trace { what: String }
    /// Where it comes from.
    Origins { origins: Vec<Origin> }
    /// Something that became of a tenant.
    Event {
        tenant: RepositoryName,
        kind: EventKind,
        #[serde(rename = "atUSec")] at_u_sec: u64,
        revision: Option<Revision>,
        generation: u64,
        reason: Option<String>,
        plan: Vec<String>,
    }
    /// Shows what became of tenants.
    History { tenant: Option<RepositoryName>, limit: Option<u32> }
    /// What became of them.
    Events { events: Vec<Event> }
    /// Leaves a tenant alone.
    Suspend { tenant: TenantName }
    /// Follows it again.
    Resume { tenant: TenantName }
    /// Tries a commit again.
    Retry { tenant: TenantName }
    /// Puts the next commit on trial.
    Try { tenant: TenantName, time: TimeSpan }
    /// Confirms the commit that is on trial.
    Confirm { tenant: TenantName, revision: Option<Revision> }
    /// Takes it back.
    Reject { tenant: TenantName, revision: Option<Revision> }
    /// Keeps what is there of a tenant that leaves.
    Keep { tenant: TenantName }
    /// Removes it.
    Remove { tenant: TenantName }
    /// The system repository, and what this host makes of it.
    HostStatus {
        url: Option<RepositoryUrl>,
        reference: Option<Reference>,
        wanted: Option<Revision>,
        revision: Option<Revision>,
        reason: Option<String>,
        unreachable: Option<String>,
        remotes: Vec<Remote>,
        push_mirror: Option<PushMirror>,
        floor_lost: bool,
        unreachable_count: u32,
        #[serde(rename = "nextLookUSec")] next_look_u_sec: Option<u64>,
        not_in_effect: Vec<String>,
        tenants: u32,
    }
    /// One step of a plan.
    Step { class: Class, action: String, why: String, service: String }
    /// The files of a commit, or of a tree that nobody committed yet.
    Request { metadata: String, config: Option<String>, secrets: Option<String>, files: Vec<String>, services: Option<Vec<ServiceSpec>>, revision: Option<Revision> }
    /// What would be done for one tenant.
    TenantPlan {
        tenant: Option<TenantName>,
        registered: bool,
        suspended: bool,
        revision: Option<Revision>,
        class: Option<Class>,
        steps: Vec<Step>,
        diagnostics: Vec<Diagnostic>,
        not_in_effect: Vec<String>,
        unknown: Vec<String>,
        text: Vec<String>,
    }
    /// Shows what would be done.
    Plan { tenant: Option<TenantName>, request: Option<Request> }
    /// What would be done.
    Plans { plans: Vec<TenantPlan> }
    /// Sets the system repository.
    SetRepository { url: RepositoryUrl, mirrors: Option<Mirrors>, push_mirror: Option<PushUrl>, reference: Option<Reference>, trust: Option<Trust>, force: Option<bool>, floors: Option<Vec<Floor>> }
    /// How far a history has come.
    Floor { repository: RepositoryName, url: RepositoryUrl, reference: Reference, revision: Revision }
    /// Says what this host follows.
    Export {}
    /// That, as a JSON document.
    Exported { document: String }
    /// Lets one commit of a repository have another history.
    AcceptHistory { repository: RepositoryName, revision: Option<Revision> }
    /// Which commit.
    Accepted { changed: bool, revision: Revision }
    /// Whether anything was changed.
    Changed { changed: bool }
    /// Fetches and converges.
    Sync { tenant: Option<RepositoryName>, wait: Option<bool>, poll: Option<bool> }
    /// Shows tenants.
    List { tenant: Option<TenantName> }
    /// Tenants.
    Tenants { tenants: Vec<TenantStatus> }
    /// Shows all tenants and each change.
    Watch {}
    /// Shows the system repository.
    Describe {}
    /// The system repository.
    Host { host: HostStatus }
}

impl TenantPlan {
    /// The plan of a registered tenant that does nothing, for these reasons if there are any.
    #[must_use]
    pub fn without_steps(tenant: Option<TenantName>, revision: Option<Revision>, diagnostics: Vec<Diagnostic>) -> Self {
        Self {
            tenant,
            registered: true,
            suspended: false,
            revision,
            class: None,
            steps: Vec::new(),
            diagnostics,
            not_in_effect: Vec::new(),
            unknown: Vec::new(),
            text: Vec::new(),
        }
    }
}

/// How much a change disturbs a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// It goes on running.
    Hot,
    /// Its processes are stopped and started.
    Restart,
    /// Its root is made anew.
    ReProvision,
}

impl From<model::config::Class> for Class {
    fn from(class: model::config::Class) -> Self {
        match class {
            model::config::Class::Hot => Self::Hot,
            model::config::Class::Restart => Self::Restart,
            model::config::Class::Reprovision => Self::ReProvision,
        }
    }
}

impl Shaped for Class {
    fn shape() -> Shape {
        Shape::Enum(["hot", "restart", "re_provision"].map(str::to_owned).to_vec())
    }
}

errors! {
    NoSuchTenant { tenant: TenantName } = "no tenant {tenant} is registered"
    NothingOnTrial { tenant: TenantName } = "no commit of {tenant} holds and waits to be confirmed"
    NotLeaving { tenant: TenantName } = "{tenant} does not leave: the registry names it, or nothing is left of it"
    NoSuchObject { what: String } = "nothing on this host that comes from a repository is called {what}"
    TenantSuspended { tenant: TenantName } = "{tenant} is suspended; to have it followed again, run: bitbuilder resume {tenant}"
    NotInitialized {} = "this host does not follow a system repository yet; run: bitbuilder init --repository URL"
    AlreadyInitialized { url: RepositoryUrl } = "this host follows {url} already; to change that or whose signature counts, run: bitbuilder init --force --repository URL"
    NothingStrayed { repository: RepositoryName } = "no commit of {repository} is refused for its history"
    Failed { action: String, reason: String } = "cannot {action}: {reason}"
}

contract! { "io.bitbuilder.Orchestrator", "io.bitbuilder.Orchestrator.varlink", Error,
    SetRepository => Changed, Administer, Ignored;
    Export => Exported, Administer, Ignored;
    AcceptHistory => Accepted, Administer, Ignored;
    Sync => Tenants, Synchronize, Supported;
    List => Tenants, Read, Supported;
    Watch => Tenants, Read, Required;
    Plan => Plans, Read, Supported;
    History => Events, Read, Supported;
    Trace => Origins, Read, Ignored;
    Suspend => Changed, Administer, Ignored;
    Resume => Changed, Administer, Ignored;
    Retry => Changed, Administer, Ignored;
    Try => Changed, Administer, Ignored;
    Confirm => Changed, Administer, Ignored;
    Reject => Changed, Administer, Ignored;
    Keep => Changed, Administer, Ignored;
    Remove => Changed, Administer, Ignored;
    Describe => Host, Read, Ignored;
}
