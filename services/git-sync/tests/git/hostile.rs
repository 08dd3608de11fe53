//! Commits and servers that are made to do harm.

use crate::scene::{Daemon, Scene, checkout, errands_of, falls_silent, fetch, until};
use git_sync::{Bounds, Session};
use interfaces::git_sync::{Error, Fetch, List};
use model::names::RepositoryName;
use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    time::{Duration, Instant},
};

/// What an entry of a tree is made of: mode, object, name.
type Entry<'a> = (&'a str, &'a str, &'a [u8]);

#[tokio::test]
async fn evil_trees_are_refused_by_name_and_leave_nothing() {
    let scene = Scene::new();
    let file = scene.blob(b"x");
    let large = scene.blob(&[b'x'; 5000]);
    let lfs = scene.blob(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n");
    let absolute = scene.blob(b"/etc/passwd");
    let escaping = scene.blob(b"../../etc/passwd");
    let tricky = scene.blob(b"a/../../x");
    let commit = scene.push_file("x");
    let hooks = scene.tree(&[("100755", &file, b"post-checkout")]);
    let hooks = scene.tree(&[("40000", &hooks, b"hooks")]);
    let deep = (0..10).fold(scene.tree(&[("100644", &file, b"f")]), |inner, _| scene.tree(&[("40000", &inner, b"d")]));
    // Ten directories, each of which is ten times the same: a thousand million files in a few hundred bytes.
    let bomb = (0..7).fold(scene.tree(&[("100644", &file, b"f")]), |inner, _| {
        let names: Vec<String> = (0..10).map(|index| format!("d{index}")).collect();
        let entries: Vec<_> = names.iter().map(|name| ("40000", inner.as_str(), name.as_bytes())).collect();
        scene.tree(&entries)
    });
    let inside = scene.tree(&[("100644", &file, b"passwd")]);
    let table: Vec<(&str, Vec<Entry<'_>>, &str)> = vec![
        ("submodule", vec![("160000", commit.as_str(), b"sub")], "sub"),
        ("LFS pointer", vec![("100644", &lfs, b"image.raw")], "image.raw"),
        ("absolute link", vec![("120000", &absolute, b"link")], "link"),
        ("escaping link", vec![("120000", &escaping, b"link")], "link"),
        ("link with .. behind a name", vec![("120000", &tricky, b"link")], "link"),
        ("link of 5000 bytes", vec![("120000", &large, b"link")], "link"),
        (".git/hooks", vec![("40000", &hooks, b".git")], ".git"),
        (".GIT", vec![("40000", &hooks, b".GIT")], ".GIT"),
        ("git~1", vec![("40000", &hooks, b"git~1")], "git~1"),
        ("HFS .git", vec![("40000", &hooks, ".g\u{200c}it".as_bytes())], ".g\u{fffd}it"),
        ("..", vec![("40000", &inside, b"..")], ".."),
        (".", vec![("40000", &inside, b".")], "."),
        ("slash", vec![("100644", &file, b"a/../../../b")], "a/../../../b"),
        ("newline", vec![("100644", &file, b"a\nb")], "a\u{fffd}b"),
        ("escape sequence", vec![("100644", &file, b"\x1b[2J")], "\u{fffd}[2J"),
        ("not UTF-8", vec![("100644", &file, b"\xff")], "\u{fffd}"),
        ("no name", vec![("100644", &file, b"")], ""),
        ("case twins", vec![("100644", &file, b"README"), ("100644", &file, b"readme")], "readme"),
        ("link and directory", vec![("120000", &file, b"etc"), ("40000", &inside, b"etc")], "etc"),
        ("too deep", vec![("40000", &deep, b"d")], "d/d/d/d/d/d"),
        ("bomb", vec![("40000", &bomb, b"b")], "b/"),
        ("too large", vec![("100644", &large, b"f")], "f"),
        ("too much", vec![("100644", &file, b"a"), ("40000", &deep, b"d")], "d"),
        ("mode", vec![("20000", &file, b"device")], "device"),
        ("tree that is a file", vec![("40000", &file, b"d")], "d"),
        ("file that is a tree", vec![("100644", &inside, b"f")], "f"),
    ];
    let bounds = Bounds { entries: 50, depth: 8, file: 4000, total: 4000 };
    let session = Session::new(scene.errands().with_bounds(bounds));
    for (what, entries, place) in table {
        let revision = scene.push(&scene.tree(&entries));
        if let Err(cause) = session.fetch(fetch(&scene.url())).await {
            // Git's own server does not serve these; another one might.
            assert!(["no name", "tree that is a file", "file that is a tree"].contains(&what), "{what}: {cause}");
            scene.smuggle();
        }
        match session.checkout(checkout(&revision)).await {
            Err(Error::RefusedContent { path, reason, .. }) => {
                assert!(
                    path == place || (place.ends_with(['/', 'd']) && path.starts_with(place)),
                    "{what}: {path}: {reason}"
                );
            }
            other => panic!("{what}: {other:?}"),
        }
        let held = session.list(List { repository: None }).await.unwrap().remove(0);
        assert_eq!(held.checkouts, [], "{what}");
        let left = fs::read_dir(scene.state().join("web/checkouts")).map_or(0, Iterator::count);
        assert_eq!(left, 0, "{what} left something");
    }
}

#[tokio::test]
async fn a_server_that_hangs_costs_its_deadline_and_no_process() {
    let scene = Scene::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let session = Session::new(scene.errands().within(Duration::from_millis(700)));
    for url in
        [format!("git://127.0.0.1:{port}/a"), format!("http://127.0.0.1:{port}/a"), format!("ssh://127.0.0.1:{port}/a")]
    {
        let begun = Instant::now();
        let hung = session.fetch(fetch(&url)).await.unwrap_err();
        assert!(matches!(hung, Error::RepositoryUnreachable { .. }), "{hung}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{url}");
        until(|| errands_of(&scene.state()).is_empty()).await;
    }
    // Another repository is not held up, and one that is no longer waited for leaves nothing either.
    let patient = scene.session();
    let daemon = Daemon::start(&scene);
    scene.push_file("0");
    let waiting = tokio::spawn({
        let silent = falls_silent(daemon.port, 1);
        let (patient, call) = (patient.clone(), fetch(&format!("git://127.0.0.1:{silent}/web.git")));
        async move { patient.fetch(call).await }
    });
    until(|| !errands_of(&scene.state()).is_empty()).await;
    scene.push_file("1");
    let other = Fetch { repository: RepositoryName::system(), ..fetch(&scene.url()) };
    assert!(patient.fetch(other).await.unwrap().changed);
    waiting.abort();
    until(|| errands_of(&scene.state()).is_empty()).await;
}

#[tokio::test]
async fn nonsense_from_a_server_is_an_answer_like_another() {
    let scene = Scene::new();
    let session = scene.session();
    for nonsense in [
        "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n",
        "0000",
        "zzzz",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let mut request = [0; 4096];
                if stream.read(&mut request).unwrap_or(0) == 0 {
                    return;
                }
                stream.write_all(nonsense.as_bytes()).ok();
            }
        });
        for scheme in ["git", "http"] {
            let refused = session.fetch(fetch(&format!("{scheme}://127.0.0.1:{port}/a"))).await.unwrap_err();
            println!("{scheme} {nonsense:?}: {refused}");
            assert!(
                matches!(refused, Error::RepositoryUnreachable { .. } | Error::NoSuchReference { .. }),
                "{refused}"
            );
        }
        drop(std::net::TcpStream::connect(("127.0.0.1", port)).unwrap());
        server.join().unwrap();
    }
}
