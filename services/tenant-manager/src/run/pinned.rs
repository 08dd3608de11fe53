//! Directories below a place that somebody else fills: opened without leaving it, and bound as they were opened. By its
//! path, a mount would follow whatever link is there when it is made.

use nix::{
    fcntl::{OFlag, OpenHow, ResolveFlag, openat2},
    mount::{MsFlags, mount},
    sys::stat::Mode,
};
use std::{
    fs::File,
    os::fd::{AsRawFd, OwnedFd},
    path::Path,
};

/// Opens the directory `below` a directory whose own path is the host's.
pub(super) fn open(directory: &Path, below: &Path) -> nix::Result<OwnedFd> {
    let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC).mode(Mode::empty()).resolve(
        ResolveFlag::RESOLVE_BENEATH
            | ResolveFlag::RESOLVE_NO_SYMLINKS
            | ResolveFlag::RESOLVE_NO_MAGICLINKS
            | ResolveFlag::RESOLVE_NO_XDEV,
    );
    let directory = File::open(directory)
        .map_err(|cause| cause.raw_os_error().map_or(nix::Error::UnknownErrno, nix::Error::from_raw))?;
    openat2(directory, below, how)
}

/// Mounts what is open at `point`.
pub(super) fn bind(opened: &OwnedFd, point: &Path) -> nix::Result<()> {
    let source = format!("/proc/self/fd/{}", opened.as_raw_fd());
    mount(Some(source.as_str()), point, None::<&str>, MsFlags::MS_BIND, None::<&str>)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::{
        mount::umount,
        sched::{CloneFlags, unshare},
    };
    use std::{fs, os::unix::fs::symlink};

    fn usr_of(root: &Path) -> nix::Result<OwnedFd> {
        open(root, Path::new("usr"))
    }

    #[test]
    fn a_usr_that_leads_out_of_the_root_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let (root, other) = (directory.path().join("root"), directory.path().join("other"));
        fs::create_dir_all(root.join("moved")).unwrap();
        fs::create_dir(&other).unwrap();
        let usr = root.join("usr");
        assert_eq!(usr_of(&root).unwrap_err(), nix::Error::ENOENT);
        assert_eq!(usr_of(&usr).unwrap_err(), nix::Error::ENOENT);
        for target in [Path::new("/etc"), other.as_path(), Path::new("../other"), Path::new("moved")] {
            symlink(target, &usr).unwrap();
            assert_eq!(usr_of(&root).unwrap_err(), nix::Error::ELOOP, "{}", target.display());
            fs::remove_file(&usr).unwrap();
        }
        fs::write(&usr, "").unwrap();
        assert_eq!(usr_of(&root).unwrap_err(), nix::Error::ENOTDIR);
        fs::remove_file(&usr).unwrap();
        fs::create_dir(&usr).unwrap();
        assert!(usr_of(&root).is_ok());
        symlink(&root, directory.path().join("link")).unwrap();
        assert!(open(directory.path(), Path::new("root/usr")).is_ok());
        assert_eq!(open(directory.path(), Path::new("link/usr")).unwrap_err(), nix::Error::ELOOP);
    }

    #[test]
    fn what_was_opened_is_bound_and_not_what_took_its_place() {
        if let Err(cause) = unshare(CloneFlags::CLONE_NEWNS) {
            eprintln!("SKIP: cannot make a mount namespace: {cause}");
            return;
        }
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let (root, point) = (directory.path().join("root"), directory.path().join("point"));
        fs::create_dir_all(root.join("usr/own")).unwrap();
        fs::create_dir_all(root.join("mounted")).unwrap();
        fs::create_dir(&point).unwrap();
        let opened = usr_of(&root).unwrap();
        fs::rename(root.join("usr"), root.join("old")).unwrap();
        symlink("/etc", root.join("usr")).unwrap();
        bind(&opened, &point).unwrap();
        assert!(point.join("own").is_dir());
        umount(&point).unwrap();
        // Nor is another mount taken, as of another tenant's tree.
        fs::remove_file(root.join("usr")).unwrap();
        fs::create_dir(root.join("usr")).unwrap();
        mount(Some(&root.join("mounted")), &root.join("usr"), None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        assert_eq!(usr_of(&root).unwrap_err(), nix::Error::EXDEV);
        umount(&root.join("usr")).unwrap();
    }
}
