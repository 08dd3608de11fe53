//! The base images: which there are, what a root of each takes, and how much room there is.

use crate::{
    backend::BackendError,
    tree,
    volumes::{Paths, VolumeError},
};
use host::{
    command::Command,
    files::{self, FileError},
};
use interfaces::storage::{Described, Image};
use model::ImageName;
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Below the records: a file per image with the bytes that the last copy of it took.
const SIZES: &str = "images";

/// Looks at the images and at the room for tenants. An image of which a root takes room of its own is measured once: its size
/// is then what its last copy took.
pub(crate) async fn describe(paths: &Paths) -> Result<Described, VolumeError> {
    fn looked_at(path: &Path) -> impl FnOnce(io::Error) -> FileError {
        FileError::new("look at", path)
    }
    let shares = tree::shares_files(&paths.tenants).map_err(looked_at(&paths.tenants))?;
    let mut images = Vec::new();
    for (name, path) in names(&paths.images)? {
        let shared = shares && tree::on_one_file_system(&path, &paths.tenants).map_err(looked_at(&path))?;
        let size = match size(&paths.records, &name)? {
            None if !shared => record(paths, &name, &path).await?,
            known => known,
        };
        images.push(Image { size, shared, name });
    }
    images.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(Described { images, free: tree::free(&paths.tenants).map_err(looked_at(&paths.tenants))? })
}

fn names(images: &Path) -> Result<Vec<(ImageName, PathBuf)>, FileError> {
    let entries = match fs::read_dir(images) {
        Ok(entries) => entries,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(cause) => return Err(FileError::new("list", images)(cause)),
    };
    // Not what a link leads to: no root is made from that either.
    let directories = entries.filter_map(Result::ok).filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    Ok(directories.filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path()))).collect())
}

fn size(records: &Path, image: &ImageName) -> Result<Option<u64>, FileError> {
    let path = records.join(SIZES).join(image.as_str());
    match fs::read_to_string(&path) {
        // What a person wrote there by hand says nothing.
        Ok(text) => Ok(text.trim().parse().ok()),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(FileError::new("read", &path)(cause)),
    }
}

/// Remembers what a finished copy of an image takes, if it takes anything: its files were just written, so that walking
/// through them reads no disk.
pub(crate) async fn measure(paths: &Paths, image: &ImageName, copy: &Path) -> Result<(), VolumeError> {
    if tree::shares_files(copy).map_err(FileError::new("look at", copy))? {
        return Ok(());
    }
    record(paths, image, copy).await.map(drop)
}

/// Writes down how many bytes a directory takes.
async fn record(paths: &Paths, image: &ImageName, directory: &Path) -> Result<Option<u64>, VolumeError> {
    let du = Command::new("du").args(["--summarize", "--block-size=1", "--one-file-system", "--"]).arg(directory);
    let said = du.run().await.map_err(BackendError::command("measure", directory))?;
    let Some(bytes) = said.split_whitespace().next().and_then(|bytes| bytes.parse::<u64>().ok()) else {
        return Ok(None);
    };
    let sizes = paths.records.join(SIZES);
    fs::create_dir_all(&sizes).map_err(FileError::new("create", &sizes))?;
    files::write_atomically(&sizes.join(image.as_str()), bytes.to_string().as_bytes(), 0o600)?;
    Ok(Some(bytes))
}
