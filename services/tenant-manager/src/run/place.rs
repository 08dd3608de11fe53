//! Puts what was prepared on the host in the place of what a running tenant sees, at once and without a moment in which there
//! is nothing. All of it is done with the tenant's own rights: whatever the tenant planted in its tree leads nowhere else.

use nix::{
    fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2},
    sched::{CloneFlags, setns, unshare},
    sys::stat::Mode,
};
use rustix::{
    fs::{CWD, FsWord, fstatfs},
    io::Errno,
    mount::{MoveMountFlags, OpenTreeFlags, UnmountFlags, move_mount, open_tree, unmount},
    process::{Pid, PidfdFlags, pidfd_open},
};
use std::{
    fs, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    str::FromStr,
};
use thiserror::Error;

// What statfs(2) says of them.
const OVERLAYFS: FsWord = 0x794c_7630;
const TMPFS: FsWord = 0x0102_1994;
const RAMFS: FsWord = 0x8584_58f6;

/// A directory, and where it is shown in the tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placing {
    from: PathBuf,
    to: PathBuf,
}

impl Placing {
    pub(super) fn argument(from: &Path, to: &str) -> String {
        format!("{}={to}", from.display())
    }
}

impl FromStr for Placing {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (from, to) = text.split_once('=').ok_or("there is no = in it")?;
        Ok(Self { from: from.into(), to: to.into() })
    }
}

/// Why nothing more was placed. It cannot be placed in this tenant as it is; another one can be made.
#[derive(Debug, Error)]
pub enum PlaceError {
    /// The process that was named is not one of the tenant's.
    #[error("process {0} is not the tenant's")]
    NotThere(i32, #[source] io::Error),
    /// The kernel refused.
    #[error("cannot {action} {}", path.display())]
    Kernel {
        /// In words.
        action: &'static str,
        /// Of what.
        path: PathBuf,
        /// What it said.
        #[source]
        cause: io::Error,
    },
}

fn refused<E: Into<io::Error>>(action: &'static str, path: &Path) -> impl FnOnce(E) -> PlaceError {
    move |cause| PlaceError::Kernel { action, path: path.to_owned(), cause: cause.into() }
}

/// Shows directories in the tenant whose first process is `leader`, a member of `cgroup`. For a process that has one thread and
/// ends then: it stays in the tenant's namespaces.
///
/// # Errors
/// The step that failed; what was placed before it stays.
pub fn place(leader: i32, cgroup: &str, placings: &[Placing]) -> Result<(), PlaceError> {
    let gone = |cause: io::Error| PlaceError::NotThere(leader, cause);
    let process = Pid::from_raw(leader).ok_or(Errno::INVAL).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()));
    let process = process.map_err(|cause| gone(cause.into()))?;
    // Looked at after it was opened: if this number was given to another process since, that one cannot be entered by it.
    let groups = fs::read_to_string(format!("/proc/{leader}/cgroup")).map_err(gone)?;
    if !is_within(&groups, cgroup) {
        return Err(gone(io::ErrorKind::NotFound.into()));
    }
    let namespaces = Path::new("the tenant's namespaces");
    setns(&process, CloneFlags::CLONE_NEWUSER).map_err(refused("enter", namespaces))?;
    // A copy of the host's mounts that belongs to the tenant's user namespace: the kernel locks them there, so the tenant cannot
    // make what is read-only writable (mount_namespaces(7)).
    unshare(CloneFlags::CLONE_NEWNS).map_err(refused("copy the mounts for", namespaces))?;
    let clone = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let trees = placings.iter().map(|placing| {
        open_tree(CWD, &placing.from, clone).map_err(refused("take", &placing.from)).map(|tree| (tree, placing))
    });
    let trees: Vec<(OwnedFd, &Placing)> = trees.collect::<Result<_, _>>()?;
    setns(&process, CloneFlags::CLONE_NEWNS).map_err(refused("enter", namespaces))?;
    trees.iter().try_for_each(|(tree, placing)| put(tree, placing))
}

fn put(tree: &OwnedFd, Placing { to, .. }: &Placing) -> Result<(), PlaceError> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
        .mode(Mode::empty())
        .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let target = openat2(AT_FDCWD, to, how).map_err(refused("find", to))?;
    let open = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    match move_mount(tree, "", &target, "", open | MoveMountFlags::MOVE_MOUNT_BENEATH) {
        // What was there before is taken away from over it.
        Ok(()) => {
            unmount(to, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).map_err(refused("take away what was at", to))
        }
        // Nothing can be put beneath what the tenant was started with, which the kernel has locked. It stays, covered.
        Err(Errno::INVAL) if !lasts(&target).map_err(refused("look at", to))? => {
            Err(refused("cover, because it may be removed,", to)(io::Error::from(io::ErrorKind::Unsupported)))
        }
        Err(Errno::INVAL) => move_mount(tree, "", &target, "", open).map_err(refused("mount at", to)),
        Err(cause) => Err(refused("mount beneath", to)(cause)),
    }
}

/// Whether a directory is on one of our own file systems, which nothing is removed from while the tenant runs. What is mounted
/// over a directory that somebody removes goes with it.
fn lasts(directory: &OwnedFd) -> rustix::io::Result<bool> {
    let kind = fstatfs(directory)?.f_type;
    Ok([OVERLAYFS, TMPFS, RAMFS].contains(&kind))
}

/// Whether one of the lines of /proc/PID/cgroup is below `cgroup`.
fn is_within(groups: &str, cgroup: &str) -> bool {
    let paths = groups.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    paths.into_iter().any(|path| path.strip_prefix(cgroup).is_some_and(|below| below.starts_with('/')))
}

/// The path up to the control group of `unit`, of who is in or below that.
pub(super) fn group_of(groups: &str, unit: &str) -> Option<String> {
    let paths = groups.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    paths.into_iter().find_map(|path| {
        let end = path.find(&format!("/{unit}"))? + 1 + unit.len();
        let rest = path.get(end..)?;
        (rest.is_empty() || rest.starts_with('/')).then(|| path.get(..end).unwrap_or_default().to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_group_is_told_from_its_neighbours() {
        let own = "12:devices:/x\n0::/bitbuilder-tenants.slice/bitbuilder-container@web.service/.control\n";
        let group = group_of(own, "bitbuilder-container@web.service").unwrap();
        assert_eq!(group, "/bitbuilder-tenants.slice/bitbuilder-container@web.service");
        assert_eq!(group_of(own, "bitbuilder-container@we"), None);
        assert_eq!(group_of(own, "bitbuilder-container@mail.service"), None);
        assert!(is_within(&format!("0::{group}/payload/init.scope"), &group));
        for other in ["0::/", "0::/init.scope", "0::/a/bitbuilder-tenants.slice/bitbuilder-container@web.service/x", ""]
        {
            assert!(!is_within(other, &group), "{other}");
        }
        assert!(!is_within(&format!("0::{group}2/payload"), &group));
    }

    #[test]
    fn nobody_but_a_tenants_process_is_entered() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(matches!(place(own, "/no-such-group", &[]), Err(PlaceError::NotThere(pid, _)) if pid == own));
        assert!(matches!(place(0, "/", &[]), Err(PlaceError::NotThere(0, _))));
    }

    #[test]
    fn an_argument_is_read_as_it_was_written() {
        let argument = Placing::argument(Path::new("/a/b"), "/c");
        assert_eq!(argument.parse(), Ok(Placing { from: "/a/b".into(), to: "/c".into() }));
        assert!("/a".parse::<Placing>().is_err());
    }
}
