//! Looking at servers: nothing is started for a repository to which nothing was pushed, and no server delays another's.

use crate::scene::{Daemon, Scene, checkout, falls_silent, fetch, fetch_reference, fetched, most_memory, until};
use git_sync::Session;
use interfaces::git_sync::{Error, Fetch, Look, Looked};
use model::{
    Remote,
    RemoteState::{self, Away, Spare, Used},
};
use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    time::{Duration, Instant},
};

/// The program as the service runs it, which writes down what it was run for.
struct Counted(PathBuf);

impl Counted {
    fn new(scene: &Scene) -> Self {
        let (program, log) = (scene.directory.path().join("counted"), scene.directory.path().join("counted.log"));
        let text =
            format!("#!/bin/sh\necho \"$1 $$\" >>{}\nexec {} \"$@\"\n", log.display(), env!("CARGO_BIN_EXE_git-sync"));
        fs::write(&program, text).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(&log, "").unwrap();
        Self(program)
    }

    fn session(&self, scene: &Scene) -> Session {
        Session::new(scene.errands().with_program(self.0.to_str().unwrap()))
    }

    fn started(&self, argument: &str) -> Vec<i32> {
        let log = fs::read_to_string(self.0.with_extension("log")).unwrap();
        log.lines().filter_map(|line| line.strip_prefix(argument)?.trim().parse().ok()).collect()
    }

    fn errands(&self) -> usize {
        self.started("--errand").len()
    }
}

#[tokio::test]
async fn nothing_is_started_for_what_is_not_new() {
    let scene = Scene::new();
    let daemon = Daemon::start(&scene);
    let counted = Counted::new(&scene);
    let session = counted.session(&scene);
    let call = || fetch(&daemon.url());
    let first = scene.push_file("1");
    assert_eq!(session.fetch(call()).await, Ok(fetched(&first, true)));
    // Nothing tells yet that the mirror has it.
    assert_eq!(session.fetch(call()).await, Ok(fetched(&first, false)));
    assert_eq!(counted.errands(), 2);
    session.checkout(checkout(&first)).await.unwrap();
    assert_eq!(counted.errands(), 3);
    for _ in 0..5 {
        assert_eq!(session.fetch(call()).await, Ok(fetched(&first, false)));
        assert!(!session.checkout(checkout(&first)).await.unwrap().changed);
    }
    let floor = Fetch { floor: Some(first.clone()), ..call() };
    assert_eq!(session.fetch(floor).await, Ok(fetched(&first, false)));
    assert_eq!(counted.errands(), 3, "something was started");
    assert_eq!(counted.started("--looker").len(), 1);

    let second = scene.push_file("2");
    assert_eq!(session.fetch(call()).await, Ok(fetched(&second, true)));
    session.checkout(checkout(&second)).await.unwrap();
    // Another floor has to be looked for.
    let other = Fetch { floor: Some(first.clone()), ..call() };
    assert!(matches!(session.fetch(other).await, Err(Error::HistoryRewritten { .. })));
    let renamed = fetch_reference(&daemon.url(), "refs/heads/absent");
    let before = counted.errands();
    assert!(matches!(session.fetch(renamed).await, Err(Error::NoSuchReference { .. })));
    assert_eq!(counted.errands(), before);
    assert_eq!(session.fetch(call()).await, Ok(fetched(&second, false)), "what was asked in between spoils nothing");
}

#[tokio::test]
async fn many_are_looked_at_with_one_call() {
    use futures_util::StreamExt;
    let scene = Scene::new();
    let daemon = Daemon::start(&scene);
    let counted = Counted::new(&scene);
    let session =
        Session::new(scene.errands().with_program(counted.0.to_str().unwrap()).within(Duration::from_secs(2)));
    let commit = scene.push_file("1");
    let call = |name: &str, url: &str| Fetch { repository: name.parse().unwrap(), ..fetch(url) };
    for name in ["web", "mail"] {
        session.fetch(call(name, &daemon.url())).await.unwrap();
    }
    session.checkout(checkout(&commit)).await.unwrap();
    let dead = TcpListener::bind("127.0.0.1:0").unwrap();
    let dead = format!("git://{}/a", dead.local_addr().unwrap());
    let closed =
        format!("git://127.0.0.1:{}/a", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port());
    let before = counted.errands();
    let repositories = vec![
        call("web", &daemon.url()),
        call("mail", &daemon.url()),
        Fetch { reference: "refs/heads/absent".parse().unwrap(), ..call("absent", &daemon.url()) },
        call("file", &scene.url()),
        call("dead", &dead),
        call("closed", &closed),
    ];
    let mut sights = std::pin::pin!(session.look(Look { repositories }));
    let mut seen = Vec::new();
    while let Some(sight) = sights.next().await {
        seen.extend(sight.unwrap().0.repositories);
    }
    seen.sort_by(|one, other| one.repository.cmp(&other.repository));
    let shown: Vec<_> = seen
        .iter()
        .map(|one| (one.repository.as_str(), one.revision.clone(), one.path.is_some(), one.unreachable.is_some()))
        .collect();
    let expected = [
        ("absent", None, false, false),
        ("closed", None, false, true),
        ("dead", None, false, true),
        ("file", None, false, false),
        // It is not checked out.
        ("mail", None, false, false),
        ("web", Some(commit), true, false),
    ];
    assert_eq!(shown, expected);
    assert_eq!(counted.errands(), before);
}

/// What one look shows of one repository.
async fn look(session: &Session, call: Fetch) -> Looked {
    use futures_util::StreamExt;
    let mut sights = std::pin::pin!(session.look(Look { repositories: vec![call] }));
    sights.next().await.unwrap().unwrap().0.repositories.pop().unwrap()
}

/// A web server that answers at once and then says a byte now and then, for ever.
fn dribbles() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut request = [0; 4096];
                let kind = "application/x-git-upload-pack-advertisement";
                let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: 100000\r\n\r\n001e");
                if stream.read(&mut request).unwrap_or(0) == 0 {
                    return;
                }
                stream.write_all(head.as_bytes()).ok();
                while stream.write_all(b"#").is_ok() {
                    // The server's pace is what is tested.
                    std::thread::sleep(Duration::from_millis(700));
                }
            });
        }
    });
    port
}

#[tokio::test]
async fn a_server_that_dribbles_has_its_bound_and_the_others_keep_their_looker() {
    let scene = Scene::new();
    let daemon = Daemon::start(&scene);
    let counted = Counted::new(&scene);
    let program = counted.0.to_str().unwrap();
    let session = Session::new(scene.errands().with_program(program).within(Duration::from_secs(1)));
    let commit = scene.push_file("1");
    session.fetch(fetch(&daemon.url())).await.unwrap();
    session.checkout(checkout(&commit)).await.unwrap();
    let slow = Fetch { repository: "slow".parse().unwrap(), ..fetch(&format!("http://127.0.0.1:{}/a", dribbles())) };
    for _ in 0..2 {
        let begun = Instant::now();
        let looked = look(&session, slow.clone()).await;
        assert_eq!(looked.unreachable.as_deref(), Some("it has not answered within 1 s"));
        assert!(begun.elapsed() < Duration::from_millis(2500), "{:?}", begun.elapsed());
    }
    assert_eq!(look(&session, fetch(&daemon.url())).await.revision, Some(commit));
    assert_eq!(counted.started("--looker").len(), 1, "others lost their looker");
}

fn states(remotes: &[Remote]) -> Vec<RemoteState> {
    remotes.iter().map(|remote| remote.state).collect()
}

#[tokio::test]
async fn a_mirror_is_not_asked_while_the_repository_answers() {
    let scene = Scene::new();
    let daemon = Daemon::start(&scene);
    let counted = Counted::new(&scene);
    let session = counted.session(&scene);
    let mirror = TcpListener::bind("127.0.0.1:0").unwrap();
    mirror.set_nonblocking(true).unwrap();
    let url = format!("git://{}/web.git", mirror.local_addr().unwrap()).parse().unwrap();
    let call = Fetch { mirrors: vec![url].try_into().ok(), ..fetch(&daemon.url()) };
    let commit = scene.push_file("1");
    session.fetch(call.clone()).await.unwrap();
    session.checkout(checkout(&commit)).await.unwrap();
    let before = counted.errands();
    for _ in 0..3 {
        let seen = look(&session, call.clone()).await;
        assert_eq!((seen.revision.as_ref(), states(&seen.remotes)), (Some(&commit), vec![Used, Spare]));
        assert!(!session.fetch(call.clone()).await.unwrap().changed);
    }
    assert_eq!(counted.errands(), before);
    assert!(mirror.accept().is_err(), "the mirror was asked");
}

#[tokio::test]
async fn a_look_goes_on_with_a_mirror_and_leaves_who_is_away_alone() {
    let scene = Scene::new();
    let daemon = Daemon::start(&scene);
    let counted = Counted::new(&scene);
    let errands = scene.errands().with_program(counted.0.to_str().unwrap()).within(Duration::from_secs(4));
    let session = Session::new(errands);
    // A look and a fetch, and one look more.
    let first = format!("git://127.0.0.1:{}/web.git", falls_silent(daemon.port, 3));
    let mirrors = vec![daemon.url().parse().unwrap()];
    let call = Fetch { mirrors: mirrors.try_into().ok(), ..fetch(&first) };
    let commit = scene.push_file("1");
    session.fetch(call.clone()).await.unwrap();
    session.checkout(checkout(&commit)).await.unwrap();
    assert_eq!(states(&look(&session, call.clone()).await.remotes), [Used, Spare]);
    let before = counted.errands();

    let seen = look(&session, call.clone()).await;
    assert_eq!((seen.revision.as_ref(), seen.unreachable), (Some(&commit), None));
    assert_eq!(states(&seen.remotes), [Away, Used]);
    assert_eq!(seen.remotes[0].reason.as_deref(), Some("it has not answered within 2 s"));
    let begun = Instant::now();
    let seen = look(&session, call.clone()).await;
    assert_eq!((seen.revision.as_ref(), states(&seen.remotes)), (Some(&commit), vec![Away, Used]));
    assert!(begun.elapsed() < Duration::from_secs(1), "who is away was asked again: {:?}", begun.elapsed());
    assert_eq!(counted.errands(), before, "what the mirror shows was fetched from the repository");

    let pushed = scene.push_file("2");
    assert_eq!(look(&session, call.clone()).await.revision, None);
    let fetched = session.fetch(call.clone()).await.unwrap();
    assert_eq!((&fetched.revision, states(&fetched.remotes)), (&pushed, vec![Away, Used]));
    drop(daemon);
    let seen = look(&session, call).await;
    let reason = seen.unreachable.unwrap();
    assert!(seen.revision.is_none() && states(&seen.remotes) == [Away, Away] && reason.contains("; "), "{reason}");
}

#[tokio::test]
async fn a_tag_is_looked_at_as_what_it_names() {
    let scene = Scene::new();
    let daemon = Daemon::start(&scene);
    let counted = Counted::new(&scene);
    let session = counted.session(&scene);
    let commit = scene.push_file("1");
    scene.git(&["tag", "-a", "-m", "x", "v1", commit.as_str()]);
    let call = || fetch_reference(&daemon.url(), "refs/tags/v1");
    session.fetch(call()).await.unwrap();
    session.checkout(checkout(&commit)).await.unwrap();
    let before = counted.errands();
    assert_eq!(session.fetch(call()).await, Ok(fetched(&commit, false)));
    assert_eq!(counted.errands(), before);
    // The same commit by another tag of the same name: its signature is another.
    scene.git(&["tag", "-f", "-a", "-m", "y", "v1", commit.as_str()]);
    session.fetch(call()).await.unwrap();
    assert_eq!(counted.errands(), before + 1);
}

#[tokio::test]
async fn a_looker_that_is_killed_is_replaced() {
    let scene = Scene::new();
    let daemon = Daemon::start(&scene);
    let counted = Counted::new(&scene);
    let session = counted.session(&scene);
    let commit = scene.push_file("1");
    session.fetch(fetch(&daemon.url())).await.unwrap();
    session.checkout(checkout(&commit)).await.unwrap();
    let kill = |pid: i32| {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    };
    kill(counted.started("--looker")[0]);
    assert_eq!(session.fetch(fetch(&daemon.url())).await, Ok(fetched(&commit, false)));
    // Also in the middle of a look: it is asked for once more, and the server answers that.
    let port = crate::scene::falls_silent(daemon.port, 0);
    let begun = tokio::spawn({
        let (session, call) = (session.clone(), fetch(&format!("git://127.0.0.1:{port}/web.git")));
        async move { session.fetch(call).await }
    });
    until(|| counted.started("--looker").len() == 2).await;
    kill(counted.started("--looker")[1]);
    until(|| counted.started("--looker").len() == 3).await;
    begun.abort();
    assert_eq!(
        session.fetch(Fetch { repository: "mail".parse().unwrap(), ..fetch(&daemon.url()) }).await.map(|f| f.revision),
        Ok(commit)
    );
}

#[tokio::test]
async fn a_hundred_repositories_on_a_dead_server_delay_nobody() {
    let scene = Scene::new();
    let daemon = Daemon::start(&scene);
    let commit = scene.push_file("1");
    let dead = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = dead.local_addr().unwrap().port();
    let session = Session::new(scene.errands().within(Duration::from_secs(6)));
    let begun = Instant::now();
    let mut hung = tokio::task::JoinSet::new();
    for index in 0..100 {
        let repository = format!("dead{index}").parse().unwrap();
        let call = Fetch { repository, ..fetch(&format!("git://127.0.0.1:{port}/{index}")) };
        let session = session.clone();
        hung.spawn(async move { session.fetch(call).await });
    }
    tokio::task::yield_now().await;
    for index in 0..10 {
        let call = Fetch { repository: format!("well{index}").parse().unwrap(), ..fetch(&daemon.url()) };
        assert_eq!(session.fetch(call).await, Ok(fetched(&commit, true)));
    }
    assert!(begun.elapsed() < Duration::from_secs(6), "they waited for the dead server: {:?}", begun.elapsed());
    while let Some(ended) = hung.join_next().await {
        let ended = ended.unwrap();
        assert!(matches!(ended, Err(Error::RepositoryUnreachable { .. })), "{ended:?}");
    }
    // Not a deadline each.
    assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
}

/// Serves `speak` to everybody who connects.
fn server(speak: impl Fn(TcpStream) + Send + Clone + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let speak = speak.clone();
            std::thread::spawn(move || speak(stream.unwrap()));
        }
    });
    port
}

#[tokio::test]
async fn a_server_that_says_a_little_or_too_much_is_bounded() {
    let scene = Scene::new();
    let daemon = Daemon::start(&scene);
    let counted = Counted::new(&scene);
    let session =
        Session::new(scene.errands().with_program(counted.0.to_str().unwrap()).within(Duration::from_secs(2)));
    let drips = server(|mut stream| {
        let Ok(_asked) = stream.read(&mut [0; 1000]) else { return };
        for byte in b"000eversion 2\n".iter().cycle() {
            std::thread::sleep(Duration::from_millis(200));
            if stream.write_all(&[*byte]).is_err() {
                return;
            }
        }
    });
    let floods = server(|mut stream| {
        let Ok(_asked) = stream.read(&mut [0; 1000]) else { return };
        let line = |text: String| format!("{:04x}{text}", text.len() + 4);
        let first = line(format!("{} HEAD\0side-band-64k\n", "a".repeat(40)));
        let mut sent = stream.write_all(first.as_bytes());
        for index in 0_u64.. {
            if sent.is_err() {
                return;
            }
            sent = stream.write_all(line(format!("{} refs/heads/{index}\n", "a".repeat(40))).as_bytes());
        }
    });
    for port in [drips, floods] {
        for scheme in ["git", "http"] {
            let begun = Instant::now();
            let refused = session.fetch(fetch(&format!("{scheme}://127.0.0.1:{port}/a"))).await.unwrap_err();
            assert!(matches!(refused, Error::RepositoryUnreachable { .. } | Error::Failed { .. }), "{refused}");
            assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
        }
    }
    let commit = scene.push_file("1");
    assert_eq!(session.fetch(fetch(&daemon.url())).await, Ok(fetched(&commit, true)));
    let looker = *counted.started("--looker").last().unwrap();
    let status = fs::read_to_string(format!("/proc/{looker}/status")).unwrap();
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")).unwrap();
    assert!(most.parse::<u64>().unwrap() < 64 << 10, "the looker had {most} kB");
    assert_eq!(most_memory(looker), 224 << 20);
}
