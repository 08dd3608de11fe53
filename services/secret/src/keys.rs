//! The host's keys as the service manager gives them to this process: a credential each, whose name says which is the newest.

use host::files::FileError;
use model::secrets::Recipient;
use sealing::Identities;
use std::{fs, io, path::Path};
use thiserror::Error;
use zeroize::Zeroizing;

/// What the names of the credentials begin with.
pub const PREFIX: &str = "bitbuilder-secret.";

/// The name of a key's credential: `bitbuilder-secret.NUMBER.RECIPIENT`. The newest has the highest number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyName {
    /// Which in the order in which they were made, from 1.
    pub number: u32,
    /// Its public half.
    pub recipient: Recipient,
}

impl KeyName {
    /// Reads a credential's name; nothing if it is none of ours.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let (number, recipient) = name.strip_prefix(PREFIX)?.split_once('.')?;
        let key = Self { number: number.parse().ok()?, recipient: recipient.parse().ok()? };
        (key.to_string() == name).then_some(key)
    }
}

impl std::fmt::Display for KeyName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{PREFIX}{:04}.{}", self.number, self.recipient)
    }
}

/// Why the keys cannot be used.
#[derive(Debug, Error)]
pub enum KeyError {
    /// A credential cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A credential holds something else than its name says.
    #[error("the credential {0} does not hold that key")]
    NotThatKey(KeyName),
}

/// The keys of this process, newest first. There may be none.
///
/// # Errors
/// A credential is not what it should be.
pub fn given() -> Result<Identities, KeyError> {
    match std::env::var_os("CREDENTIALS_DIRECTORY") {
        Some(directory) => read(Path::new(&directory)),
        // Nothing was there to be imported.
        None => Ok(Identities::none()),
    }
}

/// The names of the keys in a directory, newest first.
///
/// # Errors
/// It cannot be listed.
pub fn names(directory: &Path) -> Result<Vec<KeyName>, FileError> {
    let listed = || -> io::Result<Vec<KeyName>> {
        let entries: io::Result<Vec<_>> = fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name())).collect();
        Ok(entries?.iter().filter_map(|name| KeyName::parse(name.to_str()?)).collect())
    };
    let mut names = listed().map_err(FileError::new("list", directory))?;
    names.sort_by(|one, other| other.cmp(one));
    Ok(names)
}

/// Reads the keys in a directory of credentials, newest first.
///
/// # Errors
/// One of them is not what its name says.
pub fn read(directory: &Path) -> Result<Identities, KeyError> {
    let (mut texts, names) = (Vec::new(), names(directory)?);
    for name in &names {
        let path = directory.join(name.to_string());
        let text = fs::read_to_string(&path).map_err(FileError::new("read", &path))?;
        texts.push(Zeroizing::new(text));
    }
    let mut all = Identities::none();
    for (name, text) in names.into_iter().zip(&texts) {
        let key = Identities::parse([text.as_str()]).ok().filter(|key| key.recipients() == [name.recipient.clone()]);
        all.append(key.ok_or(KeyError::NotThatKey(name))?);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_newest_first_and_are_what_their_names_say() {
        let directory = tempfile::tempdir().unwrap();
        let made: Vec<_> = (0..11).map(|_| sealing::generate().unwrap()).collect();
        for (number, (secret, recipient)) in (1..).zip(&made) {
            let name = KeyName { number, recipient: recipient.clone() };
            assert_eq!(KeyName::parse(&name.to_string()), Some(name.clone()));
            fs::write(directory.path().join(name.to_string()), format!("{}\n", secret.as_str())).unwrap();
        }
        fs::write(directory.path().join("another.credential"), "x").unwrap();
        let newest_first: Vec<Recipient> = made.iter().rev().map(|(_, recipient)| recipient.clone()).collect();
        assert_eq!(read(directory.path()).unwrap().recipients(), newest_first);

        let swapped = KeyName { number: 12, recipient: made[0].1.clone() };
        fs::write(directory.path().join(swapped.to_string()), made[1].0.as_str()).unwrap();
        assert!(matches!(read(directory.path()), Err(KeyError::NotThatKey(_))));
    }

    #[test]
    fn only_our_own_names_are_keys() {
        let recipient = sealing::generate().unwrap().1;
        for bad in [
            format!("bitbuilder-secret.1.{recipient}"),
            format!("bitbuilder-secret.0001.{recipient}.new"),
            format!("bitbuilder-secret.-001.{recipient}"),
            format!("bitbuilder.0001.{recipient}"),
            "bitbuilder-secret.0001.age1".to_owned(),
            ".bitbuilder-secret.new".to_owned(),
        ] {
            assert_eq!(KeyName::parse(&bad), None, "{bad}");
        }
    }
}
