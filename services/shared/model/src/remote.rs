//! The servers that have one and the same repository: its first address and the mirrors that stand in for it, and how
//! each of them is doing.

use crate::{
    document::{Decode, Faults, Node},
    repository::RepositoryUrl,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use std::fmt;
use thiserror::Error;

/// Most mirrors of a repository: all of them share the time that a look may take.
pub const MOST: usize = 8;

/// Why these are not mirrors.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NotMirrors {
    /// There are more than can be asked.
    #[error("there are {0} mirrors; a repository has at most {MOST}")]
    TooMany(usize),
    /// One stands there more than once.
    #[error("the mirror {0} is named twice")]
    Twice(RepositoryUrl),
}

/// Where else a repository is, in the order in which they are asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<RepositoryUrl>", into = "Vec<RepositoryUrl>")]
pub struct Mirrors(Vec<RepositoryUrl>);

impl Mirrors {
    /// Them.
    #[must_use]
    pub fn as_slice(&self) -> &[RepositoryUrl] {
        &self.0
    }

    /// A repository's addresses, as they are asked: its own and these.
    pub fn beside<'u>(&'u self, url: &'u RepositoryUrl) -> impl Iterator<Item = &'u RepositoryUrl> {
        [url].into_iter().chain(&self.0)
    }

    /// As a call says it, where nothing is the same as none.
    #[must_use]
    pub fn into_call(self) -> Option<Self> {
        Some(self).filter(|mirrors| !mirrors.0.is_empty())
    }

    /// Whether one repository is at both addresses, the first of which had these mirrors.
    #[must_use]
    pub fn lead(&self, from: &RepositoryUrl, to: &RepositoryUrl) -> bool {
        from == to || self.0.contains(to)
    }
}

impl TryFrom<Vec<RepositoryUrl>> for Mirrors {
    type Error = NotMirrors;

    fn try_from(urls: Vec<RepositoryUrl>) -> Result<Self, NotMirrors> {
        if urls.len() > MOST {
            return Err(NotMirrors::TooMany(urls.len()));
        }
        match urls.iter().enumerate().find(|(index, url)| urls[..*index].contains(url)) {
            Some((_, twice)) => Err(NotMirrors::Twice(twice.clone())),
            None => Ok(Self(urls)),
        }
    }
}

impl From<Mirrors> for Vec<RepositoryUrl> {
    fn from(mirrors: Mirrors) -> Self {
        mirrors.0
    }
}

/// Left out, there are none.
impl Decode for Mirrors {
    fn decode(node: &Node, faults: &mut Faults) -> Option<Self> {
        match Self::try_from(Vec::<RepositoryUrl>::decode(node, faults)?) {
            Ok(mirrors) => Some(mirrors),
            Err(cause) => faults.refuse(node.caret(), cause.to_string()),
        }
    }

    fn schema() -> Json {
        json!({ "type": "array", "items": RepositoryUrl::schema(), "maxItems": MOST, "uniqueItems": true })
    }

    fn left_out() -> Option<Self> {
        Some(Self::default())
    }
}

/// How one of several servers of a repository is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RemoteState {
    /// What counts was found there the last time.
    Used,
    /// It was not asked the last time, or never.
    Spare,
    /// It showed an older state than another one.
    Behind,
    /// It did not answer, or not with the reference.
    Away,
    /// It showed what is not taken: another history, or a commit that nobody signed who may.
    Refused,
}

impl fmt::Display for RemoteState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Used => "used",
            Self::Spare => "spare",
            Self::Behind => "behind",
            Self::Away => "away",
            Self::Refused => "refused",
        })
    }
}

/// One of several servers of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Remote {
    /// Where it is.
    pub url: RepositoryUrl,
    /// How it is doing.
    pub state: RemoteState,
    /// Since when, in microseconds since 1970.
    #[serde(rename = "sinceUSec")]
    pub since_u_sec: u64,
    /// Why, if it is not as it should be.
    pub reason: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_are_few_and_different() {
        let read = |text: &str| serde_json::from_str::<Mirrors>(text);
        let url = |number: usize| format!("\"git://h/{number}\"");
        let list = |count: usize| format!("[{}]", (0..count).map(url).collect::<Vec<_>>().join(","));
        assert_eq!(read(&list(MOST)).unwrap().as_slice().len(), MOST);
        assert!(read(&list(MOST + 1)).unwrap_err().to_string().contains("at most 8"));
        assert!(read(r#"["git://h/a","git://h/b","git://h/a"]"#).unwrap_err().to_string().contains("git://h/a"));
        let (first, second) = ("git://h/0".parse().unwrap(), "git://h/1".parse().unwrap());
        assert!(read(&list(2)).unwrap().lead(&first, &second) && !read("[]").unwrap().lead(&first, &second));
    }
}
