//! Bounds what a tenant takes of what the kernel counts by user: all of it counts as the host root's too, who made the
//! tenant's user namespace, so that one tenant could use up what the host and all others need (namespaces(7), inotify(7)).

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sched::{CloneFlags, setns},
    sys::inotify::{AddWatchFlags, InitFlags, Inotify},
    unistd::getppid,
};
use rustix::{
    fs::{Mode, OFlags, openat},
    mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use std::{
    fs, io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    process::Command,
};
use thiserror::Error;

/// Where the machine manager writes down whom it knows.
const MACHINES: &str = "/run/systemd/machines";

/// What each user of a tenant may have: sysctls below user. A tenant that only boots has eight instances of inotify and some
/// twenty namespaces of mounts, one for each of its services that has its own view of the files.
const LIMITS: [(&str, u32); 12] = [
    ("max_inotify_instances", 64),
    ("max_inotify_watches", 65_536),
    ("max_fanotify_groups", 16),
    ("max_fanotify_marks", 8_192),
    ("max_user_namespaces", 256),
    ("max_mnt_namespaces", 1_024),
    ("max_pid_namespaces", 1_024),
    ("max_net_namespaces", 256),
    ("max_ipc_namespaces", 1_024),
    ("max_uts_namespaces", 1_024),
    ("max_cgroup_namespaces", 1_024),
    ("max_time_namespaces", 256),
];

/// Why a tenant is not bounded. It does not run so.
#[derive(Debug, Error)]
pub enum BoundError {
    /// Another process than the tenant's asked.
    #[error("process {0} did not start this")]
    NotAsked(i32, #[source] io::Error),
    /// Nothing tells when the tenant's first process is there.
    #[error("cannot wait for the tenant's first process")]
    Wait(#[source] io::Error),
    /// Its user namespace cannot be entered.
    #[error("cannot enter the user namespace of process {0}")]
    Enter(i32, #[source] io::Error),
    /// The kernel's settings cannot be shown.
    #[error("cannot mount proc")]
    Proc(#[source] io::Error),
    /// One cannot be set.
    #[error("cannot set user.{0}")]
    Set(&'static str, #[source] io::Error),
}

/// Starts `tenant-manager bound` beside this process, which becomes the container manager.
pub(super) fn begin(tenant: &str) -> io::Result<()> {
    #[allow(clippy::disallowed_methods)] // nobody waits for it: it outlives this program and ends by itself
    let started = Command::new("/proc/self/exe").args(["bound", tenant, &std::process::id().to_string()]).spawn();
    started.map(drop)
}

/// Waits for the first process of a machine that `supervisor`, this process's parent, runs, and bounds it; one that cannot
/// be bounded is killed. For a process that has one thread and ends then: it stays in the tenant's user namespace.
///
/// # Errors
/// The step that failed.
pub fn bound(tenant: &str, supervisor: i32) -> Result<(), BoundError> {
    let opened = Pid::from_raw(supervisor).ok_or(rustix::io::Errno::INVAL);
    let opened = opened.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()));
    let process = opened.map_err(|cause| BoundError::NotAsked(supervisor, cause.into()))?;
    // Looked at after it was opened: its number cannot have been given to another process since.
    if getppid().as_raw() != supervisor {
        return Err(BoundError::NotAsked(supervisor, io::ErrorKind::NotFound.into()));
    }
    let done = awaited(tenant, supervisor, &process).and_then(|leader| leader.map_or(Ok(()), set));
    if done.is_err() {
        // The unit says that it failed, and is started again.
        let _gone = pidfd_send_signal(&process, Signal::KILL);
    }
    done
}

/// The tenant's first process, or nothing if its supervisor ended before there was one.
fn awaited(tenant: &str, supervisor: i32, process: &OwnedFd) -> Result<Option<i32>, BoundError> {
    let changes = Inotify::init(InitFlags::IN_CLOEXEC).map_err(|cause| BoundError::Wait(cause.into()))?;
    let kinds = AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_CLOSE_WRITE;
    changes.add_watch(MACHINES, kinds).map_err(|cause| BoundError::Wait(cause.into()))?;
    loop {
        let written = fs::read_to_string(Path::new(MACHINES).join(tenant)).unwrap_or_default();
        // An earlier one of this name has another parent.
        if let Some(leader) = leader(&written).filter(|leader| parent(*leader) == Some(supervisor)) {
            return Ok(Some(leader));
        }
        let mut either =
            [PollFd::new(changes.as_fd(), PollFlags::POLLIN), PollFd::new(process.as_fd(), PollFlags::POLLIN)];
        poll(&mut either, PollTimeout::NONE).map_err(|cause| BoundError::Wait(cause.into()))?;
        if either[1].any().unwrap_or(true) {
            return Ok(None);
        }
        changes.read_events().map_err(|cause| BoundError::Wait(cause.into()))?;
    }
}

fn leader(written: &str) -> Option<i32> {
    written.lines().find_map(|line| line.strip_prefix("LEADER="))?.parse().ok()
}

/// The parent of a process (proc_pid_stat(5)): the second number after the name, which may hold anything.
fn parent(process: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn set(leader: i32) -> Result<(), BoundError> {
    let enter = |cause: io::Error| BoundError::Enter(leader, cause);
    let process = Pid::from_raw(leader).ok_or(rustix::io::Errno::INVAL);
    let process = process.and_then(|pid| pidfd_open(pid, PidfdFlags::empty())).map_err(|cause| enter(cause.into()))?;
    // One of its own: the host's may be read-only.
    let proc = proc().map_err(|cause| BoundError::Proc(cause.into()))?;
    setns(&process, CloneFlags::CLONE_NEWUSER).map_err(|cause| enter(cause.into()))?;
    LIMITS.iter().try_for_each(|(name, most)| {
        let write = || {
            let file = openat(&proc, format!("sys/user/{name}"), OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
            rustix::io::write(&file, most.to_string().as_bytes()).map(drop)
        };
        match write() {
            // A kernel without this kind of namespace.
            Err(rustix::io::Errno::NOENT) => Ok(()),
            other => other.map_err(|cause| BoundError::Set(name, cause.into())),
        }
    })
}

fn proc() -> rustix::io::Result<OwnedFd> {
    let context = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    let flags =
        MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_one_parent_whatever_its_name() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert_eq!(parent(own), Some(getppid().as_raw()));
        assert_eq!(parent(-1), None);
    }

    #[test]
    fn the_first_process_is_the_one_that_was_written_down() {
        assert_eq!(leader("# private\nNAME=web\nLEADER=600\nLEADER_PIDFDID=7\n"), Some(600));
        assert_eq!(leader("LEADER_PIDFDID=7\n"), None);
        assert_eq!(leader("LEADER=x\n"), None);
    }

    #[test]
    fn nobody_but_who_started_it_is_killed() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(matches!(bound("web", own), Err(BoundError::NotAsked(pid, _)) if pid == own));
        assert!(matches!(bound("web", 0), Err(BoundError::NotAsked(0, _))));
    }
}
