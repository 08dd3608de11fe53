//! Tidying: mirrors become small when nothing else goes on, and who pushes does not wait for it.

use crate::{
    record::{event, in_mirror},
    scene::{Daemon, Scene, checkout, fetch, fetched, noise, prune, until},
};
use git_sync::Session;
use interfaces::git_sync::{EventKind, Fetch, Record};
use std::{fs, os::unix::fs::PermissionsExt, path::Path};

fn packs(web: &Path) -> usize {
    fs::read_dir(web.join("mirror.git/objects/pack"))
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().ends_with(".pack"))
        .count()
}

fn size(web: &Path) -> u64 {
    fs::read_dir(web.join("mirror.git/objects/pack"))
        .unwrap()
        // Git may have removed it since it was listed.
        .filter_map(|entry| entry.unwrap().metadata().ok())
        .map(|metadata| metadata.len())
        .sum()
}

#[tokio::test]
async fn the_packs_of_many_pushes_become_few_while_nothing_is_pushed() {
    let scene = Scene::new();
    let daemon = Daemon::start(&scene);
    let session = scene.session();
    let web = scene.state().join("web");
    let call = |floor| Fetch { floor, ..fetch(&daemon.url()) };
    let mut last = None;
    for index in 0..12 {
        let blob = scene.blob(index.to_string().as_bytes());
        let tree = scene.tree(&[("100644", &blob, b"metadata.json")]);
        let parent: Vec<&str> = last.iter().flat_map(|last: &model::Revision| ["-p", last.as_str()]).collect();
        let commit = scene.git(&[&["commit-tree", "-m", "change", &tree], &parent[..]].concat());
        scene.git(&["update-ref", crate::scene::MAIN, &commit]);
        let commit: model::Revision = commit.parse().unwrap();
        assert_eq!(session.fetch(call(last.clone())).await, Ok(fetched(&commit, true)));
        last = Some(commit);
    }
    assert_eq!(packs(&web), 12);
    let last = last.unwrap();
    session.checkout(checkout(&last)).await.unwrap();
    assert_eq!(session.fetch(call(None)).await, Ok(fetched(&last, false)));
    until(|| packs(&web) < 3).await;
    let next = scene.push_file("next");
    // Its history is another: the floor is still looked for, and still not in it.
    assert!(session.fetch(call(Some(last))).await.is_err());
    assert_eq!(session.fetch(call(None)).await, Ok(fetched(&next, true)));
    session.checkout(checkout(&next)).await.unwrap();
}

#[tokio::test]
async fn what_a_rewritten_branch_no_longer_names_goes() {
    let scene = Scene::new();
    let daemon = Daemon::start(&scene);
    let session = scene.session();
    let web = scene.state().join("web");
    let push = |length| {
        let blob = scene.blob(&noise(length));
        scene.push(&scene.tree(&[("100644", &blob, b"metadata.json")]))
    };
    let first = push(1000);
    session.fetch(fetch(&daemon.url())).await.unwrap();
    session.checkout(checkout(&first)).await.unwrap();
    let verified = event(&first, EventKind::Verified, 1, None);
    let (repository, held) = (crate::scene::web(), Some(first.clone()));
    let record = Record { repository, events: vec![verified], wanted: None, target: None, verified: held };
    session.record(record).await.unwrap();
    for _ in 0..4 {
        let commit = push(6 << 20);
        session.fetch(fetch(&daemon.url())).await.unwrap();
        session.checkout(checkout(&commit)).await.unwrap();
        session.prune(prune(&[&first, &commit])).await.unwrap();
    }
    let last = push(1000);
    session.fetch(fetch(&daemon.url())).await.unwrap();
    session.checkout(checkout(&last)).await.unwrap();
    session.prune(prune(&[&first, &last])).await.unwrap();
    until(|| size(&web) < 20 << 20).await;
    let told = in_mirror(&scene, &["log", "--format=%N", "--notes=bitbuilder", "refs/bitbuilder/verified"]);
    assert_eq!(told.trim(), "1970-01-01T00:00:01.000000Z verified", "the history was tidied away");
    // What is checked out can be checked out again, wherever the branch is.
    session.prune(prune(&[&last])).await.unwrap();
    assert!(session.checkout(checkout(&first)).await.unwrap().changed);
    let next = push(1000);
    assert_eq!(session.fetch(fetch(&daemon.url())).await, Ok(fetched(&next, true)));
}

#[tokio::test]
async fn who_pushes_does_not_wait_for_tidying() {
    let scene = Scene::new();
    let web = scene.state().join("web");
    // Tidying hangs with the lock held and leaves what a kill of git repack leaves.
    let (program, begun) = (scene.directory.path().join("program"), scene.directory.path().join("begun"));
    let text = format!(
        "#!/bin/sh\nread -r request\ncase $request in *'\"Tidy\"'*) touch {begun}\nexec flock {web}/lock sleep 1000;; esac\nprintf %s \"$request\" | {real} \"$@\"\n",
        begun = begun.display(),
        web = web.display(),
        real = env!("CARGO_BIN_EXE_git-sync")
    );
    fs::write(&program, text).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let session = Session::new(scene.errands().with_program(program.to_str().unwrap()));
    for index in 0..12 {
        scene.push_file(&index.to_string());
        session.fetch(fetch(&scene.url())).await.unwrap();
    }
    session.fetch(fetch(&scene.url())).await.unwrap();
    until(|| begun.exists()).await;
    fs::write(web.join("mirror.git/objects/pack/tmp_pack_XXXXXX"), "half").unwrap();
    let commit = scene.push_file("pushed meanwhile");
    assert_eq!(session.fetch(fetch(&scene.url())).await, Ok(fetched(&commit, true)));
    assert!(!web.join("mirror.git/objects/pack/tmp_pack_XXXXXX").exists());
}

#[tokio::test]
async fn what_was_put_off_too_often_is_done_first() {
    let scene = Scene::new();
    let web = scene.state().join("web");
    let file = |name: &str| scene.directory.path().join(name);
    let (program, begun, go) = (file("program"), file("begun"), file("go"));
    // Tidying takes until somebody says so.
    let text = format!(
        "#!/bin/sh\nread -r request\ncase $request in *'\"Tidy\"'*) touch {begun}\nuntil test -e {go}; do sleep 0.02; done;; esac\nprintf %s \"$request\" | {real} \"$@\"\n",
        begun = begun.display(),
        go = go.display(),
        real = env!("CARGO_BIN_EXE_git-sync")
    );
    fs::write(&program, text).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let errands = scene.errands().with_program(program.to_str().unwrap()).within(std::time::Duration::from_secs(2));
    let session = Session::new(errands);
    for index in 0..12 {
        scene.push_file(&index.to_string());
        session.fetch(fetch(&scene.url())).await.unwrap();
    }
    for put_off in 0..3 {
        session.fetch(fetch(&scene.url())).await.unwrap();
        until(|| begun.exists()).await;
        fs::remove_file(&begun).unwrap();
        let commit = scene.push_file(&format!("put off {put_off}"));
        assert_eq!(session.fetch(fetch(&scene.url())).await, Ok(fetched(&commit, true)));
    }
    session.fetch(fetch(&scene.url())).await.unwrap();
    until(|| begun.exists()).await;
    let commit = scene.push_file("has to wait");
    let waits = session.fetch(fetch(&scene.url())).await.unwrap_err().to_string();
    assert!(waits.contains("its mirror has to be tidied first"), "{waits}");
    assert!(packs(&web) > 12);
    fs::write(&go, "").unwrap();
    assert_eq!(session.fetch(fetch(&scene.url())).await, Ok(fetched(&commit, true)));
    assert!(packs(&web) < 5, "{}", packs(&web));
}

#[tokio::test]
async fn a_mirror_has_its_budget_and_a_rewritten_branch_goes_on_within_it() {
    let scene = Scene::new();
    let daemon = Daemon::start(&scene);
    let web = scene.state().join("web");
    let budget = 4 << 20;
    let session = Session::new(scene.errands().with_budget(budget));
    let push = |length| {
        let blob = scene.blob(&noise(length));
        scene.push(&scene.tree(&[("100644", &blob, b"metadata.json")]))
    };
    for _ in 0..10 {
        let commit = push(1 << 20);
        assert_eq!(session.fetch(fetch(&daemon.url())).await, Ok(fetched(&commit, true)));
        assert!(size(&web) <= budget, "{}", size(&web));
    }
    let before = size(&web);
    push(3 << 20);
    for _ in 0..2 {
        let refused = session.fetch(fetch(&daemon.url())).await.unwrap_err().to_string();
        assert!(refused.ends_with("it has something too large for this host: a mirror may have 4 MiB"), "{refused}");
        assert_eq!(size(&web), before, "something half made is left");
    }
    let commit = push(1 << 20);
    assert_eq!(session.fetch(fetch(&daemon.url())).await, Ok(fetched(&commit, true)));
}
