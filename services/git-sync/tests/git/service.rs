//! What each call does, and what it says when it cannot.

use crate::scene::{Daemon, Scene, checkout, fetch, fetch_reference, fetched, prune, web};
use interfaces::git_sync::{Error, List};
use model::Revision;
use std::{
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

#[tokio::test]
async fn a_push_is_fetched_checked_out_listed_and_pruned() {
    let scene = Scene::new();
    let daemon = Daemon::start(&scene);
    let first = scene.push_file("1");
    let session = scene.session();
    assert_eq!(session.fetch(fetch(&daemon.url())).await, Ok(fetched(&first, true)));
    assert_eq!(session.fetch(fetch(&daemon.url())).await, Ok(fetched(&first, false)));
    let out = session.checkout(checkout(&first)).await.unwrap();
    assert!(out.changed);
    assert_eq!(out.path, scene.state().join(format!("web/checkouts/{first}")).display().to_string());
    assert_eq!(fs::read(Path::new(&out.path).join("metadata.json")).unwrap(), b"1");
    assert!(!session.checkout(checkout(&first)).await.unwrap().changed);

    let second = scene.push_file("2");
    assert_eq!(session.fetch(fetch(&daemon.url())).await, Ok(fetched(&second, true)));
    session.checkout(checkout(&second)).await.unwrap();
    let held = session.list(List { repository: Some(web()) }).await.unwrap().remove(0);
    assert_eq!(held.revision.as_ref(), Some(&second));
    assert_eq!(held.checkouts.len(), 2);
    assert_eq!(session.list(List { repository: None }).await.unwrap(), [held]);

    assert!(session.prune(prune(&[&second])).await.unwrap().changed);
    assert!(!session.prune(prune(&[&second])).await.unwrap().changed);
    assert_eq!(session.list(List { repository: None }).await.unwrap()[0].checkouts, [second]);
    // The same commit from another address is nothing new, and the address is remembered.
    assert!(!session.fetch(fetch(&scene.url())).await.unwrap().changed);
    assert_eq!(session.list(List { repository: None }).await.unwrap()[0].url, Some(scene.url().parse().unwrap()));
}

#[tokio::test]
async fn a_forced_push_is_followed_and_old_commits_stay() {
    let scene = Scene::new();
    let session = scene.session();
    let first = scene.push_file("1");
    session.fetch(fetch(&scene.url())).await.unwrap();
    let other = scene.push_file("something else");
    assert_eq!(session.fetch(fetch(&scene.url())).await, Ok(fetched(&other, true)));
    assert!(session.checkout(checkout(&first)).await.unwrap().changed);
}

#[tokio::test]
async fn tags_are_peeled_and_references_may_lie_below_each_other() {
    let scene = Scene::new();
    let session = scene.session();
    let commit = scene.push_file("1");
    scene.git(&["tag", "-a", "-m", "x", "v1", commit.as_str()]);
    scene.git(&["tag", "-a", "-m", "x", "v2", "v1"]);
    scene.git(&["tag", "tree", &format!("{commit}^{{tree}}")]);
    for reference in ["refs/tags/v1", "refs/tags/v2"] {
        let found = session.fetch(fetch_reference(&scene.url(), reference)).await;
        assert_eq!(found, Ok(fetched(&commit, true)));
    }
    let refused = session.fetch(fetch_reference(&scene.url(), "refs/tags/tree")).await.unwrap_err();
    assert!(matches!(refused, Error::RefusedContent { .. }), "{refused}");
    for name in ["a", "a/b", "a"] {
        scene.git(&["for-each-ref", "--format=delete %(refname)", "refs/heads/a"]).lines().for_each(|line| {
            scene.git(&["update-ref", "-d", line.trim_start_matches("delete ")]);
        });
        scene.git(&["update-ref", &format!("refs/heads/{name}"), commit.as_str()]);
        let fetched = session.fetch(fetch_reference(&scene.url(), &format!("refs/heads/{name}"))).await.unwrap();
        assert!(fetched.changed, "{name}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_said_by_name() {
    let scene = Scene::new();
    let session = scene.session();
    let nothing: Revision = "0".repeat(40).parse().unwrap();
    let tree = scene.git_with(&["mktree"], b"");
    assert!(matches!(session.checkout(checkout(&nothing)).await, Err(Error::NoSuchRepository { .. })));
    assert!(matches!(session.list(List { repository: Some(web()) }).await, Err(Error::NoSuchRepository { .. })));
    assert_eq!(session.list(List { repository: None }).await, Ok(vec![]));
    assert!(!session.prune(prune(&[])).await.unwrap().changed);
    // An empty repository, then one without this branch.
    for _ in 0..2 {
        let missing = session.fetch(fetch_reference(&scene.url(), "refs/heads/absent")).await.unwrap_err();
        assert!(matches!(missing, Error::NoSuchReference { .. }), "{missing}");
        scene.push(&tree);
    }
    session.fetch(fetch(&scene.url())).await.unwrap();
    for absent in [nothing.as_str(), &"0".repeat(64), &tree] {
        let missing = session.checkout(checkout(&absent.parse().unwrap())).await.unwrap_err();
        assert!(matches!(missing, Error::NoSuchRevision { .. }), "{missing}");
    }
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let elsewhere = scene.directory.path().display();
    let daemon = Daemon::start(&scene);
    for url in [
        format!("git://127.0.0.1:{closed}/a"),
        format!("http://127.0.0.1:{closed}/a"),
        format!("file://{elsewhere}/absent"),
        format!("file://{elsewhere}"),
        format!("git://127.0.0.1:{}/absent.git", daemon.port),
        format!("ssh://git@127.0.0.1:{closed}/a"),
    ] {
        let Err(Error::RepositoryUnreachable { reason, .. }) = session.fetch(fetch(&url)).await else {
            panic!("{url} answered")
        };
        assert!((10..=300).contains(&reason.chars().count()) && !reason.contains('\n'), "{url}: {reason}");
        println!("{url}: {reason}");
    }
}

#[tokio::test]
async fn bytes_and_modes_are_those_of_the_commit() {
    let scene = Scene::new();
    let attributes = scene.blob(b"* text eol=crlf filter=evil ident\n");
    let text = scene.blob(b"a\r\nb\n$Id$\n");
    let link = scene.blob(b"../metadata.json");
    let sub = scene.tree(&[("120000", &link, b"link"), ("100755", &text, b"run"), ("100664", &text, b"shared")]);
    let tree = scene.tree(&[
        ("100644", &attributes, b".gitattributes"),
        ("100644", &text, b"metadata.json"),
        ("40000", &sub, b"scripts"),
    ]);
    let revision = scene.push(&tree);
    let session = scene.session();
    session.fetch(fetch(&scene.url())).await.unwrap();
    let path = PathBuf::from(session.checkout(checkout(&revision)).await.unwrap().path);
    assert_eq!(fs::read(path.join("metadata.json")).unwrap(), b"a\r\nb\n$Id$\n");
    assert_eq!(fs::read(path.join("scripts/link")).unwrap(), b"a\r\nb\n$Id$\n");
    for (name, mode) in
        [("", 0o555), ("scripts", 0o555), ("scripts/run", 0o555), ("scripts/shared", 0o444), ("metadata.json", 0o444)]
    {
        assert_eq!(fs::metadata(path.join(name)).unwrap().permissions().mode() & 0o7777, mode, "{name}");
    }
}
