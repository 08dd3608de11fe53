//! A user and a password or token for https: one for one server's file, or a line each for many servers, in the format of
//! Git's credential store (git-credential-store(1)). What a file holds instead is never said.

use model::{RepositoryUrl, repository::Server};
use serde::{Deserialize, Serialize};
use std::fmt;
use thiserror::Error;

/// A user and a password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Login {
    pub(crate) user: String,
    pub(crate) password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login")
    }
}

/// Why a file gives no login.
#[derive(Debug, PartialEq, Eq, Error)]
pub(crate) enum NotALogin {
    #[error("{0} is not USER:PASSWORD")]
    Own(String),
    #[error(
        "line {line} of {name} is not https://USER:PASSWORD@HOST; a USER:PASSWORD belongs to one repository, as {name}.NAME, or to \
         one server, as {name}@HOST"
    )]
    Line { name: String, line: usize },
    #[error("cannot read {name}: {cause}")]
    Read { name: String, cause: String },
}

impl Login {
    /// The one of a file that is for one server alone.
    pub(crate) fn own(name: &str, text: &str) -> Result<Self, NotALogin> {
        let line = text.trim_end_matches(['\n', '\r']);
        let login = line.split_once(':').filter(|_| !line.contains(['\n', '\r']));
        let (user, password) = login.ok_or_else(|| NotALogin::Own(name.to_owned()))?;
        Ok(Self { user: user.to_owned(), password: password.to_owned() })
    }

    /// The first one for this server of a file with many. All lines are judged, so that a fault shows before it matters.
    pub(crate) fn among(name: &str, text: &str, server: &Server) -> Result<Option<Self>, NotALogin> {
        let mut found = None;
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let malformed = || NotALogin::Line { name: name.to_owned(), line: index + 1 };
            let (of, login) = stored(line.trim_end()).ok_or_else(malformed)?;
            if found.is_none() && of == *server {
                found = Some(login);
            }
        }
        Ok(found)
    }
}

fn stored(line: &str) -> Option<(Server, Login)> {
    let (_, host) = line.strip_prefix("https://")?.rsplit_once('@')?;
    let host = host.trim_end_matches('/');
    // Judged as a repository's address is.
    let url: RepositoryUrl = format!("https://{host}/x").parse().ok().filter(|_| !host.contains('/'))?;
    let parsed = gix::url::parse(line).ok()?;
    let login = Login { user: parsed.user()?.to_owned(), password: parsed.password()?.to_owned() };
    Some((url.server(), login))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_for_its_host_and_port_alone() {
        let text = "https://alice:a%40b%3Ac@git.example.org\n\nhttps://bob:t@Git.Example.org:8443/\nhttps://x:y@[::1]:9\n\
                    https://second:s@git.example.org\n";
        let of = |url: &str| {
            let server = url.parse::<RepositoryUrl>().unwrap().server();
            Login::among("logins", text, &server).unwrap().map(|login| (login.user, login.password))
        };
        let login = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        assert_eq!(of("https://git.example.org/web"), login("alice", "a@b:c"));
        assert_eq!(of("https://GIT.example.org:443/web"), login("alice", "a@b:c"));
        assert_eq!(of("https://git.example.org:8443/web"), login("bob", "t"));
        assert_eq!(of("https://[::1]:9/web"), login("x", "y"));
        for other in ["https://example.org/web", "https://evil.example.org/web", "https://git.example.org.evil.net/web"]
        {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_none_is_said_without_what_it_holds() {
        let server = "https://git.example.org/web".parse::<RepositoryUrl>().unwrap().server();
        for bad in [
            "user:s3cret",
            "https://git.example.org",
            "https://s3cret@git.example.org",
            "http://user:s3cret@git.example.org",
            "https://user:s3cret@git.example.org/path",
            "https://user:s3cret@git.example.org evil.net",
            "https://user:s3cret@",
        ] {
            let text = format!("https://alice:b@git.example.org\n{bad}\n");
            let refused = Login::among("bitbuilder.https-login", &text, &server).unwrap_err().to_string();
            assert!(
                refused.starts_with("line 2 of bitbuilder.https-login is not https://USER:PASSWORD@HOST"),
                "{refused}"
            );
            assert!(refused.contains("bitbuilder.https-login.NAME") && !refused.contains("s3cret"), "{refused}");
        }
        for bad in ["", "s3cret", "user:a\nuser:s3cret"] {
            assert_eq!(Login::own("x", bad).unwrap_err().to_string(), "x is not USER:PASSWORD");
        }
        assert!(!format!("{:?}", Login::own("x", "user:s3cret").unwrap()).contains("s3cret"));
    }
}
