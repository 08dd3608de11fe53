//! The secrets, as systemd hands them to the service (systemd.exec(5), ImportCredential=): `bitbuilder.webhook-secret.NAME`
//! for one repository, `bitbuilder.webhook-secret` for all that have none of their own.

use crate::verify::Key;
use model::names::RepositoryName;
use std::{collections::BTreeMap, fs, io, path::Path};
use tracing::warn;

/// The credential's name.
const SECRET: &str = "bitbuilder.webhook-secret";
/// A shorter one could be found by trying, in bytes.
const SHORTEST: usize = 16;

/// The secrets of this host.
pub(crate) struct Secrets {
    own: BTreeMap<RepositoryName, Key>,
    common: Option<Key>,
    /// What is tried for a repository without one, so that its refusal takes as long as any other.
    none: Key,
}

impl Secrets {
    /// Reads them. What cannot be used is said and refuses what it was meant for.
    pub(crate) fn read(directory: Option<&Path>) -> Self {
        let mut secrets = Self { own: BTreeMap::new(), common: None, none: Key::of("") };
        let found = directory.map_or_else(|| Ok(Vec::new()), credentials);
        let found = found.unwrap_or_else(|cause| {
            warn!("the secrets cannot be read: {cause}");
            Vec::new()
        });
        for (name, secret) in found {
            let key = match secret {
                Ok(secret) => Key::of(&secret),
                Err(reason) => {
                    warn!("{name} is not used: {reason}");
                    continue;
                }
            };
            match name.strip_prefix(SECRET).map(|rest| rest.strip_prefix('.').unwrap_or(rest)) {
                Some("") => secrets.common = Some(key),
                Some(repository) => match repository.parse() {
                    Ok(repository) => drop(secrets.own.insert(repository, key)),
                    Err(fault) => warn!("{name} is not used: {fault}"),
                },
                None => {}
            }
        }
        if secrets.own.is_empty() && secrets.common.is_none() {
            warn!("every request is refused: there is no credential {SECRET}.NAME and no {SECRET}");
        }
        secrets
    }

    /// The key for a repository, and whether there is one.
    pub(crate) fn of(&self, repository: Option<&RepositoryName>) -> (&Key, bool) {
        let key = repository.and_then(|repository| self.own.get(repository).or(self.common.as_ref()));
        key.map_or((&self.none, false), |key| (key, true))
    }
}

type Found = (String, Result<String, String>);

/// The credentials that are secrets of ours, by name.
fn credentials(directory: &Path) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == SECRET || name.strip_prefix(SECRET).is_some_and(|rest| rest.starts_with('.')) {
            found.push((name, secret(&entry.path())));
        }
    }
    Ok(found)
}

fn secret(path: &Path) -> Result<String, String> {
    // What it holds instead is not said.
    let text = fs::read_to_string(path).map_err(|cause| format!("it cannot be read as text: {cause}"))?;
    let secret = text.trim_end_matches(['\n', '\r']);
    if secret.len() < SHORTEST {
        return Err(format!("it has less than {SHORTEST} characters"));
    }
    Ok(secret.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claim::Claims;

    fn knows(secrets: &Secrets, repository: &str, token: &str) -> bool {
        let (key, known) = secrets.of(repository.parse().ok().as_ref());
        let claims = Claims::read(|name| (name == "x-gitlab-token").then_some(token.as_bytes()));
        key.verify(claims).holds() && known
    }

    #[test]
    fn a_repositorys_own_secret_counts_instead_of_the_common_one() {
        let directory = tempfile::tempdir().unwrap();
        let read = || Secrets::read(Some(directory.path()));
        let write = |name: &str, secret: &str| fs::write(directory.path().join(name), secret).unwrap();
        assert!(!knows(&read(), "web", "") && !knows(&Secrets::read(None), "web", ""));
        write("bitbuilder.webhook-secret.web", "the secret of web\n");
        assert!(knows(&read(), "web", "the secret of web"));
        assert!(!knows(&read(), "mail", "the secret of web") && !knows(&read(), "mail", ""));
        write("bitbuilder.webhook-secret", "the secret of all\r\n");
        assert!(knows(&read(), "mail", "the secret of all") && knows(&read(), "system", "the secret of all"));
        assert!(!knows(&read(), "web", "the secret of all"));
        assert!(!knows(&read(), "../x", "the secret of all"));
        // One that is no good does not fall back to nothing, nor does a certificate count.
        write("bitbuilder.webhook-secret", "short\n");
        write("bitbuilder.webhook-secret.Bad_Name", "a secret of nobody at all");
        write("bitbuilder.webhook-secrets", "a secret of nobody at all");
        assert!(!knows(&read(), "mail", "short") && !knows(&read(), "mail", "a secret of nobody at all"));
        assert!(knows(&read(), "web", "the secret of web"));
    }
}
