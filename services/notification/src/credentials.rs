//! What this host shows to targets and what it knows them by, as systemd hands it to the service (systemd.exec(5),
//! ImportCredential=): `bitbuilder.notification-WHAT.TARGET`, or `bitbuilder.notification-WHAT` for all.

use model::names::TargetName;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The credentials of the service.
#[derive(Debug, Clone)]
pub(crate) struct Credentials {
    directory: Option<PathBuf>,
}

impl Credentials {
    /// Those that the service manager handed over.
    pub(crate) fn of_this_process() -> Self {
        Self { directory: std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from) }
    }

    /// Those in a directory.
    #[cfg(test)]
    pub(crate) fn in_directory(directory: &Path) -> Self {
        Self { directory: Some(directory.to_owned()) }
    }

    /// What a forge knows this host by.
    ///
    /// # Errors
    /// There is none, and where it goes; what it holds is never said.
    pub(crate) fn token(&self, target: &TargetName) -> Result<String, String> {
        let missing = || {
            format!(
                "this host has no bitbuilder.notification-token for it; put one at /etc/credstore/bitbuilder.notification-token.{target}"
            )
        };
        self.text("notification-token", target)?.ok_or_else(missing)
    }

    /// What a webhook's messages are signed with, if there is something.
    pub(crate) fn secret(&self, target: &TargetName) -> Result<Option<String>, String> {
        self.text("notification-secret", target)
    }

    /// Certificates of authorities in PEM, in place of the host's own, if there are some.
    pub(crate) fn authorities(&self, target: &TargetName) -> Result<Option<Vec<u8>>, String> {
        let found = self.find("notification-ca", target).or_else(|| self.named("ca"));
        found.map(|path| read(&path)).transpose()
    }

    /// A text of one line, which the newline that an editor leaves at its end is no part of.
    fn text(&self, what: &str, target: &TargetName) -> Result<Option<String>, String> {
        let Some(path) = self.find(what, target) else { return Ok(None) };
        let text = String::from_utf8(read(&path)?).unwrap_or_default();
        let text = text.trim_end_matches(['\n', '\r']);
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
            return Err(format!("bitbuilder.{what} is not a line of visible ASCII characters"));
        }
        Ok(Some(text.to_owned()))
    }

    fn find(&self, what: &str, target: &TargetName) -> Option<PathBuf> {
        self.named(&format!("{what}.{target}")).or_else(|| self.named(what))
    }

    fn named(&self, name: &str) -> Option<PathBuf> {
        Some(self.directory.as_ref()?.join(format!("bitbuilder.{name}"))).filter(|path| path.is_file())
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|cause| format!("cannot read the credential {}: {cause}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_targets_own_comes_before_that_of_all_and_nothing_of_it_is_said() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &str| fs::write(directory.path().join(name), content).unwrap();
        let credentials = Credentials::in_directory(directory.path());
        let (forge, hook) = ("forge".parse().unwrap(), "hook".parse().unwrap());
        assert!(credentials.token(&forge).unwrap_err().contains("/etc/credstore/bitbuilder.notification-token.forge"));
        assert_eq!(credentials.secret(&hook), Ok(None));
        write("bitbuilder.notification-token", "all\n");
        write("bitbuilder.notification-token.forge", "one");
        assert_eq!((credentials.token(&forge), credentials.token(&hook)), (Ok("one".to_owned()), Ok("all".to_owned())));
        for wrong in ["", "\n", "canary\r\nX-Evil: 1", "canary\u{e9}"] {
            write("bitbuilder.notification-token.forge", wrong);
            let refused = credentials.token(&forge).unwrap_err();
            assert_eq!(refused, "bitbuilder.notification-token is not a line of visible ASCII characters");
        }
        assert_eq!(credentials.authorities(&forge), Ok(None));
        write("bitbuilder.ca", "host");
        assert_eq!(credentials.authorities(&forge), Ok(Some(b"host".to_vec())));
        write("bitbuilder.notification-ca.forge", "own");
        assert_eq!(credentials.authorities(&forge), Ok(Some(b"own".to_vec())));
        assert_eq!(Credentials { directory: None }.secret(&hook), Ok(None));
    }
}
