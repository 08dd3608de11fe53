//! Things that are built once and kept: each under a name made of its kind and of the hash of everything it is built from.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

use crate::rundir;

/// How many of a kind stay for switching back, and how long one that was just handed out is safe until its host has recorded it.
const KEPT: usize = 3;
const IN_FLIGHT: Duration = Duration::from_secs(600);

/// The folder of kept things, shared by all processes of a user.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// The user's cache: `$BITBUILDER_CACHE`, or `bitbuilder` below `$XDG_CACHE_HOME` or `~/.cache`.
    pub fn open() -> Result<Self> {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let root = set("BITBUILDER_CACHE")
            .or_else(|| Some(set("XDG_CACHE_HOME")?.join("bitbuilder")))
            .or_else(|| Some(set("HOME")?.join(".cache/bitbuilder")))
            .context("no cache folder: neither BITBUILDER_CACHE, XDG_CACHE_HOME nor HOME is set")?;
        fs::create_dir_all(&root).with_context(|| format!("creating {}", root.display()))?;
        Ok(Self { root: root.canonicalize()? })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A folder in the cache that its user looks after alone.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.root.join(name);
        fs::create_dir_all(&path).with_context(|| format!("creating {}", path.display()))?;
        Ok(path)
    }

    /// The thing of this kind and key, built at the given path if there is none yet. Processes take turns at building things of a kind.
    pub fn ensure(&self, kind: &str, key: &str, build: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let path = self.root.join(format!("{kind}-{key}"));
        if !path.exists() {
            let _turn = self.turn(kind)?;
            if !path.exists() {
                self.remove_unfinished(kind)?;
                let new = self.root.join(format!(".new-{kind}-{key}"));
                eprintln!("building {kind}");
                let begun = SystemTime::now();
                if let Err(error) = build(&new) {
                    self.remove_unfinished(kind)?;
                    return Err(error.context(format!("building {kind}")));
                }
                fs::rename(&new, &path).with_context(|| format!("completing {}", path.display()))?;
                eprintln!("built {kind} in {:.1} s", begun.elapsed().unwrap_or_default().as_secs_f32());
                mark_used(&path)?;
                self.prune(kind)?;
            }
        }
        mark_used(&path)?;
        Ok(path)
    }

    fn turn(&self, kind: &str) -> Result<File> {
        let lock = File::create(self.root.join(format!("{kind}.lock"))).context("opening the build lock")?;
        if lock.try_lock().is_err() {
            eprintln!("waiting for another process to finish building {kind}");
            lock.lock().context("waiting for the build lock")?;
        }
        Ok(lock)
    }

    /// Whoever holds the turn is the only builder, so every unfinished thing of the kind is left over from one that was killed.
    fn remove_unfinished(&self, kind: &str) -> Result<()> {
        let unfinished = format!(".new-{kind}-");
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(&unfinished) {
                remove(&entry.path())?;
            }
        }
        Ok(())
    }

    fn prune(&self, kind: &str) -> Result<()> {
        let mut aged = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let same = name.strip_prefix(kind).and_then(|rest| rest.strip_prefix('-'));
            if same.is_some_and(|key| key.len() == KEY_LENGTH && key.bytes().all(|byte| byte.is_ascii_hexdigit())) {
                let used =
                    fs::metadata(marker(&path)).and_then(|data| data.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
                aged.push((used, path));
            }
        }
        aged.sort();
        aged.reverse();
        let now = SystemTime::now();
        for (used, path) in aged.into_iter().skip(KEPT) {
            let in_flight = now.duration_since(used).is_ok_and(|age| age < IN_FLIGHT);
            if !in_flight && !rundir::uses(&path)? {
                remove(&path)?;
                remove(&marker(&path))?;
            }
        }
        Ok(())
    }
}

const KEY_LENGTH: usize = 16;

/// The key of a thing that is built from these parts.
#[must_use]
pub fn key<P: AsRef<[u8]>>(parts: impl IntoIterator<Item = P>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        let part = part.as_ref();
        // The length keeps two neighbours from being read as one.
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let mut text: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    text.truncate(KEY_LENGTH);
    text
}

fn marker(path: &Path) -> PathBuf {
    let mut marker = path.as_os_str().to_owned();
    marker.push(".used");
    PathBuf::from(marker)
}

fn mark_used(path: &Path) -> Result<()> {
    let marker = marker(path);
    let file = File::create(&marker).with_context(|| format!("creating {}", marker.display()))?;
    file.set_modified(SystemTime::now()).with_context(|| format!("dating {}", marker.display()))
}

/// Removes a file or a whole folder; one that is not there is fine.
pub(crate) fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() && !path.is_symlink() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(cache: &Cache) -> Vec<String> {
        let entries = fs::read_dir(&cache.root).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| !name.ends_with(".used") && !name.ends_with(".lock")).collect()
    }

    #[test]
    fn a_key_tells_parts_apart() {
        assert_ne!(key(["ab", "c"]), key(["a", "bc"]));
        assert_eq!(key(["a"]).len(), KEY_LENGTH);
    }

    #[test]
    fn a_thing_is_built_once_and_a_failed_one_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache { root: folder.path().to_owned() };
        let key = key(["x"]);
        let failed = cache.ensure("thing", &key, |new| {
            fs::write(new, "half")?;
            anyhow::bail!("no more");
        });
        assert!(failed.is_err());
        assert_eq!(names(&cache), Vec::<String>::new());
        let built = cache.ensure("thing", &key, |new| Ok(fs::write(new, "whole")?)).unwrap();
        let again = cache.ensure("thing", &key, |_| anyhow::bail!("a second time")).unwrap();
        assert_eq!((built.clone(), fs::read_to_string(built).unwrap().as_str()), (again, "whole"));
    }

    #[test]
    fn old_things_of_the_same_kind_go() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache { root: folder.path().to_owned() };
        let build = |kind: &str, part: &str| cache.ensure(kind, &key([part]), |new| Ok(fs::write(new, part)?)).unwrap();
        build("other", "0");
        for part in ["1", "2", "3", "4", "5"] {
            let built = build("thing", part);
            let long_ago = SystemTime::now() - IN_FLIGHT * 2 + Duration::from_secs(part.parse().unwrap());
            File::open(marker(&built)).unwrap().set_modified(long_ago).unwrap();
        }
        assert_eq!(names(&cache).iter().filter(|name| name.starts_with("thing-")).count(), KEPT);
        assert!(names(&cache).contains(&format!("thing-{}", key(["5"]))));
        assert!(names(&cache).contains(&format!("other-{}", key(["0"]))));
    }
}
