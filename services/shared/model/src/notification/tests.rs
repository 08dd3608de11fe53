//! Addresses that nobody should speak to, and which project a repository is.

use super::*;

#[test]
fn addresses_that_leak_or_lead_elsewhere_are_refused() {
    for good in ["https://git.example.org/api/v1", "https://h", "http://127.0.0.1:3000/api/v1", "https://[::1]/x"] {
        assert!(good.parse::<Endpoint>().is_ok(), "{good:?} was refused");
    }
    for bad in [
        "",
        "git.example.org",
        "ftp://h/a",
        "https://",
        "https:///a",
        "https://user:secret@h/a",
        "https://token@h/a",
        "https://h/a?token=secret",
        "https://h/a#b",
        "https://h/../a",
        "https://h/./a",
        "https://h/a b",
        "https://h/a\r\nX: y",
        "https://h/%2e%2e/a",
        "https://h\\@evil/a",
        "https://h/https://evil",
        "https://h:0/a",
        "file:///etc/passwd",
    ] {
        assert!(bad.parse::<Endpoint>().is_err(), "{bad:?} was accepted");
    }
    let private = |text: &str| text.parse::<Endpoint>().unwrap().is_private();
    assert!(
        private("https://h/")
            && private("http://127.8.0.1/")
            && private("http://[::1]:80/")
            && private("http://localhost:3000")
    );
    assert!(
        !private("http://h/")
            && !private("http://localhost.evil/")
            && !private("http://10.0.0.1/")
            && !private("http://127.0.0.1.evil/")
    );
}

fn target(kind: Kind, address: &str) -> Target {
    let (name, address) = ("forge".parse().unwrap(), address.parse().unwrap());
    Target { name, kind, address, project: None, events: USUAL.to_vec(), tenants: None, since_u_sec: 0 }
}

#[test]
fn a_repository_at_a_forge_is_a_project_of_it() {
    let project = |kind, address: &str, url: &str| {
        let project = target(kind, address).project(Some(&url.parse().unwrap()));
        project.map_or("-".to_owned(), |project| project.to_string())
    };
    let github = |url| project(Kind::Github, "https://api.github.com", url);
    assert_eq!(github("https://github.com/owner/web.git"), "owner/web");
    assert_eq!(github("ssh://git@GitHub.com/owner/web"), "owner/web");
    assert_eq!(github("https://evil.example.org/owner/web"), "-");
    assert_eq!(github("https://github.com/owner/web/more"), "-");
    assert_eq!(github("file:///srv/owner/web"), "-");
    assert_eq!(project(Kind::Gitlab, "https://gitlab.com/api/v4", "https://gitlab.com/a/b/c.git/"), "a/b/c");
    let below = |url| project(Kind::Gitea, "https://h:8443/git/api/v1", url);
    assert_eq!(below("https://h/git/owner/web"), "owner/web");
    assert_eq!(below("ssh://git@h:22/owner/web"), "owner/web");
    assert_eq!(project(Kind::Github, "https://github.corp/api/v3", "https://github.corp/o/r"), "o/r");
    assert_eq!(project(Kind::Webhook, "https://h/", "https://other/o/r"), "-");
}

#[test]
fn a_forge_is_told_of_what_is_there_and_a_webhook_of_all() {
    let (web, mail): (RepositoryName, RepositoryName) = ("web".parse().unwrap(), "mail".parse().unwrap());
    let (here, there) = ("https://h/o/r".parse().unwrap(), "https://other/o/r".parse().unwrap());
    let forge = target(Kind::Gitea, "https://h/api/v1");
    assert!(forge.concerns(&web, Some(&here)) && !forge.concerns(&web, Some(&there)) && !forge.concerns(&web, None));
    let webhook = Target { tenants: Some(vec![web.clone()]), ..target(Kind::Webhook, "https://h/") };
    assert!(webhook.concerns(&web, None) && !webhook.concerns(&mail, Some(&here)));
    let fixed = Target { project: "o/r".parse().ok(), tenants: Some(vec![web.clone()]), ..forge };
    assert!(fixed.concerns(&web, Some(&there)) && !fixed.concerns(&mail, Some(&here)));
}

#[test]
fn what_each_event_says_of_a_commit() {
    let said: Vec<String> = [
        EventKind::Registered,
        EventKind::Left,
        EventKind::Admitted,
        EventKind::Refused,
        EventKind::Planned,
        EventKind::Verified,
        EventKind::Stopped,
        EventKind::RolledBack,
        EventKind::Failed,
        EventKind::FloorLost,
        EventKind::Suspended,
        EventKind::Resumed,
        EventKind::Retried,
        EventKind::Confirming,
        EventKind::Confirmed,
        EventKind::Kept,
        EventKind::Removed,
    ]
    .into_iter()
    .filter_map(|kind| {
        let occasion = Occasion::from(kind);
        // One word for one thing, here and on the wire.
        assert_eq!(serde_json::to_value(kind).unwrap(), serde_json::to_value(occasion).unwrap());
        occasion
            .commit_state()
            .map(|state| format!("{occasion} {}", serde_json::to_value(state).unwrap().as_str().unwrap()))
    })
    .collect();
    insta::assert_snapshot!(said.join("\n"), @"
    admitted pending
    refused failure
    planned pending
    verified success
    stopped success
    rolled_back failure
    failed failure
    retried pending
    confirming pending
    confirmed success
    ");
}
