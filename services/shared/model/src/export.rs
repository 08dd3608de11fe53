//! What a host says of what it follows, for the host that takes its place: addresses, references, whose signature counts,
//! and how far each history had come. Nothing secret.

use crate::{
    names::RepositoryName,
    remote::Mirrors,
    repository::{Reference, RepositoryUrl, Revision},
    signer::Trust,
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Its name in the tree of [`BRANCH`].
pub const PATH: &str = "export.json";
/// The branch that holds it.
pub const BRANCH: &str = "refs/heads/export";
/// Below it each repository's commit has its name.
pub const REPOSITORIES: &str = "refs/bitbuilder/export/";
/// The only version.
const VERSION: &str = "1.0";
/// Most repositories: one more than a registry can have tenants.
const MOST: usize = 8193;

/// Why this says nothing of a host.
#[derive(Debug, Error)]
pub enum NotAnExport {
    /// It is not what is written.
    #[error("{PATH}: {0}")]
    Json(#[from] serde_json::Error),
    /// It is of another time.
    #[error("{PATH}: version {0:?} is not known; this host knows {VERSION}")]
    Version(String),
    /// No host has so many.
    #[error("{PATH}: it names {0} repositories; at most {MOST} are read")]
    TooMany(usize),
    /// Something is named twice.
    #[error("{PATH}: it names {0} twice")]
    Twice(RepositoryName),
    /// Nobody can follow it.
    #[error("{PATH}: it has no system repository")]
    NoSystem,
}

/// One repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Repository {
    /// The tenant whose it is, or system.
    pub name: RepositoryName,
    /// Where it is.
    pub url: RepositoryUrl,
    /// Where else it is.
    pub mirrors: Mirrors,
    /// Which of its references counts.
    pub reference: Reference,
    /// The commit that is exported: what held last, or what was wanted if nothing held.
    pub revision: Revision,
    /// What the next commit has to have in its history, if anything.
    pub floor: Option<Revision>,
}

/// What a host follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Export {
    version: String,
    /// Whose signature the system repository's commits need.
    pub trust: Option<Trust>,
    /// The system repository and its tenants'.
    pub repositories: Vec<Repository>,
}

impl Export {
    /// What a host with these repositories says.
    #[must_use]
    pub fn of(trust: Option<Trust>, repositories: Vec<Repository>) -> Self {
        Self { version: VERSION.to_owned(), trust, repositories }
    }

    /// Reads what a host said.
    ///
    /// # Errors
    /// It is no such thing, or contradicts itself.
    pub fn parse(bytes: &[u8]) -> Result<Self, NotAnExport> {
        let export: Self = serde_json::from_slice(bytes)?;
        let Self { version, repositories, .. } = &export;
        if version != VERSION {
            return Err(NotAnExport::Version(crate::text::shortened(version)));
        }
        if repositories.len() > MOST {
            return Err(NotAnExport::TooMany(repositories.len()));
        }
        let mut names: Vec<_> = repositories.iter().map(|repository| &repository.name).collect();
        names.sort();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(NotAnExport::Twice(twice[0].clone()));
        }
        export.system().ok_or(NotAnExport::NoSystem)?;
        Ok(export)
    }

    /// As it is written.
    ///
    /// # Errors
    /// None that what it holds can cause.
    pub fn text(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }

    /// The system repository.
    #[must_use]
    pub fn system(&self) -> Option<&Repository> {
        self.repositories.iter().find(|repository| repository.name == RepositoryName::system())
    }
}

impl Repository {
    /// What its commit is called.
    #[must_use]
    pub fn exported_as(&self) -> String {
        format!("{REPOSITORIES}{}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(name: &str) -> Repository {
        Repository {
            name: name.parse().unwrap(),
            url: format!("git://h/{name}").parse().unwrap(),
            mirrors: Mirrors::default(),
            reference: Reference::main(),
            revision: "a".repeat(40).parse().unwrap(),
            floor: None,
        }
    }

    #[test]
    fn what_is_written_is_read_and_nothing_else_is() {
        let export = Export::of(None, vec![repository("system"), repository("web")]);
        let text = export.text().unwrap();
        assert_eq!(Export::parse(text.as_bytes()).unwrap(), export);
        assert_eq!(export.repositories[1].exported_as(), "refs/bitbuilder/export/web");
        let refused = |text: &str| Export::parse(text.as_bytes()).unwrap_err().to_string();
        for (from, to, reason) in [
            ("\"1.0\"", "\"2.0\"", "version \"2.0\" is not known"),
            ("\"web\"", "\"system\"", "names system twice"),
            ("\"system\"", "\"mail\"", "no system repository"),
            ("git://h/web", "ext::sh -c id", "is not a repository address"),
            ("\"floor\"", "\"flour\"", "unknown field"),
            ("aaaa", "../x", "is not a revision"),
        ] {
            assert!(refused(&text.replace(from, to)).contains(reason), "{from} -> {to}");
        }
        let many = Export::of(None, (0..=MOST).map(|number| repository(&format!("t{number}"))).collect());
        assert!(refused(&many.text().unwrap()).contains("at most 8193"));
    }
}
