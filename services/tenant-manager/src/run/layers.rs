//! A tenant's /usr from its root and its system extensions. An overlay cannot be mapped to a tenant's uids, but each of
//! its layers can (mount_setattr(2)), and then the overlay is made of them.

use super::{RunError, pinned};
use host::files::FileError;
use model::identity::UidRange;
use nix::mount::{MsFlags, mount};
use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

/// The extensions' trees that `links` names, lowest first. Each link must lead to a direct child of `mounts`.
pub(super) fn linked(links: &Path, mounts: &Path) -> Result<Vec<PathBuf>, RunError> {
    let entries = match fs::read_dir(links) {
        Ok(entries) => entries,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(cause) => return Err(FileError::new("list", links)(cause).into()),
    };
    let names: io::Result<Vec<PathBuf>> = entries.map(|entry| Ok(entry?.path())).collect();
    let mut names = names.map_err(FileError::new("list", links))?;
    names.sort();
    names.into_iter().map(|link| target(link, mounts)).collect()
}

fn target(link: PathBuf, mounts: &Path) -> Result<PathBuf, RunError> {
    let Ok(target) = fs::read_link(&link) else { return Err(RunError::Link(link, "is no symbolic link")) };
    let below: Option<Vec<Component<'_>>> = target.strip_prefix(mounts).ok().map(|below| below.components().collect());
    match below.as_deref() {
        Some([Component::Normal(_)]) => {}
        Some(_) | None => return Err(RunError::Link(link, "leads out of the directory of mounted extensions")),
    }
    let usr = target.join("usr");
    if fs::symlink_metadata(&usr).is_ok_and(|found| found.is_dir()) {
        Ok(usr)
    } else {
        Err(RunError::Link(link, "leads to nothing that has a /usr"))
    }
}

/// Mounts the layers over the /usr of `root` and returns where; `scratch` is created for the mount points.
pub(super) async fn compose(
    root: &Path,
    extensions: &[PathBuf],
    uids: UidRange,
    scratch: &Path,
) -> Result<PathBuf, RunError> {
    let point = |name: &str| {
        let point = scratch.join(name);
        fs::create_dir_all(&point).map_err(FileError::new("create", &point))?;
        Ok::<_, RunError>(point)
    };
    let base = point("base")?;
    let usr = pinned::open(root, Path::new("usr")).map_err(|cause| RunError::Usr(root.join("usr"), cause))?;
    pinned::bind(&usr, &base).map_err(|cause| RunError::Mount(base.clone(), cause))?;
    let mut mapped = Vec::new();
    for (number, layer) in std::iter::once(base.as_path()).chain(extensions.iter().map(PathBuf::as_path)).enumerate() {
        let point = point(&number.to_string())?;
        super::map(layer, &point, [(0, uids.first, uids.count); 2], "").await?;
        mapped.push(point);
    }
    let usr = point("usr")?;
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NODEV;
    mount(Some("usr"), &usr, Some("overlay"), flags, Some(options(&mapped).as_str()))
        .map_err(|cause| RunError::Mount(usr.clone(), cause))?;
    Ok(usr)
}

/// What overlayfs is told: the uppermost layer first. The paths are ours and hold none of its separators.
fn options(lowest_first: &[PathBuf]) -> String {
    let layers: Vec<String> = lowest_first.iter().rev().map(|layer| layer.display().to_string()).collect();
    format!("lowerdir={}", layers.join(":"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn layers_are_taken_from_one_directory_only() {
        let directory = tempfile::tempdir().unwrap();
        let (links, mounts) = (directory.path().join("links"), directory.path().join("mounts"));
        assert!(linked(&links, &mounts).unwrap().is_empty());
        fs::create_dir_all(&links).unwrap();
        for name in ["one", "two"] {
            fs::create_dir_all(mounts.join(name).join("usr")).unwrap();
        }
        symlink(mounts.join("two"), links.join("10-two")).unwrap();
        symlink(mounts.join("one"), links.join("20-one")).unwrap();
        assert_eq!(linked(&links, &mounts).unwrap(), [mounts.join("two/usr"), mounts.join("one/usr")]);
        fs::create_dir_all(directory.path().join("other/usr")).unwrap();
        for bad in ["other", "mounts/../other", "mounts", "mounts/one/usr", "mounts/absent"] {
            let link = links.join("30-bad");
            symlink(directory.path().join(bad), &link).unwrap();
            assert!(linked(&links, &mounts).is_err(), "{bad} was taken");
            fs::remove_file(link).unwrap();
        }
        fs::write(links.join("file"), "").unwrap();
        assert!(linked(&links, &mounts).is_err());
    }

    #[test]
    fn the_uppermost_layer_comes_first() {
        assert_eq!(options(&["/l/0".into(), "/l/1".into(), "/l/2".into()]), "lowerdir=/l/2:/l/1:/l/0");
    }
}
