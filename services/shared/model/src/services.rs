//! What each of a tenant's services is started with, as one digest: its unit file and drop-ins, the sealed values that it
//! loads, and what it names below /srv/config. A service is restarted if that changed, and only then.

mod named;

use crate::{
    names::UnitName,
    repository::Revision,
    secrets::{Digest, SecretSpec},
    tree::Tree,
};
use named::Named;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

/// How much is read of what a repository's services name, in bytes, and how many files and directories they may name. What
/// is beyond that counts as another with each commit.
const MOST_BYTES: usize = 64 << 20;
const MOST_PATHS: usize = 256;

/// One of a tenant's services, and what tells one start of it from another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", from = "Written")]
pub struct ServiceSpec {
    /// The unit that the repository ships.
    pub unit: UnitName,
    /// The SHA-256 of all that it is started with; zeros if that is not known.
    pub digest: Digest,
}

/// A specification as it is written, or as earlier versions wrote it: a name alone.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Name(UnitName),
    #[serde(rename_all = "camelCase")]
    Whole {
        unit: UnitName,
        digest: Digest,
    },
}

impl From<Written> for ServiceSpec {
    fn from(written: Written) -> Self {
        match written {
            Written::Name(unit) => Self { unit, digest: Digest::unknown() },
            Written::Whole { unit, digest } => Self { unit, digest },
        }
    }
}

/// A service as a commit's files have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    unit: UnitName,
    digest: Digest,
    /// Whether all was read that it is started with.
    whole: bool,
}

impl Service {
    /// The service of `revision`: what was not read whole is another with each commit.
    #[must_use]
    pub fn spec(&self, revision: &Revision) -> ServiceSpec {
        let digest = if self.whole {
            self.digest.clone()
        } else {
            let mut hash = Sha256::new();
            feed(&mut hash, self.digest.as_str().as_bytes());
            feed(&mut hash, revision.as_str().as_bytes());
            Digest::of(hash)
        };
        ServiceSpec { unit: self.unit.clone(), digest }
    }
}

impl From<ServiceSpec> for Service {
    /// What somebody else has read.
    fn from(spec: ServiceSpec) -> Self {
        Self { unit: spec.unit, digest: spec.digest, whole: true }
    }
}

/// The services `units` of a repository with these files and sealed values.
#[must_use]
pub fn read(tree: &dyn Tree, units: &[UnitName], secrets: &[SecretSpec]) -> Vec<Service> {
    let mut reader = Reader { tree, seen: BTreeMap::new(), left: MOST_BYTES };
    units.iter().map(|unit| reader.service(unit, secrets)).collect()
}

/// Length first: no two lists of parts are the same bytes.
fn feed(hash: &mut Sha256, part: &[u8]) {
    hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
    hash.update(part);
}

struct Reader<'a> {
    tree: &'a dyn Tree,
    /// The digest of each path that was looked at; nothing of what could not be read whole.
    seen: BTreeMap<String, Option<Digest>>,
    left: usize,
}

impl Reader<'_> {
    fn service(&mut self, unit: &UnitName, secrets: &[SecretSpec]) -> Service {
        let mut hash = Sha256::new();
        feed(&mut hash, unit.as_str().as_bytes());
        let mut named = Named::default();
        let mut whole = false;
        for file in unit.shipped_as() {
            let Ok(Some(content)) = self.tree.read(&format!("units/{file}")) else { continue };
            feed(&mut hash, &content);
            named.read(&content);
            let mut drop_in = |path: &str, _: bool, content: &[u8]| {
                if path.ends_with(".conf") {
                    feed(&mut hash, path.as_bytes());
                    feed(&mut hash, content);
                    named.read(content);
                }
            };
            whole = self.tree.each(&format!("units/{file}.d"), self.left, &mut drop_in).is_ok();
            break;
        }
        whole &= !named.everything;
        for path in &named.paths {
            feed(&mut hash, path.as_bytes());
            match self.content(path) {
                Some(digest) => feed(&mut hash, digest.as_str().as_bytes()),
                None => whole = false,
            }
        }
        for secret in secrets.iter().filter(|secret| named.loads(secret.name.as_str())) {
            feed(&mut hash, secret.name.as_str().as_bytes());
            feed(&mut hash, secret.digest.as_str().as_bytes());
        }
        Service { unit: unit.clone(), digest: Digest::of(hash), whole }
    }

    /// The digest of a file, or of all files below a directory.
    fn content(&mut self, path: &str) -> Option<Digest> {
        if let Some(seen) = self.seen.get(path) {
            return seen.clone();
        }
        if self.seen.len() >= MOST_PATHS {
            return None;
        }
        let (mut hash, mut bytes) = (Sha256::new(), 0usize);
        let read = self.tree.each(path, self.left, &mut |path, executable, content| {
            feed(&mut hash, path.as_bytes());
            feed(&mut hash, if executable { b"x" } else { b"" });
            feed(&mut hash, content);
            bytes = bytes.saturating_add(content.len());
        });
        self.left = self.left.saturating_sub(bytes);
        let digest = read.ok().map(|()| Digest::of(hash));
        self.seen.insert(path.to_owned(), digest.clone());
        digest
    }
}

#[cfg(test)]
mod tests;
