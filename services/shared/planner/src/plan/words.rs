//! A plan in the words in which people read it, before a push, in the ledger and in the history.

use super::{Action, Part, Step};
use model::{
    Hook, Revision, UnitName,
    secrets::{SecretName, SecretSpec},
};
use std::{collections::BTreeSet, fmt};

/// A commit for people, who cannot be told the name of one that nobody made yet.
pub(super) fn commit(revision: &Revision) -> String {
    if revision.is_unborn() { "the commit to come".to_owned() } else { format!("commit {}", revision.short()) }
}

fn list<T: fmt::Display>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// What becomes of these services, if there are any.
pub(super) fn services(units: &[UnitName], one: &str, many: &str) -> Option<String> {
    match units {
        [] => None,
        [unit] => Some(format!("{unit} {one}")),
        units => Some(format!("{} {many}", list(units))),
    }
}

/// Why services are started anew.
pub(super) fn restarted(count: usize) -> &'static str {
    match count {
        1 => "its unit, or what that names, changes",
        _ => "their units, or what those name, change",
    }
}

/// Which of a tenant's secrets are others than before.
pub(super) fn secrets(before: &[SecretSpec], after: &[SecretSpec]) -> String {
    let of_both = before.iter().chain(after);
    let changed = of_both.filter(|secret| !(before.contains(secret) && after.contains(secret)));
    let names: BTreeSet<&SecretName> = changed.map(|secret| &secret.name).collect();
    match names.into_iter().collect::<Vec<_>>().as_slice() {
        [] => "its secrets are in another order".to_owned(),
        [name] => format!("the secret {name} changes"),
        names => format!("the secrets {} change", list(names)),
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Storage => "storage",
            Self::Network => "network",
            Self::Extensions => "extension",
            Self::Instance => "tenant-manager",
            Self::Secrets => "secret",
        })
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PreProvision(spec) => match spec.hook(Hook::PreProvision) {
                Some(hook) => write!(f, "run {hook}"),
                None => f.write_str("run nothing"),
            },
            Self::Stop => f.write_str("stop"),
            Self::EnsureStorage(spec) => write!(f, "ensure storage from the image {}", spec.image),
            Self::EnsureNetwork(spec) => {
                write!(f, "ensure network {} on {}", spec.address, spec.bridge)?;
                spec.forwards.iter().try_for_each(|forward| {
                    write!(f, ", {} port {} to {}", forward.protocol, forward.host, forward.tenant)
                })
            }
            Self::RemoveNetwork => f.write_str("remove network"),
            Self::EnsureExtensions(spec) if spec.sysext.is_empty() => f.write_str("ensure no extensions"),
            Self::EnsureExtensions(spec) => {
                let names: Vec<&str> = spec.sysext.iter().map(AsRef::as_ref).collect();
                write!(f, "ensure extensions {}", names.join(", "))
            }
            Self::EnsureInstance(spec) => write!(f, "write down {}", commit(&spec.revision)),
            Self::RestartServices(units) => write!(f, "restart {}", list(units)),
            Self::Listen => f.write_str("listen on the ports that wake it"),
            Self::Start => f.write_str("start"),
            Self::Restart => f.write_str("restart"),
            Self::Archive(manifest) => write!(f, "archive its data as {}", manifest.file_name()),
            Self::RemoveExtensions => f.write_str("remove extensions"),
            Self::RemoveStorage => f.write_str("remove storage"),
            Self::RemoveInstance => f.write_str("forget what ran"),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:12} {:14} {} ({})", self.class, self.action.part(), self.action, self.why)
    }
}
