//! Looking at a tenant's tree, and the small changes of it that need no other program.

use crate::layout::{DIRECTORIES, Entry, Found, ROOT, Root, SPARE_ROOT};
use host::files::FileError;
use model::{ImageName, TenantName};
use rustix::{
    fs::{
        AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, ResolveFlags, StatxFlags, XattrFlags, fgetxattr, fsetxattr,
        open, openat, openat2, renameat_with, statat, statfs, statvfs, statx, syncfs, unlinkat,
    },
    io::Errno,
};
use std::{
    fs,
    io::{self, ErrorKind},
    os::{
        fd::OwnedFd,
        unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    },
    path::Path,
};

/// The mark of a finished root: the image that it was made from. It goes where the root goes, and only the host's root can
/// see or set it (xattr(7), "trusted").
const MARK: &str = "trusted.bitbuilder.image";
/// The mark of a tenant's tree: whose it is. What has none is not removed.
const OWNER: &str = "trusted.bitbuilder.tenant";
/// The number of every Btrfs subvolume's top directory (btrfs-subvolume(8)).
const SUBVOLUME_INODE: u64 = 256;
/// BTRFS_SUPER_MAGIC (statfs(2)).
const BTRFS_MAGIC: u64 = 0x9123_683e;
/// File systems on which a copy can share the blocks of what it was made from (statfs(2), bcachefs's own header): Btrfs,
/// XFS and bcachefs. On an XFS that cannot, an image's size stays unknown.
const SHARING: [u64; 3] = [BTRFS_MAGIC, 0x5846_5342, 0xca45_1a4e];
const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Looks at a tenant's tree.
pub(crate) fn observe(top: &Path, tenant: &TenantName) -> Result<Found, FileError> {
    let mut directories = std::collections::BTreeMap::new();
    for name in DIRECTORIES {
        directories.insert(name, entry(&top.join(name))?);
    }
    let owned = owner(top)?.as_ref() == Some(tenant);
    Ok(Found {
        top: entry(top)?,
        owned,
        directories,
        root: root(&top.join(ROOT))?,
        spare: exists(&top.join(SPARE_ROOT))?,
    })
}

/// Whose tree a directory is, as its mark says.
pub(crate) fn owner(top: &Path) -> Result<Option<TenantName>, FileError> {
    let failed = FileError::new("look at", top);
    let directory = match open(top, DIRECTORY, Mode::empty()) {
        Ok(directory) => directory,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
        Err(cause) => return Err(failed(cause.into())),
    };
    read_mark(&directory, OWNER).map_err(failed)
}

/// Marks a directory as a tenant's tree.
pub(crate) fn mark_owner(top: &Path, tenant: &TenantName) -> Result<(), FileError> {
    let mark = || -> io::Result<()> {
        let directory = open(top, DIRECTORY, Mode::empty())?;
        fsetxattr(&directory, OWNER, tenant.as_str().as_bytes(), XattrFlags::empty())?;
        Ok(rustix::fs::fsync(&directory)?)
    };
    mark().map_err(FileError::new("mark", top))
}

/// What a mark says, if there is one that says anything.
fn read_mark<T: std::str::FromStr>(directory: &OwnedFd, name: &str) -> io::Result<Option<T>> {
    let mut mark = [0_u8; 64];
    match fgetxattr(directory, name, &mut mark) {
        Ok(length) => Ok(str::from_utf8(&mark[..length]).ok().and_then(|text| text.parse().ok())),
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::RANGE) => Ok(None),
        Err(cause) => Err(cause.into()),
    }
}

fn entry(path: &Path) -> Result<Entry, FileError> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(cause) if matches!(cause.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Entry::Absent);
        }
        Err(cause) => return Err(FileError::new("look at", path)(cause)),
    };
    Ok(match metadata.file_type() {
        kind if kind.is_dir() => Entry::Directory { mode: metadata.permissions().mode() & 0o7777 },
        kind if kind.is_symlink() => Entry::Link,
        _ => Entry::Other,
    })
}

/// Whether the name is taken, by whatever.
pub(crate) fn exists(path: &Path) -> Result<bool, FileError> {
    entry(path).map(|entry| entry != Entry::Absent)
}

fn root(path: &Path) -> Result<Root, FileError> {
    let failed = FileError::new("look at", path);
    let directory = match open(path, DIRECTORY, Mode::empty()) {
        Ok(directory) => directory,
        Err(Errno::NOENT) => return Ok(Root::Absent),
        Err(Errno::NOTDIR | Errno::LOOP) => return Ok(Root::Foreign),
        Err(cause) => return Err(failed(cause.into())),
    };
    let look = || Ok((read_mark::<ImageName>(&directory, MARK)?, is_subvolume(path)?));
    let (image, subvolume) = look().map_err(failed)?;
    Ok(image.map_or(Root::Foreign, |image| Root::Made { image, subvolume }))
}

/// Marks a finished root, and returns when all of it is on the disk: only then may it take its place.
pub(crate) fn finish(root: &Path, image: &ImageName) -> Result<(), FileError> {
    let finish = || -> io::Result<()> {
        let directory = open(root, DIRECTORY, Mode::empty())?;
        fsetxattr(&directory, MARK, image.as_str().as_bytes(), XattrFlags::empty())?;
        Ok(syncfs(&directory)?)
    };
    finish().map_err(FileError::new("finish", root))
}

/// Empties the machine-id of a new root, so that its system gives itself one (machine-id(5)). An empty file and not an
/// absent one: that would be a first boot, which resets what the image enables.
pub(crate) fn forget_identity(root: &Path) -> Result<(), FileError> {
    let forget = || -> io::Result<()> {
        let root = open(root, DIRECTORY, Mode::empty())?;
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let etc: OwnedFd = match openat2(&root, "etc", DIRECTORY, Mode::empty(), beneath) {
            Ok(etc) => etc,
            // A root without /etc fills it when it starts.
            Err(Errno::NOENT) => return Ok(()),
            Err(cause) => return Err(cause.into()),
        };
        match statat(&etc, "machine-id", AtFlags::SYMLINK_NOFOLLOW) {
            Ok(held) if FileType::from_raw_mode(held.st_mode) == FileType::RegularFile && held.st_size == 0 => {
                return Ok(());
            }
            Ok(_) => unlinkat(&etc, "machine-id", AtFlags::empty())?,
            Err(Errno::NOENT) => {}
            Err(cause) => return Err(cause.into()),
        }
        let new = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(&etc, "machine-id", new, Mode::from_raw_mode(0o444))?;
        Ok(())
    };
    forget().map_err(FileError::new("empty the machine-id of", root))
}

/// Puts the spare root in the place of the root, and the root that was there in the place of the spare one.
pub(crate) fn put_root(top: &Path) -> Result<(), FileError> {
    let put = || -> io::Result<()> {
        let directory = open(top, DIRECTORY, Mode::empty())?;
        match renameat_with(&directory, SPARE_ROOT, &directory, ROOT, RenameFlags::EXCHANGE) {
            Err(Errno::NOENT) => renameat_with(&directory, SPARE_ROOT, &directory, ROOT, RenameFlags::NOREPLACE)?,
            other => other?,
        }
        Ok(rustix::fs::fsync(&directory)?)
    };
    put().map_err(FileError::new("put in place", &top.join(ROOT)))
}

/// Makes a directory that only root may pass.
pub(crate) fn make_private(path: &Path) -> Result<(), FileError> {
    fs::DirBuilder::new().mode(crate::layout::PRIVATE).create(path).map_err(FileError::new("create", path))?;
    set_mode(path, crate::layout::PRIVATE)
}

/// Makes a directory that belongs to root: its tenant's root, where the mapping of ids shows it so.
pub(crate) fn make_directory(path: &Path) -> Result<(), FileError> {
    fs::create_dir(path).map_err(FileError::new("create", path))?;
    set_mode(path, 0o755)
}

/// Sets permissions, whatever the umask said.
pub(crate) fn set_mode(path: &Path, mode: u32) -> Result<(), FileError> {
    let set = || -> io::Result<()> {
        let directory = open(path, DIRECTORY, Mode::empty())?;
        Ok(rustix::fs::fchmod(&directory, Mode::from_raw_mode(mode))?)
    };
    set().map_err(FileError::new("set the permissions of", path))
}

/// Whether a directory is on Btrfs.
pub(crate) fn is_btrfs(path: &Path) -> io::Result<bool> {
    // The type of f_type differs between architectures; the magic fits each.
    Ok(u64::try_from(statfs(path)?.f_type) == Ok(BTRFS_MAGIC))
}

/// Whether a copy on this directory's file system takes no space of its own.
pub(crate) fn shares_files(path: &Path) -> io::Result<bool> {
    Ok(u64::try_from(statfs(path)?.f_type).is_ok_and(|magic| SHARING.contains(&magic)))
}

/// How many bytes can still be written where a directory is.
pub(crate) fn free(path: &Path) -> io::Result<u64> {
    let counted = statvfs(path)?;
    Ok(counted.f_bavail.saturating_mul(counted.f_frsize))
}

/// Whether a directory is a Btrfs subvolume.
pub(crate) fn is_subvolume(path: &Path) -> io::Result<bool> {
    Ok(fs::symlink_metadata(path)?.ino() == SUBVOLUME_INODE && is_btrfs(path)?)
}

/// Whether two directories are on one file system. Btrfs shows a device of its own for each subvolume, so that mounts have
/// to be compared.
pub(crate) fn on_one_file_system(one: &Path, other: &Path) -> io::Result<bool> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let device = |path: &Path| -> io::Result<Option<&str>> {
        let mount = statx(CWD, path, AtFlags::empty(), StatxFlags::MNT_ID)?.stx_mnt_id;
        Ok(device_of(&mounts, mount))
    };
    Ok(device(one)?.is_some_and(|device_of_one| device(other).is_ok_and(|device| device == Some(device_of_one))))
}

/// The device of a mount, as mountinfo (proc_pid_mountinfo(5)) says: "ID PARENT MAJOR:MINOR …".
fn device_of(mounts: &str, mount: u64) -> Option<&str> {
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ');
        (fields.next()?.parse() == Ok(mount)).then(|| fields.nth(1))?
    })
}
