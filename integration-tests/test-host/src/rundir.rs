//! What the hosts of this machine own, and how a dead one is told from a living one: its supervisor holds a lock for as long as it lives.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::event::PollFlags;

use crate::cache::remove;
use crate::notify::{Woken, await_any};

const RUN: &str = "/run/bitbuilder-testhost";
const WORK: &str = "/var/tmp/bitbuilder-testhost";
const CGROUP_PREFIX: &str = "bitbuilder-testhost-";

/// How long the processes of a host that was killed may take to be gone.
const DYING: Duration = Duration::from_secs(30);

/// Everything that one host owns, by its name.
#[derive(Debug, Clone)]
pub(crate) struct RunDir {
    pub(crate) name: String,
    cgroups: PathBuf,
}

/// One host, as a person sees it in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The host's name.
    pub name: String,
    /// The pid of its PID 1 on the machine, unless it is just booting.
    pub pid: Option<u32>,
    /// Whether it outlives the command that started it.
    pub kept: bool,
}

impl RunDir {
    pub(crate) fn of(name: &str) -> Result<Self> {
        let valid = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        ensure!(
            (1..=40).contains(&name.len()) && name.bytes().all(valid) && !name.starts_with('-') && !name.ends_with('-'),
            "{name:?} cannot be a host's name: at most 40 of a-z, 0-9 and inner dashes"
        );
        Ok(Self { name: name.to_owned(), cgroups: cgroup_root()? })
    }

    /// Makes the folders of a new host. The lock says that it lives, until a supervisor has taken it over.
    pub(crate) fn create(name: &str) -> Result<(Self, File)> {
        let new = Self::of(name)?;
        let _all = lock_all()?;
        if !new.clear()? {
            bail!("a host named {name} is already there");
        }
        for folder in [new.path("notify"), new.work()] {
            fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
        }
        let lock = File::create(new.path("lock")).context("creating the host's lock")?;
        lock.lock().context("taking the host's lock")?;
        Ok((new, lock))
    }

    pub(crate) fn folder(&self) -> PathBuf {
        Path::new(RUN).join(&self.name)
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder().join(file)
    }

    pub(crate) fn work(&self) -> PathBuf {
        Path::new(WORK).join(&self.name)
    }

    pub(crate) fn cgroup(&self) -> PathBuf {
        self.cgroups.join(format!("{CGROUP_PREFIX}{}", self.name))
    }

    /// A number that one of the host's processes has written.
    pub(crate) fn number(&self, file: &str) -> Option<u32> {
        fs::read_to_string(self.path(file)).ok()?.trim().parse().ok()
    }

    pub(crate) fn alive(&self) -> Result<bool> {
        let lock = match File::open(self.path("lock")) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            lock => lock.context("opening a host's lock")?,
        };
        // Shared: two who look at once do not take each other for the supervisor.
        match lock.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error).context("trying a host's lock"),
        }
    }

    /// Removes what a dead host has left; a living one is left alone.
    pub(crate) fn remove(&self) -> Result<()> {
        let _all = lock_all()?;
        self.clear().map(drop)
    }

    /// False when the host lives. The caller holds the lock of all.
    fn clear(&self) -> Result<bool> {
        if self.alive()? {
            return Ok(false);
        }
        clear_cgroup(&self.cgroup())?;
        remove(&self.work())?;
        // Last, for it is what a later sweep would find the rest by.
        remove(&self.folder())?;
        Ok(true)
    }
}

/// Removes everything that hosts without a living supervisor have left on this machine.
pub fn sweep() -> Result<()> {
    let _all = lock_all()?;
    let cgroups = cgroup_root()?;
    let mut names = folders(Path::new(RUN))?;
    names.extend(folders(Path::new(WORK))?);
    names.extend(folders(&cgroups)?.iter().filter_map(|name| name.strip_prefix(CGROUP_PREFIX)).map(str::to_owned));
    for name in names {
        RunDir { name, cgroups: cgroups.clone() }.clear()?;
    }
    Ok(())
}

/// The hosts that live, by name.
pub fn list() -> Result<Vec<Summary>> {
    let mut hosts = Vec::new();
    for name in folders(Path::new(RUN))? {
        let host = RunDir::of(&name)?;
        if host.alive()? {
            hosts.push(Summary { pid: host.number("pid"), kept: host.path("kept").exists(), name });
        }
    }
    hosts.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(hosts)
}

/// Whether a living host is made of this image or layer.
pub(crate) fn uses(image: &Path) -> Result<bool> {
    for host in list()? {
        let lower = fs::read_to_string(RunDir::of(&host.name)?.path("lower")).unwrap_or_default();
        if lower.trim().split(':').any(|layer| Path::new(layer) == image) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A file that all hosts of this machine share, until it is booted anew.
pub(crate) fn shared(name: &str) -> Result<PathBuf> {
    fs::create_dir_all(RUN).with_context(|| format!("creating {RUN}"))?;
    Ok(Path::new(RUN).join(format!(".{name}")))
}

/// Held while a host is made or taken away, so that nobody takes a half-made one for a dead one.
pub(crate) fn lock_all() -> Result<File> {
    let lock = File::create(shared("lock")?).context("opening the lock of all hosts")?;
    lock.lock().context("taking the lock of all hosts")?;
    Ok(lock)
}

/// Where the machine has its cgroup2 tree, on its own or beside version 1.
fn cgroup_root() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("reading the mounts")?;
    let found =
        mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>()).find(|fields| fields.get(2) == Some(&"cgroup2"));
    found.and_then(|fields| fields.get(1).map(PathBuf::from)).context("this machine has no cgroup2 mounted")
}

fn folders(parent: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(parent) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(|| format!("reading {}", parent.display()))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

/// Kills what runs in a cgroup, waits until it is gone, and removes the tree.
fn clear_cgroup(cgroup: &Path) -> Result<()> {
    if !cgroup.exists() {
        return Ok(());
    }
    fs::write(cgroup.join("cgroup.kill"), "1").context("killing what is left of a host")?;
    let path = cgroup.join("cgroup.events");
    loop {
        // Opened before it is read: a change after the reading then wakes the poll.
        let events = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
        let text = std::io::read_to_string(&events)?;
        if !text.lines().any(|line| line == "populated 1") {
            break;
        }
        if await_any(&[(&events, PollFlags::PRI)], Some(DYING))? == Woken::Timeout {
            bail!("processes in {} do not die", cgroup.display());
        }
    }
    remove_tree(cgroup)
}

fn remove_tree(cgroup: &Path) -> Result<()> {
    for child in folders(cgroup)? {
        remove_tree(&cgroup.join(child))?;
    }
    match fs::remove_dir(cgroup) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing the cgroup {}", cgroup.display()))
        }
        _ => Ok(()),
    }
}
