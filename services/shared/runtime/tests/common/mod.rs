//! A service of io.bitbuilder.Storage whose calls a test can hold and watch, and peers of it that know no Varlink but what a
//! test makes them send.

#![allow(dead_code, missing_docs, unreachable_pub, reason = "each test program uses a part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper of tests fails as a test does")]
#![allow(clippy::needless_pass_by_value, reason = "json!() is then written without a &")]

use futures_util::{StreamExt, stream};
use interfaces::{
    Method,
    storage::{Changed, Ensure, Error, List, Listed, Volumes},
};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use runtime::{Answer, Call, Identify, Options, Session, caller::HostUsers, serve_on, session::Continues};
use rustix::{
    process::{Gid, Uid},
    thread,
};
use serde_json::{Value, json};
use std::{
    io::{ErrorKind, Read, Write},
    os::{
        fd::AsFd,
        unix::{fs::PermissionsExt, net::UnixStream},
    },
    path::{Path, PathBuf},
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};
use tokio::sync::{Semaphore, oneshot};

/// Longer than anything here takes, however busy the machine is.
pub const LONG: Duration = Duration::from_secs(60);
/// Long enough to see that something does not happen.
pub const SHORT: Duration = Duration::from_millis(300);
/// A uid that has no role.
pub const NOBODY: u32 = 65534;

pub const LIST: &str = "io.bitbuilder.Storage.List";
pub const ENSURE: &str = "io.bitbuilder.Storage.Ensure";
pub const PING: &str = "io.systemd.service.Ping";

#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    Began(String),
    Ended(String),
    Abandoned(String),
}

/// The tenant's name says what a call does: slow ones wait for `release`, big ones answer much, panicking ones panic.
#[derive(Clone)]
struct Testing {
    events: mpsc::Sender<Event>,
    release: Arc<Semaphore>,
    /// Whether lists go on and on.
    follows: bool,
}

/// Tells how its call came to an end.
struct Watched {
    name: String,
    events: mpsc::Sender<Event>,
    ended: bool,
}

impl Watched {
    fn end(mut self) {
        self.ended = true;
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let name = std::mem::take(&mut self.name);
        self.events.send(if self.ended { Event::Ended(name) } else { Event::Abandoned(name) }).ok();
    }
}

fn volumes(tenant: &str, path: &str) -> Volumes {
    Volumes {
        tenant: tenant.parse().unwrap(),
        generation: 1,
        spec: model::StorageSpec { image: "debian".parse().unwrap() },
        path: path.to_owned(),
        intact: true,
        subvolume: false,
    }
}

impl Testing {
    fn watch(&self, name: &str) -> Watched {
        self.events.send(Event::Began(name.to_owned())).ok();
        Watched { name: name.to_owned(), events: self.events.clone(), ended: false }
    }

    async fn list(&self, wanted: List) -> Result<Vec<Volumes>, Error> {
        match wanted.tenant.as_ref().map(model::TenantName::as_str) {
            None => Ok(["a", "b", "c"].map(|tenant| volumes(tenant, "")).into()),
            Some("none") => Ok(Vec::new()),
            Some("slow") => {
                let watched = self.watch("slow");
                self.release.acquire().await.unwrap().forget();
                watched.end();
                Ok(vec![volumes("slow", "")])
            }
            Some("big") => Ok((0..64).map(|_| volumes("big", &"x".repeat(64 << 10))).collect()),
            Some("panic") => panic!("a handler panics, as a test wants it to"),
            Some(tenant) => Ok(vec![volumes(tenant, "")]),
        }
    }

    async fn ensure(&self, wanted: Ensure) -> Result<Changed, Error> {
        let tenant = wanted.tenant.as_str();
        let watched = self.watch(tenant);
        if tenant == "slow" {
            self.release.acquire().await.unwrap().forget();
        }
        watched.end();
        match wanted.spec.image.as_str() {
            "absent" => Err(Error::NoSuchImage { image: wanted.spec.image }),
            _ => Ok(Changed { changed: true }),
        }
    }

    /// One reply, and then none for as long as somebody waits.
    fn follow(&self) -> impl futures_util::Stream<Item = Result<(Listed, Continues), Error>> + use<> {
        let watched = self.watch("follow");
        let first = Listed { volumes: vec![volumes("follow", "")] };
        stream::iter([Ok((first, Continues::Yes))]).chain(stream::once(async move {
            let _watched = watched;
            std::future::pending().await
        }))
    }
}

impl Session for Testing {
    async fn call(&self, call: Call) -> Answer {
        match call.name() {
            List::NAME if self.follows => call.stream(async |_: List| Ok(self.follow())).await,
            List::NAME => call.list(|wanted: List| self.list(wanted), |volumes| Listed { volumes }).await,
            Ensure::NAME => call.answer(|wanted: Ensure| self.ensure(wanted)).await,
            _ => call.not_served(),
        }
    }
}

/// The service, on a runtime as small as that of a real one.
pub struct Server {
    directory: tempfile::TempDir,
    stop: Mutex<Option<oneshot::Sender<()>>>,
    ended: mpsc::Receiver<()>,
    pub events: mpsc::Receiver<Event>,
    pub release: Arc<Semaphore>,
    _runtime: tokio::runtime::Runtime,
}

pub fn options() -> Options {
    Options::activated(&interfaces::storage::CONTRACT, Identify::Host(HostUsers::default()))
}

impl Server {
    pub fn start(options: Options) -> Self {
        Self::with(options, false)
    }

    /// A service whose lists say one thing and then nothing.
    pub fn following(options: Options) -> Self {
        Self::with(options, true)
    }

    fn with(options: Options, follows: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let socket = directory.path().join("io.bitbuilder.Storage");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let listener = {
            let _inside = runtime.enter();
            tokio::net::UnixListener::bind(&socket).unwrap()
        };
        std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o666)).unwrap();
        let (say, events) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let (end, ended) = mpsc::channel();
        let release = Arc::new(Semaphore::new(0));
        let session = Testing { events: say, release: release.clone(), follows };
        runtime.spawn(async move {
            serve_on(vec![listener], options, session, async {
                if stopped.await.is_err() {
                    std::future::pending().await
                }
            })
            .await;
            end.send(()).ok();
        });
        Self { directory, stop: Mutex::new(Some(stop)), ended, events, release, _runtime: runtime }
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("io.bitbuilder.Storage")
    }

    pub fn connect(&self) -> Peer {
        Peer::on(UnixStream::connect(self.socket()).unwrap())
    }

    /// A peer of another uid and with these groups. Credentials belong to a thread, so no process is needed for it.
    pub fn connect_as(&self, uid: u32, groups: &[u32]) -> Peer {
        let (socket, groups) = (self.socket(), groups.to_vec());
        let connect = move || {
            let groups: Vec<Gid> = groups.into_iter().map(Gid::from_raw).collect();
            thread::set_thread_groups(&groups).unwrap();
            let gid = Gid::from_raw(uid);
            thread::set_thread_res_gid(gid, gid, gid).unwrap();
            let uid = Uid::from_raw(uid);
            thread::set_thread_res_uid(uid, uid, uid).unwrap();
            UnixStream::connect(socket).unwrap()
        };
        Peer::on(std::thread::spawn(connect).join().unwrap())
    }

    pub fn stop(&self) {
        self.stop.lock().unwrap().take().unwrap().send(()).unwrap();
    }

    pub fn has_ended(&self, within: Duration) -> bool {
        self.ended.recv_timeout(within).is_ok()
    }

    pub fn event(&self) -> Event {
        self.events.recv_timeout(LONG).expect("an event")
    }

    /// Others are served.
    pub fn assert_alive(&self) {
        assert_eq!(self.connect().call(PING, json!({})), json!({"parameters": {}}));
    }
}

/// Whether this process may take other uids; says so if not.
pub fn may_be_others() -> bool {
    let root = nix::unistd::Uid::effective().is_root();
    if !root {
        test_host::skip("only root can connect as somebody else");
    }
    root
}

pub fn message(method: &str, parameters: Value) -> Vec<u8> {
    bytes(&json!({"method": method, "parameters": parameters}))
}

pub fn more(method: &str, parameters: Value) -> Vec<u8> {
    bytes(&json!({"method": method, "parameters": parameters, "more": true}))
}

pub fn oneway(method: &str, parameters: Value) -> Vec<u8> {
    bytes(&json!({"method": method, "parameters": parameters, "oneway": true}))
}

pub fn ensure(tenant: &str) -> Value {
    json!({"tenant": tenant, "generation": 1, "spec": {"image": "debian"}})
}

fn bytes(message: &Value) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(message).unwrap();
    bytes.push(0);
    bytes
}

/// The other end of a connection.
pub struct Peer {
    pub stream: UnixStream,
    unread: Vec<u8>,
}

impl Peer {
    fn on(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream.set_write_timeout(Some(LONG)).unwrap();
        Self { stream, unread: Vec::new() }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.send(&message(method, parameters));
        self.receive().expect("a reply")
    }

    /// The next reply, or nothing if the service has closed the connection.
    pub fn receive(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == 0) {
                let message: Vec<u8> = self.unread.drain(..=end).collect();
                return Some(serde_json::from_slice(&message[..end]).unwrap());
            }
            let mut buffer = vec![0; 64 << 10];
            match self.stream.read(&mut buffer) {
                Ok(0) => return None,
                Ok(read) => self.unread.extend_from_slice(&buffer[..read]),
                Err(cause) if [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe].contains(&cause.kind()) => {
                    return None;
                }
                Err(cause) => panic!("no reply: {cause}"),
            }
        }
    }

    /// Waits until the service has closed the connection, without reading what it sent.
    pub fn await_hang_up(&self) {
        let mut watched = [PollFd::new(self.stream.as_fd(), PollFlags::empty())];
        poll(&mut watched, PollTimeout::try_from(LONG).unwrap()).unwrap();
        assert!(watched[0].revents().unwrap().contains(PollFlags::POLLHUP), "the connection is still there");
    }
}

pub fn refusal(error: &str, parameters: Value) -> Value {
    json!({"error": format!("org.varlink.service.{error}"), "parameters": parameters})
}
