//! What this host shows to Git servers and what it knows them by, as systemd hands it to the service
//! (systemd.exec(5), ImportCredential=): `bitbuilder.WHAT.REPOSITORY`, or `bitbuilder.WHAT` for all. Only paths of these
//! files reach an argument or the environment, never what they hold.

use model::names::RepositoryName;
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// An SSH private key without a passphrase.
const SSH_KEY: &str = "ssh-key";
/// Known host keys (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT).
const SSH_KNOWN_HOSTS: &str = "ssh-known-hosts";
/// A user and a password or token for https, `USER:PASSWORD`.
const HTTPS_LOGIN: &str = "https-login";
/// Certificates of the authorities that https servers are known by, in PEM, in place of the host's own.
const AUTHORITIES: &str = "ca";

/// The credentials for one repository.
#[derive(Debug, Clone)]
pub(crate) struct Credentials<'a> {
    directory: Option<&'a Path>,
    repository: &'a RepositoryName,
}

impl<'a> Credentials<'a> {
    pub(crate) fn new(directory: Option<&'a Path>, repository: &'a RepositoryName) -> Self {
        Self { directory, repository }
    }

    fn find(&self, what: &str) -> Option<PathBuf> {
        let directory = self.directory?;
        let own = directory.join(format!("bitbuilder.{what}.{}", self.repository));
        [own, directory.join(format!("bitbuilder.{what}"))].into_iter().find(|path| path.is_file())
    }

    pub(crate) fn authorities(&self) -> Option<PathBuf> {
        self.find(AUTHORITIES)
    }

    /// Whether it has authorities of its own, which nobody else's connections are to be judged by.
    pub(crate) fn has_own_authorities(&self) -> bool {
        self.authorities() != authorities_of_all(self.directory)
    }

    /// The file with the user and the password for https, if there is one.
    pub(crate) fn https_login_path(&self) -> Option<PathBuf> {
        self.find(HTTPS_LOGIN)
    }

    /// The user and the password for https, if there are any.
    pub(crate) fn https_login(&self) -> io::Result<Option<(String, String)>> {
        self.https_login_path().map(|path| read_login(&path)).transpose()
    }

    /// How `ssh` is run: with this key and these hosts alone, whatever else the machine has, asking nobody.
    ///
    /// # Errors
    /// What is missing, and where it goes.
    pub(crate) fn ssh_command(&self) -> Result<String, String> {
        let found = |what: &str| {
            let missing = || {
                format!(
                    "this host has no bitbuilder.{what} for it; put one at /etc/credstore/bitbuilder.{what}.{}",
                    self.repository
                )
            };
            let path = self.find(what).ok_or_else(missing)?.display().to_string();
            let plain = path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._@-".contains(&b));
            if plain { Ok(path) } else { Err(format!("the path {path} would need quotes")) }
        };
        let (known_hosts, key) = (found(SSH_KNOWN_HOSTS)?, found(SSH_KEY)?);
        let options = [
            "BatchMode=yes",
            "ClearAllForwardings=yes",
            "ConnectTimeout=10",
            "ForwardAgent=no",
            "GlobalKnownHostsFile=/dev/null",
            "IdentitiesOnly=yes",
            "IdentityAgent=none",
            "PasswordAuthentication=no",
            "PermitLocalCommand=no",
            "ServerAliveInterval=15",
            "StrictHostKeyChecking=yes",
            "UpdateHostKeys=no",
        ];
        let options: String = options.iter().map(|option| format!(" -o {option}")).collect();
        Ok(format!("ssh -F none -i {key} -o UserKnownHostsFile={known_hosts}{options}"))
    }
}

/// The authorities for every repository without its own.
pub(crate) fn authorities_of_all(directory: Option<&Path>) -> Option<PathBuf> {
    directory.map(|directory| directory.join(format!("bitbuilder.{AUTHORITIES}"))).filter(|path| path.is_file())
}

/// The user and the password in a file.
pub(crate) fn read_login(path: &Path) -> io::Result<(String, String)> {
    let text = fs::read_to_string(path)?;
    let login = text.trim_end_matches(['\n', '\r']).split_once(':');
    // What it holds instead is not said.
    let malformed =
        || io::Error::new(io::ErrorKind::InvalidData, format!("bitbuilder.{HTTPS_LOGIN} is not USER:PASSWORD"));
    login.map(|(user, password)| (user.to_owned(), password.to_owned())).ok_or_else(malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repositorys_own_credential_comes_before_the_hosts() {
        let directory = tempfile::tempdir().unwrap();
        let (web, mail) = ("web".parse().unwrap(), "mail".parse().unwrap());
        let of = |repository| Credentials::new(Some(directory.path()), repository);
        assert_eq!(of(&web).https_login().unwrap(), None);
        fs::write(directory.path().join("bitbuilder.https-login"), "all:a\n").unwrap();
        fs::write(directory.path().join("bitbuilder.https-login.web"), "web:b:c").unwrap();
        assert_eq!(of(&web).https_login().unwrap(), Some(("web".to_owned(), "b:c".to_owned())));
        assert_eq!(of(&mail).https_login().unwrap(), Some(("all".to_owned(), "a".to_owned())));
        fs::write(directory.path().join("bitbuilder.https-login"), "a secret").unwrap();
        let refused = of(&mail).https_login().unwrap_err().to_string();
        assert_eq!(refused, "bitbuilder.https-login is not USER:PASSWORD");
        assert!(of(&web).ssh_command().unwrap_err().contains("/etc/credstore/bitbuilder.ssh-known-hosts.web"));
    }
}
