//! The archives: a file with the data of each tenant that left, and its checksum beside it. One that is there is whole: it was
//! given its name when all of it, and its checksum, was on the disk.

use crate::{
    backend::BackendError,
    layout::DATA,
    pack::{self, PackError},
    tree,
    volumes::VolumeError,
};
use host::{
    command::Command,
    files::{self, FileError},
};
use interfaces::storage::ArchiveFile;
use model::{TenantName, archive, archive::Manifest};
use sha2::{Digest, Sha256};
use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// What is said of an archive, in it: its first file.
pub(crate) const MANIFEST: &str = "manifest.json";
/// What is kept free for the host itself.
const KEPT_FREE: u64 = 64 << 20;

/// Packs a tenant's data. Returns where, and whether it was not there before.
pub(crate) async fn make(archives: &Path, top: &Path, manifest: &Manifest) -> Result<(PathBuf, bool), VolumeError> {
    let path = archives.join(manifest.file_name());
    if path.exists() {
        return Ok((path, false));
    }
    if !tree::exists(&top.join(DATA))? {
        return Err(FileError::new("archive", &top.join(DATA))(io::ErrorKind::NotFound.into()).into());
    }
    fs::create_dir_all(archives).map_err(FileError::new("create", archives))?;
    // What a kill left of this one or of another is no archive.
    let partial = partial(archives, &manifest.tenant);
    clear(&partial)?;
    let room = room(archives)?;
    let needed = size(&top.join(DATA)).await?;
    if needed > room {
        return Err(VolumeError::NoRoom { needed, free: room });
    }
    let made = fs::DirBuilder::new().mode(0o700).create(&partial);
    made.map_err(FileError::new("create", &partial))?;
    let (top, manifest, final_path) = (top.to_owned(), manifest.clone(), path.clone());
    let archives = archives.to_owned();
    let packed = tokio::task::spawn_blocking(move || write(&archives, &partial, &top, &manifest, &final_path)).await?;
    packed.map(|()| (path, true))
}

fn write(archives: &Path, partial: &Path, top: &Path, manifest: &Manifest, path: &Path) -> Result<(), VolumeError> {
    let notes = partial.join(MANIFEST);
    let text =
        serde_json::to_vec_pretty(manifest).map_err(|cause| FileError::new("serialise", &notes)(cause.into()))?;
    fs::write(&notes, text).map_err(FileError::new("write", &notes))?;
    let new = partial.join("archive");
    let create = || fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new);
    let file = create().map_err(FileError::new("create", &new))?;
    let copy = file.try_clone().map_err(FileError::new("write", &new))?;
    pack::pack(partial, MANIFEST, top, DATA, copy)?;
    file.sync_all().map_err(FileError::new("write", &new))?;
    let sum = checksum(&new)?;
    let line = format!("{sum}  {}\n", manifest.file_name());
    files::write_atomically(&beside(path), line.as_bytes(), 0o600)?;
    let put = || -> io::Result<()> {
        fs::rename(&new, path)?;
        File::open(archives)?.sync_all()
    };
    put().map_err(FileError::new("put in place", path))?;
    clear(partial)?;
    Ok(())
}

/// Where one is made. No tenant's name begins with a dot.
fn partial(archives: &Path, tenant: &TenantName) -> PathBuf {
    archives.join(format!(".{tenant}"))
}

fn clear(path: &Path) -> Result<(), FileError> {
    match fs::remove_dir_all(path) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(FileError::new("remove", path)(cause)),
        _ => Ok(()),
    }
}

/// Where an archive's checksum is.
pub(crate) fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".sha256");
    PathBuf::from(name)
}

/// How many bytes may be written to where `directory` is.
pub(crate) fn room(directory: &Path) -> Result<u64, FileError> {
    let free = tree::free(directory).map_err(FileError::new("look at", directory))?;
    Ok(free.saturating_sub(KEPT_FREE))
}

/// How many bytes a directory takes at most.
async fn size(directory: &Path) -> Result<u64, VolumeError> {
    let du = Command::new("du").args(["--summarize", "--block-size=1", "--"]).arg(directory);
    let said = du.run().await.map_err(BackendError::command("measure", directory))?;
    // What cannot be measured is packed, and fails if there is no room.
    Ok(said.split_whitespace().next().and_then(|bytes| bytes.parse().ok()).unwrap_or(0))
}

/// SHA-256, in hexadecimal.
pub(crate) fn checksum(path: &Path) -> Result<String, FileError> {
    File::open(path).and_then(|mut file| sum(&mut file)).map_err(FileError::new("read", path))
}

/// The same of what is left of a file.
pub(crate) fn sum(file: &mut File) -> io::Result<String> {
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 18]);
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            length => hash.update(&buffer[..length]),
        }
    }
    let mut text = String::new();
    for byte in hash.finalize() {
        // Writing to a String cannot fail.
        let _infallible = write!(text, "{byte:02x}");
    }
    Ok(text)
}

/// The archives of one tenant or of all, oldest first.
pub(crate) fn list(archives: &Path, tenant: Option<&TenantName>) -> Result<Vec<ArchiveFile>, FileError> {
    let entries = match fs::read_dir(archives) {
        Ok(entries) => entries,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(cause) => return Err(FileError::new("list", archives)(cause)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(FileError::new("list", archives))?;
        let Some((owner, left)) = entry.file_name().to_str().and_then(archive::of_file_name) else { continue };
        if tenant.is_none_or(|tenant| *tenant == owner) {
            let bytes = entry.metadata().map_err(FileError::new("look at", &entry.path()))?.len();
            found.push(ArchiveFile { tenant: owner, left, path: entry.path().display().to_string(), bytes });
        }
    }
    found.sort_by(|one, other| (&one.left, &one.tenant).cmp(&(&other.left, &other.tenant)));
    Ok(found)
}

impl From<PackError> for VolumeError {
    fn from(error: PackError) -> Self {
        Self::Pack(Box::new(error))
    }
}
