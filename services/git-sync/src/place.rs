//! What is held of a repository on disk, and where: `mirror.git`, `checkouts/<revision>` and a record, below a directory
//! of the repository's name.

use crate::{prune::remove_tree, push::Pushed, remotes::Remotes};
use host::files::{self, FileError};
use interfaces::git_sync::{Fetch, Fetched};
use model::{
    Reference, RepositoryUrl, Revision,
    names::RepositoryName,
    signer::{SignerName, Trust},
};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

/// What was fetched last, and from where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) url: RepositoryUrl,
    pub(crate) reference: Reference,
    pub(crate) revision: Revision,
    /// The object that the reference names: the commit, or a tag.
    #[serde(default)]
    pub(crate) object: Option<String>,
    /// The commit that was found in its history.
    #[serde(default)]
    pub(crate) floor: Option<Revision>,
    /// Whose signature was found, and for what.
    pub(crate) signed: Option<Signed>,
}

impl Record {
    /// What a fetch would give, if the reference names `object` still and everything that is asked was judged then.
    pub(crate) fn answer(&self, call: &Fetch, object: &str) -> Option<Fetched> {
        let one_of_its = call.addresses().any(|url| *url == self.url);
        let same = one_of_its && self.reference == call.reference && self.object.as_deref() == Some(object);
        let floor = call.floor.as_ref();
        let goes_on = floor.is_none_or(|floor| *floor == self.revision || self.floor.as_ref() == Some(floor));
        let signer = match &call.trust {
            None => None,
            Some(trust) => {
                let signed = self.signed.as_ref().filter(|signed| signed.object == object && signed.trust == *trust)?;
                Some(signed.signer.clone())
            }
        };
        (same && goes_on).then(|| Fetched {
            revision: self.revision.clone(),
            changed: false,
            signer,
            remotes: Vec::new(),
        })
    }
}

/// A signature that was judged once and need not be again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Signed {
    /// The object that the reference names: the commit, or a tag.
    pub(crate) object: String,
    /// Whose signature was wanted then.
    pub(crate) trust: Trust,
    /// Whose it is.
    pub(crate) signer: SignerName,
}

/// One repository's directory.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) directory: PathBuf,
}

impl Place {
    pub(crate) fn new(root: &Path, repository: &RepositoryName) -> Self {
        Self { directory: root.join(repository.as_str()) }
    }

    /// The repositories of which something is held, in order.
    pub(crate) fn all(root: &Path) -> Result<Vec<RepositoryName>, FileError> {
        let mut names: Vec<_> = names_in(root)?.iter().filter_map(|name| name.parse().ok()).collect();
        names.sort();
        Ok(names)
    }

    /// Makes the directory.
    pub(crate) fn make(&self) -> Result<(), FileError> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o750).create(&self.directory);
        made.map_err(FileError::new("create", &self.directory))
    }

    pub(crate) fn exists(&self) -> bool {
        self.directory.is_dir()
    }

    /// The bare repository with everything that was fetched.
    pub(crate) fn mirror(&self) -> PathBuf {
        self.directory.join("mirror.git")
    }

    /// A mirror that is being filled to take the place of the other.
    pub(crate) fn fresh_mirror(&self) -> PathBuf {
        self.directory.join(".new-mirror.git")
    }

    /// How large the mirror was when it held nothing but what is needed.
    pub(crate) fn tidy_size(&self) -> PathBuf {
        self.mirror().join("tidy-size")
    }

    /// There if the mirror lacks something.
    pub(crate) fn damaged(&self) -> PathBuf {
        self.mirror().join("damaged")
    }

    /// There once the server has said something to the fetch that is going on.
    pub(crate) fn answered(&self) -> PathBuf {
        self.directory.join(".new-answered")
    }

    /// Keys for those who judge a signature, while they do.
    pub(crate) fn keys(&self) -> PathBuf {
        self.directory.join(".new-keys")
    }

    pub(crate) fn checkouts(&self) -> PathBuf {
        self.directory.join("checkouts")
    }

    pub(crate) fn checkout(&self, revision: &Revision) -> PathBuf {
        self.checkouts().join(revision.as_str())
    }

    /// Where a checkout grows until it is whole.
    pub(crate) fn growing_checkout(&self, revision: &Revision) -> PathBuf {
        self.checkouts().join(format!(".new-{revision}"))
    }

    /// What Git is told when it serves a repository of this host to us.
    pub(crate) fn git_config(&self) -> PathBuf {
        self.directory.join("git.config")
    }

    /// Waits until nobody else works here. A child that outlived a killed service holds on for as long as it writes.
    pub(crate) fn lock(&self) -> Result<Flock<File>, FileError> {
        let path = self.directory.join("lock");
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(FileError::new("open", &path))?;
        Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, cause)| FileError::new("lock", &path)(cause.into()))
    }

    /// Removes what an errand that was killed left half made. Only while the lock is held.
    pub(crate) fn sweep(&self) -> Result<(), FileError> {
        for directory in [&self.directory, &self.checkouts()] {
            for name in names_in(directory)?.iter().filter(|name| is_temporary(name)) {
                remove_tree(&directory.join(name))?;
            }
        }
        Ok(())
    }

    /// What was fetched last. A record that cannot be understood is none: the next fetch writes it anew.
    pub(crate) fn record(&self) -> Option<Record> {
        serde_json::from_slice(&fs::read(self.record_path()).ok()?).ok()
    }

    pub(crate) fn write_record(&self, record: &Record) -> Result<bool, FileError> {
        let path = self.record_path();
        let bytes =
            serde_json::to_vec_pretty(record).map_err(|cause| FileError::new("serialise", &path)(cause.into()))?;
        files::write_unflushed(&path, &bytes, 0o640)
    }

    /// How its servers were doing, as far as that can be understood.
    pub(crate) fn remotes(&self) -> Remotes {
        fs::read(self.remotes_path()).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    /// Not flushed: who forgets it asks in the order in which they are named.
    pub(crate) fn write_remotes(&self, remotes: &Remotes) -> Result<(), FileError> {
        self.make()?;
        let path = self.remotes_path();
        let bytes =
            serde_json::to_vec_pretty(remotes).map_err(|cause| FileError::new("serialise", &path)(cause.into()))?;
        files::write_unflushed(&path, &bytes, 0o640).map(drop)
    }

    /// What was pushed to its push mirror last.
    pub(crate) fn pushed(&self) -> Option<Pushed> {
        serde_json::from_slice(&fs::read(self.directory.join("pushed.json")).ok()?).ok()
    }

    /// Not flushed: who forgets it pushes once more.
    pub(crate) fn write_pushed(&self, pushed: &Pushed) -> Result<(), FileError> {
        let path = self.directory.join("pushed.json");
        let bytes =
            serde_json::to_vec_pretty(pushed).map_err(|cause| FileError::new("serialise", &path)(cause.into()))?;
        files::write_unflushed(&path, &bytes, 0o640).map(drop)
    }

    /// It has one server alone.
    pub(crate) fn forget_remotes(&self) -> Result<(), FileError> {
        files::remove(&self.remotes_path()).map(drop)
    }

    /// The commits that are checked out, in order.
    pub(crate) fn revisions(&self) -> Result<Vec<Revision>, FileError> {
        let mut revisions: Vec<_> = names_in(&self.checkouts())?.iter().filter_map(|name| name.parse().ok()).collect();
        revisions.sort();
        Ok(revisions)
    }

    fn remotes_path(&self) -> PathBuf {
        self.directory.join("remotes.json")
    }

    fn record_path(&self) -> PathBuf {
        self.directory.join("record.json")
    }
}

/// Whether a name is one that an errand gives to what is not whole yet, or not any more.
fn is_temporary(name: &str) -> bool {
    name.starts_with(".new-") || name.starts_with(".old-")
}

/// Another name for what is about to be removed, beside it, so that it never looks whole while it goes.
pub(crate) fn doomed(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".old-{name}"))
}

/// The names in a directory; none if it is not there.
pub(crate) fn names_in(directory: &Path) -> Result<Vec<String>, FileError> {
    let list = || fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect();
    match list() {
        Ok(names) => Ok(names),
        Err(cause) if io::Error::kind(&cause) == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(cause) => Err(FileError::new("list", directory)(cause)),
    }
}

/// Flushes the names in a directory to disk.
pub(crate) fn sync_directory(directory: &Path) -> Result<(), FileError> {
    File::open(directory).and_then(|open| open.sync_all()).map_err(FileError::new("flush", directory))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::signer::Signer;

    #[test]
    fn a_record_answers_what_was_judged_and_nothing_else() {
        let revision = |digit: &str| digit.repeat(40).parse::<Revision>().unwrap();
        let call = Fetch {
            repository: "web".parse().unwrap(),
            url: "git://h/web".parse().unwrap(),
            mirrors: None,
            reference: Reference::main(),
            trust: None,
            floor: None,
        };
        let trust = Trust { signers: vec![Signer::named("alice".parse().unwrap())], revoked: Vec::new() };
        let object = "c".repeat(40);
        let signed = Signed { object: object.clone(), trust: trust.clone(), signer: "alice".parse().unwrap() };
        let record = Record {
            url: call.url.clone(),
            reference: call.reference.clone(),
            revision: revision("c"),
            object: Some(object.clone()),
            floor: Some(revision("b")),
            signed: Some(signed),
        };
        let good = [
            call.clone(),
            Fetch { floor: Some(revision("b")), ..call.clone() },
            Fetch { floor: Some(revision("c")), ..call.clone() },
            Fetch { trust: Some(trust.clone()), ..call.clone() },
            // It was fetched from a mirror.
            Fetch {
                url: "git://h/first".parse().unwrap(),
                mirrors: vec![call.url.clone()].try_into().ok(),
                ..call.clone()
            },
        ];
        for call in good {
            let answer = record.answer(&call, &object).unwrap();
            assert_eq!((answer.revision, answer.changed), (revision("c"), false));
            assert_eq!(answer.signer.is_some(), call.trust.is_some());
        }
        let other = Trust { revoked: Vec::new(), signers: Vec::new() };
        let bad = [
            Fetch { floor: Some(revision("a")), ..call.clone() },
            Fetch { trust: Some(other), ..call.clone() },
            Fetch { url: "git://h/mail".parse().unwrap(), ..call.clone() },
            Fetch { reference: "refs/heads/other".parse().unwrap(), ..call.clone() },
        ];
        for call in bad {
            assert_eq!(record.answer(&call, &object), None, "{call:?}");
        }
        assert_eq!(record.answer(&call, &"d".repeat(40)), None);
        let unsigned = Record { signed: None, ..record.clone() };
        assert_eq!(unsigned.answer(&Fetch { trust: Some(trust), ..call.clone() }, &object), None);
        // Written before objects were remembered.
        assert_eq!(Record { object: None, ..record }.answer(&call, &object), None);
    }
}
