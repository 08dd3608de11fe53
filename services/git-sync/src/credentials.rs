//! What this host shows to Git servers and what it knows them by, as systemd hands it to the service
//! (systemd.exec(5), ImportCredential=): `bitbuilder.WHAT.REPOSITORY`, or `bitbuilder.WHAT` for all, for the server of its
//! address; with `@HOST` or `@HOST+PORT` behind it, for that server. Only paths of these files reach an argument or the
//! environment, never what they hold.

use crate::{
    login::{Login, NotALogin},
    several::Attempt,
};
use interfaces::git_sync::Push;
use model::{RepositoryUrl, names::RepositoryName};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// An SSH private key without a passphrase.
const SSH_KEY: &str = "ssh-key";
/// The same, for the push mirror.
const PUSH_KEY: &str = "push-key";
/// Known host keys (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT).
const SSH_KNOWN_HOSTS: &str = "ssh-known-hosts";
/// A user and a password or token for https: `USER:PASSWORD` where the name says whose, and lines that say it themselves where
/// the name does not.
const HTTPS_LOGIN: &str = "https-login";
/// Certificates of the authorities that https servers are known by, in PEM, in place of the host's own.
const AUTHORITIES: &str = "ca";

/// The credentials for one server of one repository.
#[derive(Debug, Clone)]
pub(crate) struct Credentials<'a> {
    directory: Option<&'a Path>,
    repository: &'a RepositoryName,
    /// `HOST` or `HOST+PORT`.
    server: Option<String>,
    /// Whether it is the server of the repository's own address, not that of a mirror.
    first: bool,
    /// The address that is fetched from.
    url: Option<&'a RepositoryUrl>,
}

impl<'a> Credentials<'a> {
    pub(crate) fn new(directory: Option<&'a Path>, attempt: &'a Attempt) -> Self {
        let Attempt { call, .. } = attempt;
        let first = attempt.url().server() == call.url.server();
        let url = Some(attempt.url());
        Self { directory, repository: &call.repository, server: attempt.url().server_label(), first, url }
    }

    /// The credentials to push with: a key of their own, which no server is shown from which is fetched.
    ///
    /// # Errors
    /// What is missing, and where it goes.
    pub(crate) fn push_command(directory: Option<&'a Path>, call: &'a Push) -> Result<String, String> {
        Self::to_push(directory, call).ssh_command_with(PUSH_KEY)
    }

    fn to_push(directory: Option<&'a Path>, call: &'a Push) -> Self {
        let server = call.url.server_label();
        Self { directory, repository: &call.repository, server, first: true, url: None }
    }

    /// A login, or whoever vouches for a server, is meant for one server. A key and the hosts that it is shown to are not
    /// told to anybody, and each line of the latter names its own.
    fn find(&self, what: &str) -> Option<PathBuf> {
        let any = [format!("bitbuilder.{what}.{}", self.repository), format!("bitbuilder.{what}")];
        let any = any.into_iter().filter(|_| self.first || [SSH_KEY, SSH_KNOWN_HOSTS].contains(&what));
        self.first_of(self.named(what).into_iter().chain(any))
    }

    /// The names for this server alone.
    fn named(&self, what: &str) -> Vec<String> {
        let names = [format!("bitbuilder.{what}.{}", self.repository), format!("bitbuilder.{what}")];
        self.server.iter().flat_map(|server| names.iter().map(move |name| format!("{name}@{server}"))).collect()
    }

    fn first_of(&self, names: impl IntoIterator<Item = String>) -> Option<PathBuf> {
        let directory = self.directory?;
        names.into_iter().map(|name| directory.join(name)).find(|path| path.is_file())
    }

    pub(crate) fn authorities(&self) -> Option<PathBuf> {
        self.find(AUTHORITIES)
    }

    /// The files that whoever fetches reads. A login is told to it.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        [SSH_KEY, SSH_KNOWN_HOSTS, AUTHORITIES].into_iter().filter_map(|what| self.find(what)).collect()
    }

    /// The files that whoever pushes reads.
    pub(crate) fn files_to_push(directory: Option<&'a Path>, call: &'a Push) -> Vec<PathBuf> {
        let credentials = Self::to_push(directory, call);
        [PUSH_KEY, SSH_KNOWN_HOSTS].into_iter().filter_map(|what| credentials.find(what)).collect()
    }

    /// Whether it has authorities of its own, which nobody else's connections are to be judged by.
    pub(crate) fn has_own_authorities(&self) -> bool {
        self.authorities() != authorities_of_all(self.directory)
    }

    /// The user and the password for https, if there are any. A login without a server's or a repository's name is for the
    /// servers that its lines name.
    ///
    /// # Errors
    /// What is wrong with a file, never what it holds.
    pub(crate) fn https_login(&self) -> Result<Option<Login>, NotALogin> {
        let Some(url) = self.url.filter(|url| url.as_str().starts_with("https://")) else { return Ok(None) };
        let own = self.first.then(|| format!("bitbuilder.{HTTPS_LOGIN}.{}", self.repository));
        if let Some(path) = self.first_of(self.named(HTTPS_LOGIN).into_iter().chain(own)) {
            let (name, text) = read(&path)?;
            return Login::own(&name, &text).map(Some);
        }
        let Some(path) = self.first_of([format!("bitbuilder.{HTTPS_LOGIN}")]) else { return Ok(None) };
        let (name, text) = read(&path)?;
        Login::among(&name, &text, &url.server())
    }

    /// How `ssh` is run to fetch.
    ///
    /// # Errors
    /// What is missing, and where it goes.
    pub(crate) fn ssh_command(&self) -> Result<String, String> {
        self.ssh_command_with(SSH_KEY)
    }

    /// How `ssh` is run: with this key and these hosts alone, whatever else the machine has, asking nobody.
    fn ssh_command_with(&self, key: &str) -> Result<String, String> {
        let found = |what: &str| {
            let missing = || {
                format!(
                    "this host has no bitbuilder.{what} for it; put one at /etc/credstore/bitbuilder.{what}.{}",
                    self.repository
                )
            };
            let path = self.find(what).ok_or_else(missing)?.display().to_string();
            let plain = path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._@+-".contains(&b));
            if plain { Ok(path) } else { Err(format!("the path {path} would need quotes")) }
        };
        let (known_hosts, key) = (found(SSH_KNOWN_HOSTS)?, found(key)?);
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

/// A credential's name and what it holds.
fn read(path: &Path) -> Result<(String, String), NotALogin> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    match fs::read_to_string(path) {
        Ok(text) => Ok((name, text)),
        Err(cause) => Err(NotALogin::Read { name, cause: cause.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::several::Source;
    use interfaces::git_sync::Fetch;
    use model::Reference;

    fn attempt(repository: &RepositoryName, from: Source) -> Attempt {
        let (repository, url) = (repository.clone(), "https://git.example.org/web".parse().unwrap());
        let reference = Reference::main();
        Attempt { call: Fetch { repository, url, mirrors: None, reference, trust: None, floor: None }, from }
    }

    #[test]
    fn a_login_and_an_authority_are_for_the_server_that_they_name() {
        let directory = tempfile::tempdir().unwrap();
        let web = "web".parse().unwrap();
        let mirror = |url: &str| attempt(&web, Source::Mirror(url.parse().unwrap()));
        let login = |attempt: &Attempt| {
            Credentials::new(Some(directory.path()), attempt).https_login().unwrap().map(|login| login.user)
        };
        let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
        let first = attempt(&web, Source::First);
        let mirrors = [
            mirror("https://git.example.org/copy"),
            mirror("https://git.example.org:443/copy"),
            mirror("https://git.example.org:8443/copy"),
            mirror("https://mirror.example.org/web"),
            mirror("http://git.example.org/web"),
        ];
        for name in ["https-login.web", "ca", "ssh-key.web", "ssh-known-hosts"] {
            write(&format!("bitbuilder.{name}"), "own:x");
        }
        assert_eq!(login(&first).as_deref(), Some("own"));
        let logins = || mirrors.each_ref().map(login);
        assert_eq!(logins(), [Some("own".to_owned()), Some("own".to_owned()), None, None, None]);
        let vouched = |attempt| Credentials::new(Some(directory.path()), attempt).authorities().is_some();
        assert_eq!(mirrors.each_ref().map(vouched), [true, true, false, false, false]);
        write("bitbuilder.https-login@mirror.example.org", "all:x");
        write("bitbuilder.https-login.web@git.example.org+8443", "port:x");
        write("bitbuilder.https-login.mail@mirror.example.org", "mail:x");
        assert_eq!(logins()[2..4], [Some("port".to_owned()), Some("all".to_owned())]);
        assert_eq!(login(&first).as_deref(), Some("own"));
        let ssh = mirror("ssh://git@mirror.example.org:2222/web");
        let key = || Credentials::new(Some(directory.path()), &ssh).ssh_command().unwrap();
        assert!(key().contains("bitbuilder.ssh-key.web "));
        write("bitbuilder.ssh-key.web@mirror.example.org+2222", "");
        assert!(key().contains("bitbuilder.ssh-key.web@mirror.example.org+2222 "));
    }

    #[test]
    fn a_repositorys_own_credential_comes_before_the_hosts() {
        let directory = tempfile::tempdir().unwrap();
        let (web, mail) = ("web".parse().unwrap(), "mail".parse().unwrap());
        let attempts = [&web, &mail].map(|repository| attempt(repository, Source::First));
        let of = |repository: &RepositoryName| {
            let attempt = attempts.iter().find(|attempt| attempt.call.repository == *repository).unwrap();
            Credentials::new(Some(directory.path()), attempt)
        };
        assert_eq!(of(&web).https_login().unwrap(), None);
        let login = |user: &str, password: &str| Some(Login { user: user.to_owned(), password: password.to_owned() });
        let logins = "https://other:o@evil.example.org\nhttps://all:a@git.example.org\n";
        fs::write(directory.path().join("bitbuilder.https-login"), logins).unwrap();
        fs::write(directory.path().join("bitbuilder.https-login.web"), "web:b:c").unwrap();
        assert_eq!(of(&web).https_login().unwrap(), login("web", "b:c"));
        assert_eq!(of(&mail).https_login().unwrap(), login("all", "a"));
        // Whoever is in the registry: only a server that is named is told something.
        let mut stranger = attempt(&mail, Source::First);
        stranger.call.url = "https://git.example.org:8443/mail".parse().unwrap();
        assert_eq!(Credentials::new(Some(directory.path()), &stranger).https_login().unwrap(), None);
        fs::write(directory.path().join("bitbuilder.https-login"), "a:secret").unwrap();
        let refused = of(&mail).https_login().unwrap_err().to_string();
        assert!(refused.starts_with("line 1 of bitbuilder.https-login is not https://"), "{refused}");
        fs::write(directory.path().join("bitbuilder.https-login.web"), "a secret").unwrap();
        let refused = of(&web).https_login().unwrap_err().to_string();
        assert_eq!(refused, "bitbuilder.https-login.web is not USER:PASSWORD");
        assert!(of(&web).ssh_command().unwrap_err().contains("/etc/credstore/bitbuilder.ssh-known-hosts.web"));
    }
}
