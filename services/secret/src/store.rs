//! Where keys are kept: files of /etc/credstore.encrypted, encrypted by the service manager to the TPM or to the host's own
//! secret. Who makes a key has it for that moment only.

use crate::keys::{self, KeyName};
use host::files::{self, FileError};
use model::secrets::{Recipient, SecretValue};
use nix::fcntl::{Flock, FlockArg};
use runtime::foreign::{self, ForeignError};
use sealing::MOST_RECIPIENTS;
use serde_json::json;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};
use thiserror::Error;
use tracing::info;

/// Where systemd looks for encrypted credentials (systemd.exec(5), ImportCredential=).
pub const CREDENTIALS: &str = "/etc/credstore.encrypted";
/// systemd-creds as a service, so that who makes a key needs neither the TPM nor the host's own secret.
const ENCRYPTS: &str = "/run/systemd/io.systemd.Credentials";
/// A TPM is slow.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a kill leaves, and the next one who writes replaces.
const HALF_MADE: &str = ".bitbuilder-secret.new";

/// Why there is no such key.
#[derive(Debug, Error)]
pub enum StoreError {
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The service manager does not encrypt it.
    #[error("cannot encrypt the key")]
    Encrypt(#[from] ForeignError),
    /// It answered with something else.
    #[error("the encrypted key did not arrive")]
    NoBlob,
    /// age does not make one.
    #[error("cannot make a key")]
    Generate(#[from] sealing::NoIdentity),
    /// More keys than are tried.
    #[error("this host has {MOST_RECIPIENTS} keys already: bitbuilder key retire RECIPIENT")]
    TooMany,
    /// Nobody knows that key here.
    #[error("this host has no key of {0}")]
    NoSuchKey(Recipient),
    /// Nothing could be sealed to the host any more.
    #[error("this is the only key of the host; first make another: bitbuilder key rotate")]
    Last,
}

/// Who encrypts a credential so that only this host decrypts it.
pub trait Encrypts {
    /// The encrypted credential, in Base64.
    fn encrypt(&self, name: &KeyName, key: &str) -> impl Future<Output = Result<String, StoreError>> + Send;
}

/// The service manager.
#[derive(Debug)]
pub struct Manager;

impl Encrypts for Manager {
    async fn encrypt(&self, name: &KeyName, key: &str) -> Result<String, StoreError> {
        // To the TPM where there is one, and to the secret on the host's disk.
        let asked = json!({ "name": name.to_string(), "data": SecretValue::of(key.as_bytes()), "withKey": "auto" });
        let method = "io.systemd.Credentials.Encrypt";
        let (reply, _) = foreign::call(Path::new(ENCRYPTS), method, &asked, PATIENCE).await?;
        reply["blob"].as_str().map(str::to_owned).ok_or(StoreError::NoBlob)
    }
}

/// The directory of encrypted credentials.
#[derive(Debug, Clone)]
pub struct Store(PathBuf);

impl Store {
    /// The host's.
    #[must_use]
    pub fn of_the_host() -> Self {
        Self::at(Path::new(CREDENTIALS))
    }

    /// Another one.
    #[must_use]
    pub fn at(directory: &Path) -> Self {
        Self(directory.to_owned())
    }

    /// One change at a time.
    fn turn(&self) -> Result<Flock<File>, FileError> {
        let lock = || -> io::Result<Flock<File>> {
            Flock::lock(File::open(&self.0)?, FlockArg::LockExclusive).map_err(|(_, cause)| cause.into())
        };
        lock().map_err(FileError::new("lock", &self.0))
    }

    /// Makes a key if there is none. Returns whether it did.
    ///
    /// # Errors
    /// It cannot be made or kept.
    pub async fn make_first(&self, encrypts: &impl Encrypts) -> Result<bool, StoreError> {
        let _turn = self.turn()?;
        if !keys::names(&self.0)?.is_empty() {
            return Ok(false);
        }
        self.make(encrypts, 1).await.map(|_| true)
    }

    /// Makes another key, which becomes the newest.
    ///
    /// # Errors
    /// It cannot be made or kept, or there are too many.
    pub async fn add(&self, encrypts: &impl Encrypts) -> Result<Recipient, StoreError> {
        let _turn = self.turn()?;
        let names = keys::names(&self.0)?;
        if names.len() >= MOST_RECIPIENTS {
            return Err(StoreError::TooMany);
        }
        self.make(encrypts, names.first().map_or(1, |newest| newest.number.saturating_add(1))).await
    }

    async fn make(&self, encrypts: &impl Encrypts, number: u32) -> Result<Recipient, StoreError> {
        let (key, recipient) = sealing::generate()?;
        let name = KeyName { number, recipient: recipient.clone() };
        let blob = encrypts.encrypt(&name, &key).await?;
        drop(key);
        let (half, path) = (self.0.join(HALF_MADE), self.0.join(name.to_string()));
        files::remove(&half)?;
        let write = || -> io::Result<()> {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&half)?;
            writeln!(file, "{blob}")?;
            file.sync_all()?;
            fs::rename(&half, &path)?;
            File::open(&self.0)?.sync_all()
        };
        write().map_err(FileError::new("write", &path))?;
        info!(%recipient, number, "there is a new key");
        Ok(recipient)
    }

    /// Removes a key, but not the only one.
    ///
    /// # Errors
    /// There is none of this recipient, or no other, or it cannot be removed.
    pub fn remove(&self, recipient: &Recipient) -> Result<(), StoreError> {
        let _turn = self.turn()?;
        let names = keys::names(&self.0)?;
        let name = names.iter().find(|name| name.recipient == *recipient);
        let name = name.ok_or_else(|| StoreError::NoSuchKey(recipient.clone()))?;
        if names.len() == 1 {
            return Err(StoreError::Last);
        }
        files::remove(&self.0.join(name.to_string()))?;
        File::open(&self.0).and_then(|directory| directory.sync_all()).map_err(FileError::new("write", &self.0))?;
        info!(%recipient, "a key is removed");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// Hands back what it is given, in Base64.
    struct Plain;

    impl Encrypts for Plain {
        async fn encrypt(&self, _: &KeyName, key: &str) -> Result<String, StoreError> {
            Ok(json!(SecretValue::of(key.as_bytes())).as_str().unwrap().to_owned())
        }
    }

    fn recipients(store: &Store) -> Vec<Recipient> {
        keys::names(&store.0).unwrap().into_iter().map(|name| name.recipient).collect()
    }

    #[tokio::test]
    async fn the_first_key_is_made_once_whatever_a_kill_left() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::at(directory.path());
        fs::write(directory.path().join(HALF_MADE), "half").unwrap();
        assert!(store.make_first(&Plain).await.unwrap());
        let made = recipients(&store);
        assert!(!store.make_first(&Plain).await.unwrap());
        assert_eq!((made.len(), recipients(&store)), (1, made));
        let files: Vec<_> = fs::read_dir(directory.path()).unwrap().map(Result::unwrap).collect();
        assert_eq!(files.len(), 1, "{files:?}");
        assert_eq!(files[0].metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[tokio::test]
    async fn the_newest_comes_first_and_the_last_one_stays() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::at(directory.path());
        let (one, two) = (store.add(&Plain).await.unwrap(), store.add(&Plain).await.unwrap());
        assert_eq!(recipients(&store), [two.clone(), one.clone()]);
        store.remove(&one).unwrap();
        assert!(matches!(store.remove(&one), Err(StoreError::NoSuchKey(_))));
        assert!(matches!(store.remove(&two), Err(StoreError::Last)));
        let three = store.add(&Plain).await.unwrap();
        assert_eq!(recipients(&store), [three, two]);
        while recipients(&store).len() < MOST_RECIPIENTS {
            store.add(&Plain).await.unwrap();
        }
        assert!(matches!(store.add(&Plain).await, Err(StoreError::TooMany)));
    }

    #[tokio::test]
    async fn a_key_that_nobody_encrypts_is_not_kept() {
        struct Never;
        impl Encrypts for Never {
            async fn encrypt(&self, _: &KeyName, _: &str) -> Result<String, StoreError> {
                Err(StoreError::NoBlob)
            }
        }
        let directory = tempfile::tempdir().unwrap();
        assert!(Store::at(directory.path()).make_first(&Never).await.is_err());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        assert!(Store::at(&directory.path().join("absent")).make_first(&Plain).await.is_err());
    }
}
