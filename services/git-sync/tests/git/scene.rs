//! A repository that is pushed to, a server for it, and what is held of it.

use git_sync::{Errands, Session};
use interfaces::git_sync::{Checkout, Fetch, Fetched, Prune};
use model::{Revision, names::RepositoryName};
use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

pub(crate) const MAIN: &str = "refs/heads/main";

/// A repository that is pushed to, and the state of a service beside it.
pub(crate) struct Scene {
    pub(crate) directory: tempfile::TempDir,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let scene = Self { directory: tempfile::tempdir().unwrap() };
        scene.git(&["init", "--quiet", "--bare", "--initial-branch=main", "."]);
        scene
    }

    pub(crate) fn origin(&self) -> PathBuf {
        let origin = self.directory.path().join("origin/web.git");
        fs::create_dir_all(&origin).unwrap();
        origin
    }

    pub(crate) fn state(&self) -> PathBuf {
        let state = self.directory.path().join("state");
        fs::create_dir_all(&state).unwrap();
        state
    }

    pub(crate) fn url(&self) -> String {
        format!("file://{}", self.origin().display())
    }

    pub(crate) fn errands(&self) -> Errands {
        Errands::new(&self.state()).with_program(env!("CARGO_BIN_EXE_git-sync"))
    }

    pub(crate) fn session(&self) -> Session {
        Session::new(self.errands())
    }

    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        self.git_with(arguments, b"")
    }

    pub(crate) fn git_with(&self, arguments: &[&str], input: &[u8]) -> String {
        let mut git = git()
            .args(arguments)
            .current_dir(self.origin())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        git.stdin.take().unwrap().write_all(input).unwrap();
        let output = git.wait_with_output().unwrap();
        assert!(output.status.success(), "git {arguments:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    pub(crate) fn blob(&self, content: &[u8]) -> String {
        self.git_with(&["hash-object", "-w", "--stdin"], content)
    }

    /// A tree of entries as `100644 blob ID` and a name, written as they are: Git itself would refuse some.
    pub(crate) fn tree(&self, entries: &[(&str, &str, &[u8])]) -> String {
        let mut bytes = Vec::new();
        for (mode, id, name) in entries {
            let id: Vec<u8> = (0..20).map(|at| u8::from_str_radix(&id[2 * at..2 * at + 2], 16).unwrap()).collect();
            bytes.extend([mode.as_bytes(), b" ", name, b"\0", &id].concat());
        }
        self.git_with(&["hash-object", "-w", "-t", "tree", "--stdin", "--literally"], &bytes)
    }

    /// Makes a commit of a tree and lets the branch name it.
    pub(crate) fn push(&self, tree: &str) -> Revision {
        let commit = self.git(&["commit-tree", "-m", "change", tree]);
        self.git(&["update-ref", MAIN, &commit]);
        commit.parse().unwrap()
    }

    pub(crate) fn push_file(&self, content: &str) -> Revision {
        let blob = self.blob(content.as_bytes());
        self.push(&self.tree(&[("100644", &blob, b"metadata.json")]))
    }
}

pub(crate) fn git() -> Command {
    let mut git = Command::new("git");
    git.env_clear().env("PATH", std::env::var_os("PATH").unwrap());
    for role in ["AUTHOR", "COMMITTER"] {
        git.env(format!("GIT_{role}_NAME"), "a").env(format!("GIT_{role}_EMAIL"), "a@example.org");
    }
    git
}

pub(crate) fn web() -> RepositoryName {
    "web".parse().unwrap()
}

pub(crate) fn fetch(url: &str) -> Fetch {
    fetch_reference(url, MAIN)
}

pub(crate) fn fetch_reference(url: &str, reference: &str) -> Fetch {
    let (url, reference) = (url.parse().unwrap(), reference.parse().unwrap());
    Fetch { repository: web(), url, mirrors: None, reference, trust: None, floor: None }
}

pub(crate) fn checkout(revision: &Revision) -> Checkout {
    Checkout { repository: web(), revision: revision.clone() }
}

pub(crate) fn prune(keep: &[&Revision]) -> Prune {
    Prune { repository: web(), keep: keep.iter().map(|kept| (*kept).clone()).collect() }
}

/// `git daemon` on a port of its own; it and its children end with this, also when a test fails.
pub(crate) struct Daemon {
    process: Child,
    pub(crate) port: u16,
}

impl Daemon {
    pub(crate) fn start(scene: &Scene) -> Self {
        for _ in 0..20 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let base = scene.origin().parent().unwrap().to_owned();
            let mut process = git()
                .args([
                    "daemon",
                    "--reuseaddr",
                    "--export-all",
                    "--listen=127.0.0.1",
                    "--verbose",
                    "--log-destination=stderr",
                ])
                .arg(format!("--port={port}"))
                .arg(format!("--base-path={}", base.display()))
                .process_group(0)
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            // It says so when it listens; if somebody else has taken the port, it ends.
            let mut said = Vec::new();
            let mut stderr = process.stderr.take().unwrap();
            let mut byte = [0];
            while stderr.read(&mut byte).unwrap() == 1 && !String::from_utf8_lossy(&said).contains("Ready to rumble") {
                said.push(byte[0]);
            }
            std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
            let daemon = Self { process, port };
            if String::from_utf8_lossy(&said).contains("Ready to rumble") {
                return daemon;
            }
        }
        panic!("git daemon finds no port");
    }

    pub(crate) fn url(&self) -> String {
        format!("git://127.0.0.1:{}/web.git", self.port)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let group = nix::unistd::Pid::from_raw(i32::try_from(self.process.id()).unwrap());
        nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL).ok();
        self.process.wait().ok();
    }
}

/// A server that lets the first `answered` connections through to another, and never answers the others.
pub(crate) fn falls_silent(to: u16, answered: usize) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for (index, stream) in listener.incoming().enumerate() {
            let stream = stream.unwrap();
            if index >= answered {
                held.push(stream);
                continue;
            }
            let server = TcpStream::connect(("127.0.0.1", to)).unwrap();
            for (mut from, mut to) in [(stream.try_clone().unwrap(), server.try_clone().unwrap()), (server, stream)] {
                std::thread::spawn(move || {
                    // Either may hang up first.
                    std::io::copy(&mut from, &mut to).ok();
                    to.shutdown(std::net::Shutdown::Write).ok();
                });
            }
        }
    });
    port
}

/// A server that passes on what another says, and breaks off once, when `armed`, in the middle of something large. It counts
/// what it passed on since then.
pub(crate) fn breaks_off(to: u16, armed: &'static AtomicBool, passed: &'static AtomicU64) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (mut client, mut server) = (client.unwrap(), TcpStream::connect(("127.0.0.1", to)).unwrap());
            let (mut asks, mut is_asked) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || {
                std::io::copy(&mut asks, &mut is_asked).ok();
                is_asked.shutdown(std::net::Shutdown::Write).ok();
            });
            std::thread::spawn(move || {
                let (mut bytes, mut said) = ([0; 4096], 0);
                while let Ok(read @ 1..) = server.read(&mut bytes) {
                    said += read;
                    passed.fetch_add(read as u64, Ordering::SeqCst);
                    let is_over = said > 100_000 && armed.swap(false, Ordering::SeqCst);
                    if is_over || client.write_all(&bytes[..read]).is_err() {
                        break;
                    }
                }
                client.shutdown(std::net::Shutdown::Both).ok();
            });
        }
    });
    port
}

/// Bytes that do not shrink.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    Read::read_exact(&mut fs::File::open("/dev/urandom").unwrap(), &mut bytes).unwrap();
    bytes
}

/// The errands that are running below a state directory, by what their environment says.
pub(crate) fn errands_of(state: &Path) -> Vec<i32> {
    let state = state.display().to_string();
    let of = |pid: &i32| {
        fs::read(format!("/proc/{pid}/environ")).is_ok_and(|env| String::from_utf8_lossy(&env).contains(&state))
    };
    let pids = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    pids.filter(of).collect()
}

/// How much memory of its own the kernel gives a process.
pub(crate) fn most_memory(pid: i32) -> u64 {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let limit = limits.lines().find_map(|line| line.strip_prefix("Max data size")).unwrap();
    limit.split_whitespace().next().unwrap().parse().unwrap_or(u64::MAX)
}

pub(crate) async fn until(condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(20), "it did not come to be");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What a fetch gives when no signature was wanted.
pub(crate) fn fetched(revision: &Revision, changed: bool) -> Fetched {
    Fetched { revision: revision.clone(), changed, signer: None, remotes: Vec::new() }
}
