//! Takes a tenant's data out of an archive. The file may come from anywhere: it is unpacked aside, in a directory of its own,
//! looked through, and only then takes the place of the data.

use crate::{
    archives::{self, MANIFEST},
    backend,
    layout::DATA,
    pack, tree,
    volumes::VolumeError,
};
use host::{command::Command, files::FileError};
use model::archive::Manifest;
use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, Seek, SeekFrom},
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
};

/// Where it is unpacked, below the tenant's directory.
const ASIDE: &str = ".data.new";
/// Where data goes that was there.
const BEFORE: &str = "data.before";
/// The most that an archive says of itself.
const LARGEST_MANIFEST: usize = 64 << 10;

/// Puts an archive's data below `top`, which is there.
pub(crate) async fn put(
    top: &Path,
    mut file: File,
    sha256: Option<&str>,
    force: bool,
) -> Result<Manifest, VolumeError> {
    let refused = |reason: &str| VolumeError::RefusedArchive(reason.to_owned());
    if !file.metadata().is_ok_and(|about| about.is_file()) {
        return Err(refused("it is no regular file"));
    }
    let has_data = !is_empty(&top.join(DATA))?;
    if has_data && !force {
        return Err(VolumeError::DataThere);
    }
    if has_data && tree::exists(&top.join(BEFORE))? {
        return Err(refused(&format!("{} is in the way", top.join(BEFORE).display())));
    }
    let said = sha256.map(str::to_owned);
    let mut again = file.try_clone().map_err(FileError::new("read", top))?;
    let (file, manifest) = tokio::task::spawn_blocking(move || -> Result<_, VolumeError> {
        let read = |cause| FileError::new("read", Path::new("the archive"))(cause);
        file.seek(SeekFrom::Start(0)).map_err(read)?;
        let sum = archives::sum(&mut file).map_err(read)?;
        if said.is_some_and(|said| said != sum) {
            return Err(VolumeError::RefusedArchive(
                "its checksum is another: it was damaged, or is another file".to_owned(),
            ));
        }
        again.seek(SeekFrom::Start(0)).map_err(read)?;
        let found = pack::read(again, MANIFEST)?;
        let found = found.get(..found.len().min(LARGEST_MANIFEST)).unwrap_or_default();
        let manifest: Manifest = serde_json::from_slice(found)
            .map_err(|cause| VolumeError::RefusedArchive(format!("its {MANIFEST} is none: {cause}")))?;
        file.seek(SeekFrom::Start(0)).map_err(read)?;
        Ok((file, manifest))
    })
    .await??;
    let aside = top.join(ASIDE);
    remove(&aside).await?;
    tree::make_private(&aside)?;
    // A volume of its own, as storage makes it.
    backend::make_volume(&aside.join(DATA)).await?;
    let most = archives::room(top)?;
    let into = aside.clone();
    let unpacked = tokio::task::spawn_blocking(move || pack::unpack(file, &into, DATA, most)).await?;
    let checked = match unpacked {
        Ok(()) => check(&aside).await,
        Err(error) => Err(error.into()),
    };
    if let Err(error) = checked {
        remove(&aside).await?;
        return Err(error);
    }
    exchange(top, &aside, has_data).await?;
    remove(&aside).await?;
    Ok(manifest)
}

/// The new data takes its place, and what was there goes aside.
async fn exchange(top: &Path, aside: &Path, has_data: bool) -> Result<(), VolumeError> {
    let (data, new) = (top.join(DATA), aside.join(DATA));
    let flush = || File::open(&new)?.sync_all();
    flush().map_err(FileError::new("write", &new))?;
    if has_data {
        let before = top.join(BEFORE);
        fs::rename(&data, &before).map_err(FileError::new("move aside", &data))?;
    } else {
        backend::remove(&data).await?;
    }
    let put = || -> io::Result<()> {
        fs::rename(&new, &data)?;
        File::open(top)?.sync_all()
    };
    Ok(put().map_err(FileError::new("put in place", &data))?)
}

/// Nothing in it leads to a device of the host's.
async fn check(aside: &Path) -> Result<(), VolumeError> {
    let find = Command::new("find").arg(aside).args(["(", "-type", "b", "-o", "-type", "c", ")", "-print0"]);
    let found = find.bytes().await.map_err(backend::BackendError::command("look through", aside))?;
    for path in found.split(|byte| *byte == 0).filter(|path| !path.is_empty()) {
        let path = PathBuf::from(OsStr::from_bytes(path));
        // An overlay marks with 0:0 what is not there (Documentation/filesystems/overlayfs.rst); it leads nowhere.
        if fs::symlink_metadata(&path).map_err(FileError::new("look at", &path))?.rdev() != 0 {
            return Err(VolumeError::RefusedArchive(format!("it has a device: {}", path.display())));
        }
    }
    Ok(())
}

fn is_empty(path: &Path) -> Result<bool, FileError> {
    match fs::read_dir(path) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(cause) => Err(FileError::new("list", path)(cause)),
    }
}

/// Removes a directory with the volume that may be in it.
async fn remove(aside: &Path) -> Result<(), VolumeError> {
    if tree::exists(aside)? {
        backend::remove(&aside.join(DATA)).await?;
        backend::remove(aside).await?;
    }
    Ok(())
}
