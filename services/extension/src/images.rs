//! Extension images: where they are, whether they are file systems that are mounted at all, and what tells one content from
//! another.

use host::files::{self, FileError};
use model::ExtensionName;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    fmt,
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
};
use thiserror::Error;

/// How much of a content's hash tells it from others: nobody but the host's root puts images here, so that it is enough
/// against accidents.
const DIGEST_BYTES: usize = 8;

/// A kind of file system that an extension may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Compressed and read-only.
    Squashfs,
    /// Read-only.
    Erofs,
}

impl Kind {
    /// Recognises a file system by its superblock.
    #[must_use]
    pub fn of(start: &[u8]) -> Option<Self> {
        // squashfs: its magic comes first; EROFS: after 1024 bytes, little-endian.
        if start.starts_with(b"hsqs") {
            Some(Self::Squashfs)
        } else if start.get(1024..1028) == Some(&0xE0F5_E1E2_u32.to_le_bytes()) {
            Some(Self::Erofs)
        } else {
            None
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Squashfs => "squashfs",
            Self::Erofs => "erofs",
        })
    }
}

/// What changes when a file does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Identity {
    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// An image as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its file.
    pub path: PathBuf,
    /// Its file system.
    pub kind: Kind,
    /// Where it is mounted, below the directory of the mounts: its name and its content.
    pub layer: String,
    identity: Identity,
}

/// Why there is no image to mount.
#[derive(Debug, Error)]
pub enum ImageError {
    /// Neither place has it.
    #[error("there is no image of this name")]
    Absent,
    /// Not something to give to the kernel.
    #[error("it is neither a squashfs nor an EROFS file system")]
    UnknownKind,
    /// It cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
}

/// The host's images.
#[derive(Debug, Clone)]
pub struct Images {
    places: Vec<PathBuf>,
    digests: PathBuf,
}

/// Digests of the images, so that each is read as a whole only once.
type Digests = BTreeMap<PathBuf, (Identity, String)>;

impl Images {
    /// The images in these places, the first that has one first; their digests are kept in a file.
    #[must_use]
    pub fn in_places(places: Vec<PathBuf>, digests: PathBuf) -> Self {
        Self { places, digests }
    }

    /// Finds an image and tells its content. Reads all of it if nobody has since it was put there.
    ///
    /// # Errors
    /// There is none, or none to be mounted.
    pub fn find(&self, name: &ExtensionName) -> Result<Image, ImageError> {
        for place in &self.places {
            let path = place.join(format!("{name}.raw"));
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => continue,
                Err(cause) => return Err(FileError::new("open", &path)(cause).into()),
            };
            return self.identify(name, path, file);
        }
        Err(ImageError::Absent)
    }

    fn identify(&self, name: &ExtensionName, path: PathBuf, mut file: File) -> Result<Image, ImageError> {
        let failed = |cause| ImageError::from(FileError::new("read", &path)(cause));
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(ImageError::UnknownKind);
        }
        let mut start = [0; 1028];
        match file.read_exact_at(&mut start, 0) {
            Ok(()) => {}
            Err(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => return Err(ImageError::UnknownKind),
            Err(cause) => return Err(failed(cause)),
        }
        let kind = Kind::of(&start).ok_or(ImageError::UnknownKind)?;
        let identity = Identity::of(&metadata);
        let mut digests = self.digests();
        let digest = match digests.get(&path) {
            Some((known, digest)) if *known == identity => digest.clone(),
            Some(_) | None => {
                let digest = digest_of(&mut file).map_err(failed)?;
                digests.insert(path.clone(), (identity, digest.clone()));
                digests.retain(|path, _| path.exists());
                let bytes = serde_json::to_vec(&digests).map_err(|cause| failed(cause.into()))?;
                files::write_atomically(&self.digests, &bytes, 0o600)?;
                digest
            }
        };
        Ok(Image { path, kind, layer: format!("{name}-{digest}"), identity })
    }

    /// What is known. A file that cannot be read is one that is not there yet.
    fn digests(&self) -> Digests {
        fs::read(&self.digests).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }
}

impl Image {
    /// Whether the file is still the one whose content was told.
    #[must_use]
    pub fn is_unchanged(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|metadata| Identity::of(&metadata) == self.identity)
    }
}

fn digest_of(file: &mut File) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            length => hash.update(&buffer[..length]),
        }
    }
    Ok(hash.finalize().iter().take(DIGEST_BYTES).map(|byte| format!("{byte:02x}")).collect())
}

/// Whether `layer` is a mount of an image of this name, whatever its content.
#[must_use]
pub fn is_layer_of(name: &ExtensionName, layer: &Path) -> bool {
    let digest = layer.to_str().and_then(|layer| layer.strip_prefix(name.as_str())?.strip_prefix('-'));
    digest.is_some_and(|digest| digest.len() == 2 * DIGEST_BYTES && digest.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn erofs(content: &str) -> Vec<u8> {
        let mut bytes = vec![0; 1024];
        bytes.extend(0xE0F5_E1E2_u32.to_le_bytes());
        bytes.extend(content.as_bytes());
        bytes
    }

    #[test]
    fn only_two_kinds_are_recognised() {
        let mut ext4 = vec![0; 2048];
        ext4[1080..1082].copy_from_slice(&[0x53, 0xef]);
        assert_eq!(Kind::of(b"hsqs..."), Some(Kind::Squashfs));
        assert_eq!(Kind::of(&erofs("")), Some(Kind::Erofs));
        for other in [&b""[..], b"hsq", b"sqsh", &ext4, &erofs("")[..1027], &erofs("")[1..]] {
            assert_eq!(Kind::of(other), None);
        }
    }

    #[test]
    fn the_first_place_wins_and_a_new_content_is_another_layer() {
        let directory = tempfile::tempdir().unwrap();
        let places = vec![directory.path().join("one"), directory.path().join("two")];
        places.iter().for_each(|place| fs::create_dir(place).unwrap());
        let images = Images::in_places(places.clone(), directory.path().join("digests"));
        let name: ExtensionName = "tools".parse().unwrap();
        assert!(matches!(images.find(&name), Err(ImageError::Absent)));
        fs::write(places[1].join("tools.raw"), erofs("two")).unwrap();
        let second = images.find(&name).unwrap();
        fs::write(places[0].join("tools.raw"), erofs("one")).unwrap();
        let first = images.find(&name).unwrap();
        assert_ne!(first.layer, second.layer);
        assert_eq!((first.path.parent(), first.kind), (Some(places[0].as_path()), Kind::Erofs));
        assert!(is_layer_of(&name, Path::new(&first.layer)), "{}", first.layer);
        assert!(!is_layer_of(&"tool".parse().unwrap(), Path::new(&first.layer)));
        assert_eq!(images.find(&name).unwrap(), first, "known by now");
        assert!(first.is_unchanged());
        fs::write(places[0].join("tools.raw"), erofs("another")).unwrap();
        assert!(!first.is_unchanged());
        assert_ne!(images.find(&name).unwrap().layer, first.layer);
        for bad in ["", "hsq", "not a file system, and longer than nothing"] {
            fs::write(places[0].join("tools.raw"), bad).unwrap();
            assert!(matches!(images.find(&name), Err(ImageError::UnknownKind)));
        }
        fs::remove_file(places[0].join("tools.raw")).unwrap();
        fs::create_dir(places[0].join("tools.raw")).unwrap();
        assert!(matches!(images.find(&name), Err(ImageError::UnknownKind)));
    }
}
