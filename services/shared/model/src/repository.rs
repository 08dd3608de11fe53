//! Where a repository is, which of its references counts, and which commit was meant.

use crate::text::checked_text;
use std::net::Ipv6Addr;

checked_text!(
    /// The address of a Git repository. Without user information, because a secret in an address ends in a log; no
    /// `ext::` and no leading `-`, because Git would run what follows (CVE-2017-1000117, gitremote-helpers(7)).
    RepositoryUrl,
    "a repository address",
    "https://, http://, git:// or ssh:// with HOST/PATH, or file:///PATH, without user:password@, '..', '%', '?', '#' and spaces",
    |text| {
        let Some((scheme, rest)) = text.split_once("://") else { return false };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        text.len() <= 1024
            && text.bytes().all(|b| b.is_ascii_graphic() && !b"\\%?#".contains(&b))
            // A secret hides behind these, too.
            && !path.contains("://")
            && !path.is_empty()
            && !path.split('/').any(|part| part == "..")
            && match scheme {
                "file" => authority.is_empty(),
                // ssh has no password in its address, and cannot do without a user.
                "ssh" => is_host(authority.split_once('@').map_or(authority, |(user, host)| if is_word(user) { host } else { "" })),
                "https" | "http" | "git" => is_host(authority),
                _ => false,
            }
    }
);

/// The port of an address that names none.
fn usual_port(scheme: &str) -> Option<u16> {
    match scheme {
        "https" => Some(443),
        "http" => Some(80),
        // git-daemon(1)
        "git" => Some(9418),
        "ssh" => Some(22),
        _ => None,
    }
}

/// A host, and a port if there is one.
pub(crate) fn is_host(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => (address.parse::<Ipv6Addr>().is_ok(), port),
        None => {
            let end = text.find(':').unwrap_or(text.len());
            (is_word(&text[..end]), &text[end..])
        }
    };
    let number =
        |digits: &str| digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<u16>().is_ok_and(|n| n > 0);
    host && (port.is_empty() || port.strip_prefix(':').is_some_and(number))
}

/// The host of one with a port.
pub(crate) fn host_of(authority: &str) -> &str {
    match authority.split_once(']') {
        Some((address, _)) => address.trim_start_matches('['),
        None => authority.split_once(':').map_or(authority, |(host, _)| host),
    }
}

/// A host's or a user's name. None begins with what ssh would take for an option.
fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

checked_text!(
    /// Where a repository is pushed to: over SSH, whose keys are files that Git is not told the content of.
    PushUrl,
    "an address to push to",
    "ssh://USER@HOST[:PORT]/PATH",
    |text| text.starts_with("ssh://") && text.contains('@') && text.parse::<RepositoryUrl>().is_ok()
);

impl PushUrl {
    /// The server that is pushed to.
    #[must_use]
    pub fn server(&self) -> Server {
        RepositoryUrl(self.0.clone()).server()
    }

    /// The server as a part of a file's name: `HOST`, with `+PORT` if that is not SSH's usual one.
    #[must_use]
    pub fn server_label(&self) -> Option<String> {
        RepositoryUrl(self.0.clone()).server_label()
    }
}

checked_text!(
    /// A full reference name: a branch or a tag (git-check-ref-format(1)).
    Reference,
    "a reference",
    "refs/heads/NAME or refs/tags/NAME as git-check-ref-format accepts it",
    |text| {
        let Some(name) = text.strip_prefix("refs/heads/").or_else(|| text.strip_prefix("refs/tags/")) else { return false };
        text.len() <= 255
            && !name.is_empty()
            && !name.contains("..")
            && !name.contains("@{")
            && !name.ends_with('.')
            && name.split('/').all(|part| !part.is_empty() && !part.starts_with(['.', '-']) && !part.ends_with(".lock"))
            && name.bytes().all(|b| b.is_ascii_graphic() && !b"~^:?*[\\%\"'$`".contains(&b))
    }
);

impl RepositoryUrl {
    /// The server's name without a port, as it was written, and the path without the `/` before it; no server for a path of
    /// this host's own.
    #[must_use]
    pub fn parts(&self) -> (Option<&str>, &str) {
        let (_, server, path) = self.split();
        let host = host_of(server);
        ((!host.is_empty()).then_some(host), path)
    }

    /// The scheme, the host with a port if there is one, and the path.
    fn split(&self) -> (&str, &str, &str) {
        let (scheme, rest) = self.0.split_once("://").unwrap_or_default();
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        (scheme, authority.rsplit_once('@').map_or(authority, |(_, host)| host), path)
    }

    /// Where nothing is: the address of a tenant that nobody registered.
    #[must_use]
    pub fn nowhere() -> Self {
        Self("file:///nowhere".to_owned())
    }
}

/// A server by host and port, or this host's own files.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Server(String);

impl Server {
    /// Whether it is this host's own files.
    #[must_use]
    pub fn is_here(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.is_here() { "this host" } else { &self.0 })
    }
}

impl RepositoryUrl {
    /// The server that is asked for it.
    #[must_use]
    pub fn server(&self) -> Server {
        let (scheme, host, _) = self.split();
        let host = host.to_ascii_lowercase();
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
        let Some(port) = usual_port(scheme) else { return Server(String::new()) };
        Server(if has_port { host } else { format!("{host}:{port}") })
    }

    /// The server as a part of a file's name: `HOST`, with `+PORT` if that is not the scheme's usual one. This host has none.
    #[must_use]
    pub fn server_label(&self) -> Option<String> {
        let (scheme, _) = self.0.split_once("://")?;
        let server = self.server();
        let (host, port) = server.0.rsplit_once(':')?;
        let host = host.trim_matches(['[', ']']).replace(':', "-");
        let is_usual = usual_port(scheme).is_some_and(|usual| usual.to_string() == port);
        Some(if is_usual { host } else { format!("{host}+{port}") })
    }
}

impl Reference {
    /// The branch that is followed when nobody says otherwise.
    #[must_use]
    pub fn main() -> Self {
        Self("refs/heads/main".to_owned())
    }
}

checked_text!(
    /// A commit's object name in full: 40 hexadecimal digits (SHA-1) or 64 (SHA-256).
    Revision,
    "a revision",
    "40 or 64 lower-case hexadecimal digits",
    |text| matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
);

impl Revision {
    /// What Git calls a commit that is not there yet (git-diff-index(1)): the name of a tree that nobody committed.
    #[must_use]
    pub fn unborn() -> Self {
        Self("0".repeat(40))
    }

    /// Whether nobody made this commit yet.
    #[must_use]
    pub fn is_unborn(&self) -> bool {
        self.0.bytes().all(|digit| digit == b'0')
    }

    /// The first twelve digits, for people.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_would_run_or_leak_something_are_refused() {
        assert_eq!(RepositoryUrl::nowhere().as_str().parse(), Ok(RepositoryUrl::nowhere()));
        for good in [
            "https://git.example.org/a.git",
            "git://127.0.0.1/web",
            "file:///srv/git/web.git",
            "ssh://git@example.org/a.git",
            "ssh://git@example.org:2222/a",
            "http://[::1]:8080/x",
        ] {
            assert!(good.parse::<RepositoryUrl>().is_ok(), "{good:?} was refused");
        }
        for bad in [
            "",
            "web",
            "-oProxyCommand=x",
            "ext::sh -c id",
            "https://user:secret@example.org/a",
            "https://token@example.org/a",
            "ssh://-oProxyCommand=id/a",
            "ssh://git:pw@example.org/a",
            "file://host/a",
            "file:///srv/../etc",
            "https:///a",
            "git@example.org:a",
            "https://example.org/a b",
            "https://example.org/a\n",
            "ftp://example.org/a",
            "fd::3/a",
            "git://-x/a",
            "https://h",
            "https://h/",
            "https://:80/a",
            "https://h:/a",
            "https://h:+80/a",
            "https://h:99999/a",
            "https://[::g]/a",
            "https://h;id/a",
            "https://h/a/../b",
            "ssh://a@b@h/a",
            "https://h/a?token=secret",
            "https://h/https://user:secret@h/a",
        ] {
            assert!(bad.parse::<RepositoryUrl>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn a_server_is_its_host_and_port() {
        for (url, server, label) in [
            ("https://Git.example.org/a.git", "git.example.org:443", Some("git.example.org")),
            ("https://git.example.org:443/a:1/b", "git.example.org:443", Some("git.example.org")),
            ("http://h:8080/a", "h:8080", Some("h+8080")),
            ("git://h/a", "h:9418", Some("h")),
            ("ssh://git@h/a@b", "h:22", Some("h")),
            ("ssh://other@h:22/b", "h:22", Some("h")),
            ("git://[::1]/a", "[::1]:9418", Some("--1")),
            ("git://[::1]:80/a", "[::1]:80", Some("--1+80")),
            ("file:///srv/git/a", "this host", None),
        ] {
            let url: RepositoryUrl = url.parse().unwrap();
            assert_eq!((url.server().to_string().as_str(), url.server_label().as_deref()), (server, label), "{url}");
        }
    }

    #[test]
    fn an_address_has_a_server_and_a_path() {
        let parts = |text: &str| {
            let url: RepositoryUrl = text.parse().unwrap();
            let (host, path) = url.parts();
            format!("{} {path}", host.unwrap_or("-"))
        };
        assert_eq!(parts("https://git.example.org:8443/a/b.git"), "git.example.org a/b.git");
        assert_eq!(parts("ssh://git@example.org:2222/a/b"), "example.org a/b");
        assert_eq!(parts("http://[::1]:8080/x"), "::1 x");
        assert_eq!(parts("file:///srv/git/web.git"), "- srv/git/web.git");
    }

    #[test]
    fn references_follow_git() {
        for good in ["refs/heads/main", "refs/tags/v1.0", "refs/heads/a/b"] {
            assert!(good.parse::<Reference>().is_ok(), "{good:?} was refused");
        }
        for bad in [
            "main",
            "HEAD",
            "refs/heads/",
            "refs/heads/a..b",
            "refs/heads/-x",
            "refs/heads/a.lock",
            "refs/heads/a b",
            "refs/notes/x",
            "refs/heads/.a",
            "refs/heads/a@{1}",
            "refs/heads/a:refs/heads/b",
            "refs/heads/a//b",
            "refs/heads/*",
            "--upload-pack=id",
        ] {
            assert!(bad.parse::<Reference>().is_err(), "{bad:?} was accepted");
        }
    }
}
