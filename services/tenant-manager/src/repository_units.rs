//! The units that a tenant's repository ships under `units/`. Whoever pushed chose every file there; what is taken is a
//! small regular file below the checkout, and it is only ever loaded inside the tenant.

use host::files;
use model::UnitName;
use nix::{
    fcntl::{OFlag, OpenHow, ResolveFlag, openat2},
    sys::stat::Mode,
};
use std::{
    fs::{self, File},
    io,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
};
use thiserror::Error;

/// The largest unit file, in bytes.
const LARGEST: usize = 64 << 10;
/// How many drop-ins a unit may have.
const MOST_DROP_INS: usize = 32;

/// Why a unit cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("units/{unit}: {reason}")]
pub struct NoSuchUnit {
    /// Which.
    pub unit: UnitName,
    /// For the person who wrote it.
    pub reason: String,
}

/// A unit as the repository ships it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shipped {
    /// What is to be started.
    pub unit: UnitName,
    /// The file that it comes from: its own or its template's.
    pub file: String,
    /// What the file holds.
    pub content: Vec<u8>,
    /// The drop-ins of that file, by path below `units/`.
    pub drop_ins: Vec<(PathBuf, Vec<u8>)>,
}

/// Reads a unit and its drop-ins.
///
/// # Errors
/// It is not there, or is not what may be there.
pub fn read(checkout: &Path, unit: &UnitName) -> Result<Shipped, NoSuchUnit> {
    let refused = |reason: String| NoSuchUnit { unit: unit.clone(), reason };
    let units = Path::new("units");
    for name in unit.shipped_as() {
        let content = match files::read_beneath(checkout, &units.join(&name), LARGEST) {
            Ok(content) => content,
            Err(fault) if fault.is_absent() => continue,
            Err(fault) => return Err(refused(explained(&fault))),
        };
        if content.len() > LARGEST {
            return Err(refused(format!("it has more than {} KiB", LARGEST >> 10)));
        }
        let drop_ins = drop_ins(checkout, &units.join(format!("{name}.d"))).map_err(refused)?;
        return Ok(Shipped { unit: unit.clone(), file: name, content, drop_ins });
    }
    Err(refused("the repository has no such file".to_owned()))
}

fn explained(fault: &files::FileError) -> String {
    match fault.cause.raw_os_error() {
        Some(nix::libc::ELOOP) => "it is a symbolic link, or below one".to_owned(),
        _ => fault.cause.to_string(),
    }
}

fn drop_ins(checkout: &Path, directory: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>, String> {
    let shown = directory.display();
    let mut names = match names(checkout, directory) {
        Ok(names) => names,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(cause) => return Err(format!("{shown}: {cause}")),
    };
    names.retain(|name| is_drop_in(name));
    names.sort();
    if names.len() > MOST_DROP_INS {
        return Err(format!("{shown} has more than {MOST_DROP_INS} drop-ins"));
    }
    let read = |name: String| {
        let path = directory.join(name);
        let content = files::read_beneath(checkout, &path, LARGEST)
            .map_err(|fault| format!("{}: {}", path.display(), explained(&fault)))?;
        if content.len() > LARGEST {
            return Err(format!("{} has more than {} KiB", path.display(), LARGEST >> 10));
        }
        let below = path.strip_prefix("units").unwrap_or(&path).to_owned();
        Ok((below, content))
    };
    names.into_iter().map(read).collect()
}

/// The names in a directory, which is opened without following a link on the way.
fn names(checkout: &Path, directory: &Path) -> io::Result<Vec<String>> {
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_DIRECTORY)
        .mode(Mode::empty())
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let opened = openat2(File::open(checkout)?, directory, how)?;
    let entries = fs::read_dir(format!("/proc/self/fd/{}", opened.as_raw_fd()))?;
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect())
}

fn is_drop_in(name: &str) -> bool {
    name.len() <= 128
        && name.ends_with(".conf")
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn unit(name: &str) -> UnitName {
        name.parse().unwrap()
    }

    #[test]
    fn a_unit_comes_with_its_drop_ins() {
        let checkout = tempfile::tempdir().unwrap();
        let units = checkout.path().join("units");
        fs::create_dir_all(units.join("a.service.d")).unwrap();
        fs::write(units.join("a.service"), "[Service]").unwrap();
        fs::write(units.join("b@.service"), "[Unit]").unwrap();
        for name in ["20-b.conf", "10-a.conf", "readme", ".hidden.conf"] {
            fs::write(units.join("a.service.d").join(name), name).unwrap();
        }
        let shipped = read(checkout.path(), &unit("a.service")).unwrap();
        assert_eq!(shipped.content, b"[Service]");
        let paths: Vec<_> = shipped.drop_ins.iter().map(|(path, _)| path.to_str().unwrap()).collect();
        assert_eq!(paths, ["a.service.d/10-a.conf", "a.service.d/20-b.conf"]);
        assert_eq!(read(checkout.path(), &unit("b@1.service")).unwrap().file, "b@.service");
        assert_eq!(read(checkout.path(), &unit("c.service")).unwrap_err().reason, "the repository has no such file");
    }

    #[test]
    fn a_hostile_repository_gets_nothing_of_the_host() {
        let checkout = tempfile::tempdir().unwrap();
        let units = checkout.path().join("units");
        fs::create_dir_all(&units).unwrap();
        symlink("/etc/passwd", units.join("link.service")).unwrap();
        fs::create_dir(units.join("directory.service")).unwrap();
        fs::write(units.join("large.service"), vec![b'#'; LARGEST + 1]).unwrap();
        fs::write(units.join("linked.service"), "").unwrap();
        symlink("/etc", units.join("linked.service.d")).unwrap();
        fs::write(units.join("inner.service"), "").unwrap();
        fs::create_dir(units.join("inner.service.d")).unwrap();
        symlink("/etc/passwd", units.join("inner.service.d/a.conf")).unwrap();
        for bad in ["link.service", "directory.service", "large.service", "linked.service", "inner.service"] {
            assert!(read(checkout.path(), &unit(bad)).is_err(), "{bad} was read");
        }
        assert!(read(checkout.path(), &unit("link.service")).unwrap_err().reason.contains("symbolic link"));
    }
}
