//! notifications.json of the system repository: who is told what becomes of commits, where, and of which. Operators alone say
//! where a host speaks to; a tenant's repository has no such file.

use crate::{
    diagnostic::Diagnostic,
    document::{
        Document,
        declare::{choice, record},
    },
    manifest::Version,
    names::{RepositoryName, TargetName},
    path,
    progress::EventKind,
    registry::Registration,
    repository::{RepositoryUrl, host_of, is_host},
    text::checked_text,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, net::IpAddr};

/// Where it stands in the system repository.
pub const PATH: &str = "notifications.json";
/// Who has more wants something else than this.
const MOST_TARGETS: usize = 32;

record! {
    /// Who is told what becomes of commits.
    Notifications {
        /// The format's version, "1.0".
        version: Version,
        /// Who is told.
        targets: Vec<Entry>,
    }

    /// Somebody who is told.
    Entry {
        /// Its name, which its credentials end in, as bitbuilder.notification-token.NAME.
        name: TargetName,
        /// What it is.
        kind: Kind,
        /// Of a forge the address of its API; that of github.com or gitlab.com if nothing is said. Of a webhook where to post.
        address: Option<Endpoint>,
        /// Whether http:// may be used to another host than this one; false if nothing is said.
        unencrypted: Option<bool>,
        /// The project's path at the forge. As in the repository's address if nothing is said.
        project: Option<ProjectPath>,
        /// What is told; verified, refused, failed and rolled_back if nothing is said.
        events: Option<Vec<Occasion>>,
        /// Of which tenants, or system. If nothing is said: a webhook of all, a forge of those whose repositories are there.
        tenants: Option<Vec<RepositoryName>>,
    }
}

choice! {
    /// What is told, and how.
    Kind, "a kind of target" {
        /// Commit statuses at GitHub.
        Github = "github",
        /// Commit statuses at GitLab.
        Gitlab = "gitlab",
        /// Commit statuses at Gitea or Forgejo.
        Gitea = "gitea",
        /// JSON, posted to an address.
        Webhook = "webhook",
    }

    /// Something that can be told.
    Occasion, "an event" {
        /// The registry names the tenant.
        Registered = "registered",
        /// The registry does not name it any more.
        Left = "left",
        /// A commit is what the host is made into from now on.
        Admitted = "admitted",
        /// A commit was refused before anything was touched.
        Refused = "refused",
        /// Steps were written down and begun.
        Planned = "planned",
        /// It runs what its repository says.
        Verified = "verified",
        /// It does not run, as its repository or the registry says.
        Stopped = "stopped",
        /// The last verified commit runs again.
        RolledBack = "rolled_back",
        /// A commit did not hold.
        Failed = "failed",
        /// Nothing was remembered of what had held.
        FloorLost = "floor_lost",
        /// Somebody asked that it be left alone.
        Suspended = "suspended",
        /// Somebody asked that it be followed again.
        Resumed = "resumed",
        /// Somebody asked that a commit be tried again.
        Retried = "retried",
        /// A commit holds, and goes back by itself unless somebody confirms it.
        Confirming = "confirming",
        /// Somebody confirmed a commit.
        Confirmed = "confirmed",
        /// Somebody asked that what is there of a tenant that left be kept.
        Kept = "kept",
        /// Nothing is left of a tenant that left.
        Removed = "removed",
    }
}

/// What is told if nothing is said.
const USUAL: [Occasion; 4] = [Occasion::Verified, Occasion::Refused, Occasion::Failed, Occasion::RolledBack];

impl From<EventKind> for Occasion {
    fn from(kind: EventKind) -> Self {
        match kind {
            EventKind::Registered => Self::Registered,
            EventKind::Left => Self::Left,
            EventKind::Admitted => Self::Admitted,
            EventKind::Refused => Self::Refused,
            EventKind::Planned => Self::Planned,
            EventKind::Verified => Self::Verified,
            EventKind::Stopped => Self::Stopped,
            EventKind::RolledBack => Self::RolledBack,
            EventKind::Failed => Self::Failed,
            EventKind::FloorLost => Self::FloorLost,
            EventKind::Suspended => Self::Suspended,
            EventKind::Resumed => Self::Resumed,
            EventKind::Retried => Self::Retried,
            EventKind::Confirming => Self::Confirming,
            EventKind::Confirmed => Self::Confirmed,
            EventKind::Kept => Self::Kept,
            EventKind::Removed => Self::Removed,
        }
    }
}

/// The state of a commit at a forge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommitState {
    /// It is being applied.
    Pending,
    /// It holds.
    Success,
    /// It does not, or may not.
    Failure,
}

impl Occasion {
    /// What it says of a commit, if it says something of one.
    #[must_use]
    pub fn commit_state(self) -> Option<CommitState> {
        match self {
            Self::Admitted | Self::Planned | Self::Retried | Self::Confirming => Some(CommitState::Pending),
            Self::Verified | Self::Stopped | Self::Confirmed => Some(CommitState::Success),
            Self::Refused | Self::Failed | Self::RolledBack => Some(CommitState::Failure),
            Self::Registered
            | Self::Left
            | Self::FloorLost
            | Self::Suspended
            | Self::Resumed
            | Self::Kept
            | Self::Removed => None,
        }
    }
}

checked_text!(
    /// Where something is told. Without user information and without a query, because a secret in an address ends in a log.
    Endpoint,
    "an address",
    "https:// or http:// with HOST/PATH, without user:password@, '..', '%', '?', '#', '\\' and spaces",
    |text| {
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let Some((authority, path)) = rest.map(|rest| rest.split_once('/').unwrap_or((rest, ""))) else { return false };
        text.len() <= 1024
            && text.bytes().all(|b| b.is_ascii_graphic() && !b"\\%?#\"<>`{}|^".contains(&b))
            && is_host(authority)
            && !path.contains("://")
            && !path.split('/').any(|part| part == ".." || part == ".")
    }
);

impl Endpoint {
    fn parts(&self) -> (&str, &str) {
        let rest = self.0.split_once("://").map_or("", |(_, rest)| rest);
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        (host_of(authority), path)
    }

    /// Whether nobody on the way reads what is sent.
    #[must_use]
    pub fn is_private(&self) -> bool {
        let (host, _) = self.parts();
        let local = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        self.0.starts_with("https://") || local
    }

    /// The address without a `/` at its end, for something to follow.
    #[must_use]
    pub fn base(&self) -> &str {
        self.0.trim_end_matches('/')
    }
}

checked_text!(
    /// A project's path at a forge.
    ProjectPath,
    "a project's path",
    "2 to 20 names between '/', of letters, digits, '.', '_' and '-', each with a letter or digit",
    |text| {
        text.len() <= 255
            && (2..=20).contains(&text.split('/').count())
            && text.split('/').all(|name| {
                name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
                    && name.bytes().any(|b| b.is_ascii_alphanumeric())
            })
    }
);

/// Somebody who is told, with all that is not said filled in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Target {
    /// Its name.
    pub name: TargetName,
    /// What it is.
    pub kind: Kind,
    /// The address of the API, or where to post.
    pub address: Endpoint,
    /// The project of each tenant, if it is said.
    pub project: Option<ProjectPath>,
    /// What is told.
    pub events: Vec<Occasion>,
    /// Of which repositories, if that is said.
    pub tenants: Option<Vec<RepositoryName>>,
    /// What became of commits before is not told, in microseconds since 1970.
    #[serde(rename = "sinceUSec")]
    pub since_u_sec: u64,
}

impl Target {
    /// Whether it is told of this repository.
    #[must_use]
    pub fn concerns(&self, repository: &RepositoryName, url: Option<&RepositoryUrl>) -> bool {
        let named = self.tenants.as_ref().is_none_or(|tenants| tenants.contains(repository));
        named && (self.kind == Kind::Webhook || self.project(url).is_some())
    }

    /// The project at the forge that a repository is.
    #[must_use]
    pub fn project(&self, url: Option<&RepositoryUrl>) -> Option<ProjectPath> {
        if self.project.is_some() {
            return self.project.clone();
        }
        let (host, path) = self.address.parts();
        let (server, project) = url?.parts();
        let forge = if self.kind == Kind::Github && host == "api.github.com" { "github.com" } else { host };
        if !server?.eq_ignore_ascii_case(forge) {
            return None;
        }
        // A forge below a path has its projects there, too.
        let below = path.split_once("api/v").map_or("", |(below, _)| below);
        let project = project.strip_prefix(below).unwrap_or(project).trim_end_matches('/');
        let project: ProjectPath = project.strip_suffix(".git").unwrap_or(project).parse().ok()?;
        self.kind.takes(&project).then_some(project)
    }
}

impl Kind {
    /// Only GitLab has groups in groups.
    fn takes(self, project: &ProjectPath) -> bool {
        self == Self::Gitlab || project.0.matches('/').count() == 1
    }

    /// Where it is if nothing is said.
    fn usual(self) -> Option<Endpoint> {
        match self {
            Self::Github => Some(Endpoint("https://api.github.com".to_owned())),
            Self::Gitlab => Some(Endpoint("https://gitlab.com/api/v4".to_owned())),
            Self::Gitea | Self::Webhook => None,
        }
    }
}

/// The targets of notifications.json, held against a registry that could be read.
///
/// # Errors
/// Everything that contradicts itself or the registry.
pub fn resolve(
    document: &Document<Notifications>,
    registry: Option<&[Registration]>,
) -> Result<Vec<Target>, Vec<Diagnostic>> {
    let (mut faults, mut seen, mut targets) = (Vec::new(), BTreeMap::new(), Vec::new());
    let entries = &document.content.targets;
    if entries.len() > MOST_TARGETS {
        let message = format!("there are {} targets; at most {MOST_TARGETS} are told", entries.len());
        faults.push(document.fault(path!["targets"], &message));
    }
    for (index, entry) in entries.iter().enumerate() {
        if let Some(first) = seen.insert(&entry.name, index) {
            let message = format!(
                "there is a target {} already, at {}",
                entry.name,
                document.place(path!["targets", first, "name"])
            );
            faults.push(document.fault(path!["targets", index, "name"], &message));
        }
        let Some(address) = entry.address.clone().or_else(|| entry.kind.usual()) else {
            let message = format!("a target of kind {} wants an address", entry.kind);
            faults.push(document.fault(path!["targets", index], &message));
            continue;
        };
        let target = Target {
            name: entry.name.clone(),
            kind: entry.kind,
            address,
            project: entry.project.clone(),
            events: entry.events.clone().unwrap_or_else(|| USUAL.to_vec()),
            tenants: entry.tenants.clone(),
            since_u_sec: 0,
        };
        faults.extend(check(&target, entry.unencrypted == Some(true), index, document));
        faults.extend(registry.iter().flat_map(|registry| check_tenants(&target, registry, index, document)));
        targets.push(target);
    }
    if faults.is_empty() { Ok(targets) } else { Err(faults) }
}

/// What is wrong with a target by itself.
fn check(target: &Target, unencrypted: bool, index: usize, document: &Document<Notifications>) -> Vec<Diagnostic> {
    let mut faults = Vec::new();
    if !target.address.is_private() && !unencrypted {
        let message = "anybody on the way reads what is sent to http://; write https://, or \"unencrypted\": true if that is meant";
        faults.push(document.fault(path!["targets", index, "address"], message));
    }
    if target.kind == Kind::Webhook {
        if target.project.is_some() {
            faults.push(document.fault(path!["targets", index, "project"], "a webhook has no project"));
        }
        return faults;
    }
    for (at, occasion) in target.events.iter().enumerate() {
        if occasion.commit_state().is_none() {
            let message = format!(
                "{occasion} says nothing of a commit, and a target of kind {} is told of nothing else",
                target.kind
            );
            faults.push(document.fault(path!["targets", index, "events", at], &message));
        }
    }
    if let Some(project) = &target.project {
        if !target.kind.takes(project) {
            let message = format!("{project} is no project of kind {}: OWNER/REPOSITORY", target.kind);
            faults.push(document.fault(path!["targets", index, "project"], &message));
        }
        if target.tenants.is_none() {
            let message = "a project is one repository: name the tenants whose repository it is";
            faults.push(document.fault(path!["targets", index, "project"], message));
        }
    }
    faults
}

/// What a registry makes wrong: tenants that it does not have, or whose repositories are not at the forge.
fn check_tenants(
    target: &Target,
    registry: &[Registration],
    index: usize,
    document: &Document<Notifications>,
) -> Vec<Diagnostic> {
    let mut faults = Vec::new();
    let named = target.tenants.iter().flatten().enumerate();
    // Where the system repository is, it does not know itself.
    for (at, name) in named.filter(|(_, name)| **name != RepositoryName::system()) {
        let message = match registry.iter().find(|entry| entry.name.as_str() == name.as_str()) {
            None => format!("there is no tenant {name} in the registry"),
            Some(entry) if !target.concerns(name, Some(&entry.repository)) => {
                format!("the project of {name} does not follow from {}: say it as project", entry.repository)
            }
            Some(_) => continue,
        };
        faults.push(document.fault(path!["targets", index, "tenants", at], &message));
    }
    faults
}

#[cfg(test)]
mod tests;
