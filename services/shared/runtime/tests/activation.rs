//! A process that the service manager starts: sockets by sd_listen_fds(3), notices by sd_notify(3), an end by SIGTERM. The
//! test program runs itself as that process.

#![allow(clippy::disallowed_methods, reason = "the test is the service manager of its own helper")]
#![allow(clippy::unwrap_used, reason = "a helper of tests fails as a test does")]

use interfaces::storage::CONTRACT;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use runtime::{Answer, Call, Identify, Options, Session, caller::HostUsers};
use std::{
    io::{Read, Write},
    os::{
        fd::OwnedFd,
        unix::net::{UnixDatagram, UnixListener, UnixStream},
    },
    process::{Command, Stdio},
    time::Duration,
};

/// Set in the process that is the service.
const SERVES: &str = "BITBUILDER_TEST_SERVES";

#[derive(Clone)]
struct Silent;

impl Session for Silent {
    async fn call(&self, call: Call) -> Answer {
        call.not_served()
    }
}

#[test]
fn a_service_takes_its_socket_over_and_says_how_it_is() {
    if std::env::var_os(SERVES).is_some() {
        let options = Options::activated(&CONTRACT, Identify::Host(HostUsers::default()));
        runtime::run("silent", runtime::serve(options, Silent));
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let manager = UnixDatagram::bind(directory.path().join("notify")).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let listener = UnixListener::bind(directory.path().join("socket")).unwrap();
    // Descriptor 3 is the first that is passed, and the pid must be that of the process that they are meant for.
    let mut service = Command::new("sh")
        .args(["-c", r#"exec 3<&0 </dev/null; LISTEN_PID=$$ exec "$0" "$@""#])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "a_service_takes_its_socket_over_and_says_how_it_is"])
        .env(SERVES, "1")
        .env("LISTEN_FDS", "1")
        .env("LISTEN_FDNAMES", "varlink")
        .env("NOTIFY_SOCKET", directory.path().join("notify"))
        .stdin(Stdio::from(OwnedFd::from(listener)))
        .spawn()
        .unwrap();
    let notice = || {
        let mut buffer = [0; 100];
        let read = manager.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..read]).trim().to_owned()
    };
    assert_eq!(notice(), "READY=1");
    let mut peer = UnixStream::connect(directory.path().join("socket")).unwrap();
    peer.write_all(b"{\"method\":\"io.systemd.service.Ping\"}\0").unwrap();
    let mut reply = [0; 100];
    let read = peer.read(&mut reply).unwrap();
    assert_eq!(&reply[..read], b"{\"parameters\":{}}\0");
    kill(Pid::from_raw(i32::try_from(service.id()).unwrap()), Signal::SIGTERM).unwrap();
    assert_eq!(notice(), "STOPPING=1");
    assert_eq!(peer.read(&mut reply).unwrap(), 0);
    assert!(service.wait().unwrap().success());
}
