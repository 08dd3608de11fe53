//! What a kill or a damage leaves, the next call makes good.

use crate::scene::{Daemon, Scene, checkout, errands_of, falls_silent, fetch, fetched, most_memory, prune, until};
use interfaces::git_sync::Error;
use std::{fs, os::unix::fs::PermissionsExt, path::Path};

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
