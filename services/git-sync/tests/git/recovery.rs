//! What a kill or a damage leaves, the next call makes good.

use crate::{
    record::{event, in_mirror},
    scene::{
        Daemon, Scene, breaks_off, checkout, errands_of, falls_silent, fetch, fetched, most_memory, noise, prune, until,
    },
};
use git_sync::Session;
use interfaces::git_sync::{Error, EventKind, Record};
use model::Revision;
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

#[tokio::test]
async fn a_killed_errand_is_made_good_by_the_next() {
    let scene = Scene::new();
    let session = scene.session();
    let first = scene.push_file("1");
    session.fetch(fetch(&scene.url())).await.unwrap();
    let web = scene.state().join("web");
    let daemon = Daemon::start(&scene);
    let hangs = format!("git://127.0.0.1:{}/web.git", falls_silent(daemon.port, 1));
    let killed = tokio::spawn({
        let session = session.clone();
        async move { session.fetch(fetch(&hangs)).await }
    });
    until(|| !errands_of(&scene.state()).is_empty()).await;
    for pid in errands_of(&scene.state()) {
        // The program that starts it has none of its limits for a moment.
        until(|| most_memory(pid) == 224 << 20).await;
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    }
    assert!(matches!(killed.await.unwrap(), Err(Error::Failed { .. })));
    // What a kill at other moments leaves: locks, half a pack, half a mirror, half a checkout, half a removal.
    fs::write(web.join("mirror.git/refs/heads/main.lock"), "").unwrap();
    fs::write(web.join("mirror.git/packed-refs.lock"), "").unwrap();
    fs::write(web.join("mirror.git/objects/pack/.tmpAbCdEf"), "half").unwrap();
    for half in [".new-mirror.git", &format!("checkouts/.new-{first}"), "checkouts/.old-x"] {
        fs::create_dir_all(web.join(half).join("a/b")).unwrap();
        fs::set_permissions(web.join(half).join("a"), fs::Permissions::from_mode(0o555)).unwrap();
    }
    let second = scene.push_file("2");
    assert_eq!(session.fetch(fetch(&scene.url())).await, Ok(fetched(&second, true)));
    assert!(session.checkout(checkout(&first)).await.unwrap().changed);
    let temporary = |directory: &Path| {
        fs::read_dir(directory).unwrap().any(|entry| entry.unwrap().file_name().to_string_lossy().starts_with('.'))
    };
    assert!(!temporary(&web) && !temporary(&web.join("checkouts")) && !temporary(&web.join("mirror.git/objects/pack")));
}

#[tokio::test]
async fn a_damaged_mirror_or_record_is_made_anew() {
    let scene = Scene::new();
    let session = scene.session();
    let revision = scene.push_file("1");
    let web = scene.state().join("web");
    let damages: [fn(&Path); 4] = [
        |web| fs::write(web.join("mirror.git/HEAD"), "").unwrap(),
        |web| fs::remove_dir_all(web.join("mirror.git/objects")).unwrap(),
        |web| fs::write(web.join("mirror.git/config"), "[core\n").unwrap(),
        |web| {
            for pack in fs::read_dir(web.join("mirror.git/objects/pack")).unwrap() {
                let pack = pack.unwrap().path();
                fs::remove_file(&pack).unwrap();
                fs::write(pack, "").unwrap();
            }
        },
    ];
    for (index, damage) in damages.into_iter().enumerate() {
        session.fetch(fetch(&scene.url())).await.unwrap();
        damage(&web);
        fs::write(web.join("record.json"), "{").unwrap();
        let out = session.checkout(checkout(&revision)).await;
        assert!(index == 0 || out.is_err(), "{index}: {out:?}");
        assert!(session.fetch(fetch(&scene.url())).await.unwrap().changed, "{index}");
        session.checkout(checkout(&revision)).await.unwrap();
        session.prune(prune(&[])).await.unwrap();
    }
}

#[tokio::test]
async fn many_pushes_do_not_pile_up() {
    let scene = Scene::new();
    let session = scene.session();
    for index in 0..105 {
        scene.push_file(&index.to_string());
        assert!(session.fetch(fetch(&scene.url())).await.unwrap().changed);
    }
    let packs = fs::read_dir(scene.state().join("web/mirror.git/objects/pack")).unwrap();
    assert!(packs.count() < 50);
}

/// What became of a commit is written into the mirror, as the orchestrator has it done.
async fn note(session: &Session, revision: &Revision) {
    let (repository, events) = (crate::scene::web(), vec![event(revision, EventKind::Verified, 1, None)]);
    let held = Some(revision.clone());
    session.record(Record { repository, events, wanted: None, target: None, verified: held }).await.unwrap();
}

fn told(scene: &Scene) -> String {
    in_mirror(scene, &["log", "--format=%N", "--notes=bitbuilder", "refs/bitbuilder/verified"]).trim().to_owned()
}

const NOTED: &str = "1970-01-01T00:00:01.000000Z verified";

#[tokio::test]
async fn a_server_that_breaks_off_costs_neither_the_mirror_nor_what_was_written_there() {
    static ARMED: AtomicBool = AtomicBool::new(false);
    static PASSED: AtomicU64 = AtomicU64::new(0);
    let scene = Scene::new();
    let daemon = Daemon::start(&scene);
    let url = format!("git://127.0.0.1:{}/web.git", breaks_off(daemon.port, &ARMED, &PASSED));
    let session = scene.session();
    let large = |blobs: &[&str]| {
        let names = [b"a", b"b"];
        let entries: Vec<(&str, &str, &[u8])> =
            blobs.iter().zip(names).map(|(blob, name)| ("100644", *blob, &name[..])).collect();
        scene.tree(&entries)
    };
    let (one, other) = (scene.blob(&noise(1 << 20)), scene.blob(&noise(1 << 20)));
    let first = scene.push(&large(&[&one]));
    session.fetch(fetch(&url)).await.unwrap();
    note(&session, &first).await;
    let mirror = || fs::metadata(scene.state().join("web/mirror.git")).unwrap().ino();
    let before = mirror();

    let commit = scene.git(&["commit-tree", "-m", "second", "-p", first.as_str(), &large(&[&one, &other])]);
    scene.git(&["update-ref", crate::scene::MAIN, &commit]);
    ARMED.store(true, Ordering::SeqCst);
    let broken = session.fetch(fetch(&url)).await.unwrap_err();
    assert!(matches!(broken, Error::RepositoryUnreachable { .. }) && !ARMED.load(Ordering::SeqCst), "{broken}");
    assert_eq!((told(&scene).as_str(), mirror()), (NOTED, before));
    PASSED.store(0, Ordering::SeqCst);
    assert_eq!(session.fetch(fetch(&url)).await, Ok(fetched(&commit.parse().unwrap(), true)));
    let passed = PASSED.load(Ordering::SeqCst);
    assert!((1 << 20..3 << 19).contains(&passed), "{passed} bytes: all was sent again");
    assert_eq!((told(&scene).as_str(), mirror()), (NOTED, before));
}

#[tokio::test]
async fn what_was_written_in_a_damaged_mirror_is_carried_over() {
    let scene = Scene::new();
    let session = scene.session();
    let web = scene.state().join("web");
    let damages: [fn(&Path); 4] = [
        |web| {
            for file in fs::read_dir(web.join("mirror.git/objects/pack")).unwrap() {
                let file = file.unwrap().path();
                if file.extension().is_some_and(|end| end == "pack") {
                    // One byte in the middle, as a disk loses it.
                    let mut bytes = fs::read(&file).unwrap();
                    let middle = bytes.len() / 2;
                    bytes[middle] ^= 0xff;
                    fs::remove_file(&file).unwrap();
                    fs::write(file, bytes).unwrap();
                }
            }
        },
        |web| fs::write(web.join("mirror.git/HEAD"), "").unwrap(),
        |web| fs::write(web.join("mirror.git/config"), "[core\n").unwrap(),
        |web| fs::write(web.join("mirror.git/damaged"), "").unwrap(),
    ];
    for (index, damage) in damages.into_iter().enumerate() {
        let first = scene.push_file(&format!("first {index}"));
        session.fetch(fetch(&scene.url())).await.unwrap();
        note(&session, &first).await;
        damage(&web);
        if index == 0 {
            // Nothing of what was written here is in that pack.
            assert!(session.checkout(checkout(&first)).await.is_err());
        }
        let second = scene.push_file(&format!("second {index}"));
        let mirror = fs::metadata(web.join("mirror.git")).unwrap().ino();
        assert_eq!(session.fetch(fetch(&scene.url())).await, Ok(fetched(&second, true)), "{index}");
        assert_ne!(fs::metadata(web.join("mirror.git")).unwrap().ino(), mirror, "{index}: nothing was replaced");
        let notes = in_mirror(&scene, &["notes", "--ref=bitbuilder", "show", first.as_str()]);
        // A commit that nothing but its damaged pack had is lost, and what is said of it is not.
        assert_eq!(notes.trim(), NOTED, "{index}");
        session.checkout(checkout(&second)).await.unwrap();
        session.prune(prune(&[])).await.unwrap();
    }
}
