//! Whose signature a commit, or the annotated tag that names it, has. OpenSSH and GnuPG judge it, with keys that the host
//! was told and nobody else's: neither the repository's configuration nor a user's keyring counts.

use crate::place::Place;
use gix::{
    ObjectId, Repository,
    objs::{
        Kind,
        signature::{
            Format, SignedData,
            verify::{Options, Outcome, Status, TrustLevel},
        },
    },
};
use host::files::FileError;
use model::{
    Reference,
    signer::{SignerName, Trust},
};
use std::{
    ffi::OsString,
    fs,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};
use thiserror::Error;

/// Tags that name tags that name tags: nobody who means well makes more.
const MOST_TAGS: usize = 8;

/// Why a signature is not taken.
#[derive(Debug, Error)]
pub(crate) enum TrustError {
    /// For the repository's owner.
    #[error("{0}")]
    Untrusted(String),
    #[error("cannot judge its signature: {0}")]
    Judge(String),
    #[error(transparent)]
    File(#[from] FileError),
}

/// Who signed the commit that `tip` is or names, among those in `trust`. A tag says which name it was made for, and its
/// signature counts under no other: whoever may write to the server could show an older one in its place.
pub(crate) fn signer(
    repository: &Repository,
    tip: ObjectId,
    reference: &Reference,
    trust: &Trust,
    place: &Place,
) -> Result<SignerName, TrustError> {
    let keys = Keys { trust, directory: place.keys() };
    let mut reason = None;
    let mut id = tip;
    for _ in 0..MOST_TAGS {
        let object = repository.find_object(id).map_err(|cause| TrustError::Judge(cause.to_string()))?;
        let data = object.data.as_slice();
        let signed = match object.kind {
            Kind::Commit => gix::objs::CommitRefIter::signature(data, id.kind()).ok().flatten(),
            Kind::Tag => {
                gix::objs::TagRefIter::signature(data).map(|(signature, signed)| (signature.data.into(), signed))
            }
            Kind::Tree | Kind::Blob => None,
        };
        if let Some((signature, signed)) = signed {
            let judged = match object.kind {
                Kind::Tag => is_named(data, id, reference).and_then(|()| keys.judge(&signature, &signed)),
                Kind::Commit | Kind::Tree | Kind::Blob => keys.judge(&signature, &signed),
            };
            match judged {
                Ok(name) => return Ok(name),
                // What names the commit was looked at first, and is what its owner thinks of first.
                Err(TrustError::Untrusted(why)) => drop(reason.get_or_insert(why)),
                Err(fault) => return Err(fault),
            }
        }
        let Kind::Tag = object.kind else { break };
        let Some(target) = gix::objs::TagRefIter::from_bytes(data, id.kind()).target_id().ok() else { break };
        id = target;
    }
    Err(TrustError::Untrusted(reason.unwrap_or_else(|| format!("it is not signed; allowed signers: {}", keys.names()))))
}

/// Whether a tag was made for this reference. A branch names commits (git-update-ref(1) makes no other); what a tag that is
/// shown as one was made for, it does not say.
fn is_named(data: &[u8], id: ObjectId, reference: &Reference) -> Result<(), TrustError> {
    let tag = gix::objs::TagRef::from_bytes(data, id.kind()).map_err(|_| untrusted("its tag is malformed"))?;
    let made_for = format!("refs/tags/{}", tag.name);
    if made_for == reference.as_str() {
        return Ok(());
    }
    let made_for: String = model::text::printable(&made_for).chars().take(200).collect();
    Err(untrusted(&format!("the tag that is signed was made for {made_for}, not for {reference}")))
}

/// What a key has to stand up to.
#[derive(Clone, Copy)]
struct Rules {
    revocations: bool,
    periods: bool,
}

/// The keys that count, as files for the programs that judge.
struct Keys<'a> {
    trust: &'a Trust,
    directory: PathBuf,
}

impl Keys<'_> {
    fn names(&self) -> String {
        let names: Vec<&str> = self.trust.signers.iter().map(|signer| signer.name.as_str()).collect();
        names.join(", ")
    }

    fn judge(&self, signature: &gix::bstr::BStr, signed: &SignedData<'_>) -> Result<SignerName, TrustError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.directory)
            .map_err(FileError::new("create", &self.directory))?;
        let judged = match Format::from_signature(signature) {
            Some(Format::Ssh) => self.ssh(signature, signed),
            Some(Format::OpenPgp) => self.openpgp(signature, signed),
            Some(Format::X509) => {
                Err(untrusted("its signature is by X.509, and SSH and OpenPGP are what this host checks"))
            }
            None => Err(untrusted("its signature is of no kind that this host knows")),
        };
        crate::prune::remove_tree(&self.directory)?;
        judged
    }

    fn ssh(&self, signature: &gix::bstr::BStr, signed: &SignedData<'_>) -> Result<SignerName, TrustError> {
        // A key that has had its time signs nothing more, whatever date the commit claims.
        let outcome = self.ssh_outcome(signature, signed, Rules { revocations: true, periods: true })?;
        if outcome.is_valid() {
            return self.named(&outcome);
        }
        // ssh-keygen does not say why not; what it says with fewer rules does.
        let fewer = [
            (Rules { revocations: false, periods: true }, "is revoked"),
            (Rules { revocations: false, periods: false }, "is not good now"),
        ];
        for (rules, why) in fewer {
            let lenient = self.ssh_outcome(signature, signed, rules)?;
            if lenient.is_valid() {
                let (name, key) = (self.named(&lenient)?, fingerprint(&lenient));
                return Err(untrusted(&format!("the key {key} of {name} that signed it {why}")));
            }
        }
        match outcome.status {
            Status::Good => Err(self.stranger(&outcome)),
            Status::Bad
            | Status::Error
            | Status::Expired
            | Status::ExpiredKey
            | Status::RevokedKey
            | Status::Unknown => Err(untrusted("its signature does not fit what it says")),
        }
    }

    fn ssh_outcome(
        &self,
        signature: &gix::bstr::BStr,
        signed: &SignedData<'_>,
        rules: Rules,
    ) -> Result<Outcome, TrustError> {
        let keys = self.trust.signers.iter().flat_map(|signer| signer.ssh.iter().map(move |key| (&signer.name, key)));
        let allowed: String = keys
            .map(|(name, key)| {
                let period =
                    key.period().filter(|_| rules.periods).map(|period| format!(",{period}")).unwrap_or_default();
                format!("{name} namespaces=\"git\"{period} {}\n", key.at_any_time())
            })
            .collect();
        let revoked: String = self.trust.revoked.iter().map(|key| format!("{}\n", key.at_any_time())).collect();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let options = Options::Ssh {
            program: "ssh-keygen".into(),
            program_arguments: Vec::new(),
            environment: Vec::new(),
            allowed_signers: self.write("allowed_signers", &allowed)?,
            revocation_file: if rules.revocations { Some(self.write("revoked", &revoked)?) } else { None },
            verify_time: gix::date::Time::new(i64::try_from(now).unwrap_or(i64::MAX), 0),
            minimum_trust: TrustLevel::Fully,
        };
        signed.verify(signature, options).map_err(|cause| TrustError::Judge(cause.to_string()))
    }

    fn openpgp(&self, signature: &gix::bstr::BStr, signed: &SignedData<'_>) -> Result<SignerName, TrustError> {
        // A keyring each, so that it is known whose key it was.
        let mut last = None;
        for (index, signer) in self.trust.signers.iter().enumerate().filter(|(_, signer)| !signer.openpgp.is_empty()) {
            let home = self.directory.join(format!("gnupg-{index}"));
            self.keyring(&home, signer.openpgp.iter().map(AsRef::as_ref))?;
            let options = Options::OpenPgp {
                program: "gpg".into(),
                program_arguments: gpg_arguments(&home),
                environment: Vec::new(),
                // Whatever is in the keyring is trusted: nothing else was put there.
                minimum_trust: TrustLevel::Undefined,
            };
            let outcome = signed.verify(signature, options).map_err(|cause| TrustError::Judge(cause.to_string()))?;
            match outcome.status {
                Status::Good if outcome.is_valid() => return Ok(signer.name.clone()),
                Status::ExpiredKey | Status::Expired => {
                    return Err(untrusted(&format!(
                        "the key {} of {} that signed it has expired",
                        fingerprint(&outcome),
                        signer.name
                    )));
                }
                Status::RevokedKey => {
                    return Err(untrusted(&format!(
                        "the key {} of {} that signed it is revoked",
                        fingerprint(&outcome),
                        signer.name
                    )));
                }
                Status::Bad => return Err(untrusted("its signature does not fit what it says")),
                Status::Good | Status::Error | Status::Unknown => last = Some(outcome),
            }
        }
        Err(last.map_or_else(
            || untrusted(&format!("its signature is by OpenPGP, and none of {} has such a key", self.names())),
            |outcome| self.stranger(&outcome),
        ))
    }

    fn keyring<'k>(&self, home: &Path, certificates: impl Iterator<Item = &'k str>) -> Result<(), TrustError> {
        fs::DirBuilder::new().mode(0o700).create(home).map_err(FileError::new("create", home))?;
        let path = home.join("certificates.asc");
        let text: Vec<&str> = certificates.collect();
        fs::write(&path, text.join("\n")).map_err(FileError::new("write", &path))?;
        // This process is a bounded child with a deadline of its own, and what it starts shares both.
        #[allow(clippy::disallowed_methods)]
        let imported = Command::new("gpg")
            .args(gpg_arguments(home))
            .arg("--import")
            .arg(&path)
            .stdin(Stdio::null())
            .output()
            .map_err(|cause| TrustError::Judge(format!("gpg does not start: {cause}")))?;
        // It fails if any of several is not usable; whoever signed is then a stranger.
        if imported.status.code().is_none() {
            return Err(TrustError::Judge("gpg was ended".to_owned()));
        }
        Ok(())
    }

    fn write(&self, name: &str, text: &str) -> Result<PathBuf, FileError> {
        let path = self.directory.join(name);
        fs::write(&path, text).map_err(FileError::new("write", &path))?;
        Ok(path)
    }

    fn named(&self, outcome: &Outcome) -> Result<SignerName, TrustError> {
        let name = outcome.signer.as_ref().and_then(|name| name.to_string().parse().ok());
        name.ok_or_else(|| TrustError::Judge("ssh-keygen names nobody".to_owned()))
    }

    fn stranger(&self, outcome: &Outcome) -> TrustError {
        let key = fingerprint(outcome);
        untrusted(&format!("the key {key} that signed it belongs to nobody who may; allowed signers: {}", self.names()))
    }
}

fn gpg_arguments(home: &Path) -> Vec<OsString> {
    let fixed = ["--batch", "--no-tty", "--no-autostart", "--no-auto-key-locate", "--trust-model=always", "--homedir"];
    fixed.into_iter().map(OsString::from).chain([home.as_os_str().to_owned()]).collect()
}

fn untrusted(reason: &str) -> TrustError {
    TrustError::Untrusted(reason.to_owned())
}

/// The key that signed, as its owner's tools print it.
fn fingerprint(outcome: &Outcome) -> String {
    let key = outcome.fingerprint.as_ref().or(outcome.key.as_ref());
    let text = key.map_or_else(|| "?".to_owned(), ToString::to_string);
    model::text::printable(&text).chars().take(80).collect()
}
