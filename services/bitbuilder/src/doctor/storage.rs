//! Where tenants' roots and data are, what can still be written there, and what roots are made from.

use super::Finding;
use model::ImageName;
use rustix::fs::statvfs;
use std::{fs, io, path::Path};

const TENANTS: &str = "/var/lib/tenants";
const IMAGES: &str = "/var/lib/machines";
/// statfs(2).
const BTRFS: u64 = 0x9123_683e;
const OVERLAY: u64 = 0x794c_7630;
const TMPFS: u64 = 0x0102_1994;
/// Less than this, and the ledger, the journal and Git's objects have no place.
const TOO_LITTLE: u64 = model::admission::KEPT_FREE;
const LITTLE: u64 = 2 << 30;

pub(super) fn all() -> Vec<Finding> {
    vec![file_system(Path::new(TENANTS)), free(Path::new(TENANTS)), images(Path::new(IMAGES))]
}

fn file_system(path: &Path) -> Finding {
    match rustix::fs::statfs(path) {
        // The type of f_type differs between architectures; the magic fits each.
        Ok(found) => judge_file_system(u64::try_from(found.f_type).unwrap_or(0)),
        Err(cause) => Finding::fail(
            "file system",
            format!("{}: {cause}", path.display()),
            "systemd-tmpfiles --create bitbuilder.conf",
        ),
    }
}

fn judge_file_system(magic: u64) -> Finding {
    let mend = format!("put {TENANTS} and {IMAGES} on one Btrfs file system: see a disk with mkfs.btrfs(8)");
    match magic {
        BTRFS => Finding::ok("file system", "btrfs: roots are snapshots"),
        OVERLAY => Finding::fail("file system", format!("{TENANTS} is on an overlay, which cannot be id-mapped"), mend),
        TMPFS => Finding::fail("file system", format!("{TENANTS} is in memory, and a reboot loses all data"), mend),
        _ => Finding::warn("file system", "not btrfs: each root is a full copy of its image, made slowly", mend),
    }
}

fn free(path: &Path) -> Finding {
    match statvfs(path) {
        Ok(found) => judge_free(found.f_bavail.saturating_mul(found.f_frsize)),
        Err(cause) => Finding::fail(
            "free space",
            format!("{}: {cause}", path.display()),
            "systemd-tmpfiles --create bitbuilder.conf",
        ),
    }
}

fn judge_free(bytes: u64) -> Finding {
    let found = format!("{} MiB free for tenants", bytes >> 20);
    let mend = "journalctl --vacuum-size=100M; apt clean; machinectl clean";
    match bytes {
        LITTLE.. => Finding::ok("free space", found),
        TOO_LITTLE.. => Finding::warn("free space", found, mend),
        _ => Finding::fail("free space", found, mend),
    }
}

fn images(path: &Path) -> Finding {
    match find_images(path) {
        Ok(names) => judge_images(&names),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => judge_images(&[]),
        Err(cause) => Finding::unknown("base images", &cause),
    }
}

/// Directories that hold an operating system.
fn find_images(path: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // A link of the image's own leads nowhere from here: that it is there is enough.
        let is_there = |file: &&str| entry.path().join(file).symlink_metadata().is_ok();
        let is_system = ["usr/lib/os-release", "etc/os-release"].iter().any(is_there);
        if is_system && entry.file_type()?.is_dir() && name.parse::<ImageName>().is_ok() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn judge_images(names: &[String]) -> Finding {
    if names.is_empty() {
        let mend = format!(
            "btrfs subvolume create {IMAGES}/debian && mmdebstrap --variant=essential \
             --include=systemd,systemd-sysv,dbus,iproute2,mount,libnss-systemd,libpam0g,libseccomp2 forky {IMAGES}/debian && \
             systemctl --root={IMAGES}/debian enable systemd-networkd.service"
        );
        return Finding::fail("base images", format!("there is none in {IMAGES}"), mend);
    }
    Finding::ok("base images", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn what_is_lost_without_btrfs_is_said() {
        assert_eq!(judge_file_system(BTRFS).verdict, Verdict::Ok);
        assert!(judge_file_system(0xef53).found.contains("full copy"));
        assert_eq!(judge_file_system(OVERLAY).verdict, Verdict::Fail);
        assert_eq!(judge_file_system(TMPFS).verdict, Verdict::Fail);
    }

    #[test]
    fn space_runs_out_in_two_steps() {
        let verdicts = [10 << 30, 1 << 30, 100 << 20].map(|bytes| judge_free(bytes).verdict);
        assert_eq!(verdicts, [Verdict::Ok, Verdict::Warn, Verdict::Fail]);
    }

    #[test]
    fn an_image_holds_an_operating_system() {
        let directory = tempfile::tempdir().unwrap();
        assert!(images(directory.path()).mend.unwrap().contains("mmdebstrap"));
        assert_eq!(images(&directory.path().join("absent")).verdict, Verdict::Fail);
        fs::create_dir_all(directory.path().join("empty")).unwrap();
        fs::create_dir_all(directory.path().join("debian/usr/lib")).unwrap();
        fs::write(directory.path().join("debian/usr/lib/os-release"), "ID=debian").unwrap();
        fs::create_dir_all(directory.path().join(".away/etc")).unwrap();
        fs::write(directory.path().join(".away/etc/os-release"), "ID=debian").unwrap();
        assert_eq!(images(directory.path()).found, "debian");
    }
}
