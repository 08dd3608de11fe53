//! Servers that are made to do harm. Trees and packs that are have a table of their own in the integration tests.

use crate::scene::{Daemon, Scene, errands_of, falls_silent, fetch, until};
use git_sync::Session;
use interfaces::git_sync::{Error, Fetch};
use model::names::RepositoryName;
use std::{
    io::{Read, Write},
    net::TcpListener,
    time::{Duration, Instant},
};

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
