//! A tenant's secrets on their way from the host's key to the tenant: opened at each start, and put into pipes that
//! systemd-nspawn reads. They are in no file, argument or environment, and this process leaves no dump of them.

use host::worktree::WorkTree;
use interfaces::secret::{Error, Open};
use model::{
    TenantName,
    secrets::{SealedSecret, SecretName, SecretSpec},
    tree,
};
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, FdFlag, OFlag, fcntl},
    sys::prctl,
    unistd::pipe2,
};
use runtime::{Client, client::CallError};
use std::{
    fs::File,
    io::{self, Write},
    os::fd::{AsRawFd, OwnedFd},
    path::Path,
    time::Duration,
};
use thiserror::Error;

/// The unit has 60 s to be ready.
const PATIENCE: Duration = Duration::from_secs(25);
/// Whoever has the key may be killed or upgraded while it is asked.
const ATTEMPTS: u32 = 3;

/// Why a tenant is not started with its secrets.
#[derive(Debug, Error)]
pub enum SecretError {
    /// The checkout is another one than that which was admitted.
    #[error("the checkout does not hold the secrets that were admitted")]
    NotAdmitted,
    /// They cannot be opened, or nobody says whether they can.
    #[error(transparent)]
    NotOpened(Box<CallError<Error>>),
    /// The value of this one did not arrive.
    #[error("the value of {0} did not arrive")]
    Missing(SecretName),
    /// The kernel refused.
    #[error("cannot {0}")]
    Kernel(&'static str, #[source] io::Error),
}

/// What was sealed; forgotten when it is dropped.
pub(super) type Value = zeroize::Zeroizing<Vec<u8>>;

/// A secret that waits in a pipe.
#[derive(Debug)]
pub(super) struct Handed {
    name: SecretName,
    pipe: OwnedFd,
}

impl Handed {
    /// What tells systemd-nspawn where it is. The descriptor is inherited, and the file behind it ours alone.
    pub(super) fn argument(&self) -> String {
        format!("--load-credential={}:/proc/self/fd/{}", self.name, self.pipe.as_raw_fd())
    }
}

/// Opens the secrets that the commit in `checkout` holds, which must be those of `wanted`.
pub(super) async fn hand_over(
    services: &Client,
    tenant: &TenantName,
    wanted: &[SecretSpec],
    checkout: &Path,
) -> Result<Vec<Handed>, SecretError> {
    let opened = open(services, tenant, wanted, checkout).await?;
    let handed = opened.into_iter().map(|(name, value)| {
        let pipe = piped(&value).map_err(|cause| SecretError::Kernel("fill a pipe", cause))?;
        Ok(Handed { name, pipe })
    });
    handed.collect()
}

/// The values of the secrets that the commit in `checkout` holds, which must be those of `wanted`.
pub(super) async fn open(
    services: &Client,
    tenant: &TenantName,
    wanted: &[SecretSpec],
    checkout: &Path,
) -> Result<Vec<(SecretName, Value)>, SecretError> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let secrets = sealed(tenant, wanted, checkout)?;
    let kernel = |action| move |cause: Errno| SecretError::Kernel(action, cause.into());
    // Until this process becomes another one, which has its own rules.
    prctl::set_dumpable(false).map_err(kernel("turn core dumps off"))?;
    let opened = ask(&services.waiting(PATIENCE), &Open { tenant: tenant.clone(), secrets }).await?;
    let values = wanted.iter().map(|SecretSpec { name, .. }| {
        let value = opened.iter().find(|opened| opened.name == *name).and_then(|opened| opened.value.bytes());
        Ok((name.clone(), value.ok_or_else(|| SecretError::Missing(name.clone()))?))
    });
    values.collect()
}

/// What the checkout holds sealed: of another commit's content nothing is opened.
fn sealed(tenant: &TenantName, wanted: &[SecretSpec], checkout: &Path) -> Result<Vec<SealedSecret>, SecretError> {
    let document = tree::sealed_secrets(tenant.as_str(), &WorkTree::at(checkout)).ok().flatten();
    let secrets = document.map(|document| document.content.secrets).unwrap_or_default();
    let found: Vec<SecretSpec> = secrets.iter().map(Into::into).collect();
    if found == wanted { Ok(secrets) } else { Err(SecretError::NotAdmitted) }
}

async fn ask(services: &Client, asked: &Open) -> Result<Vec<interfaces::secret::OpenedSecret>, SecretError> {
    let mut attempt = 1;
    loop {
        match services.call(asked).await {
            Ok(opened) => return Ok(opened.secrets),
            Err(CallError::Unreachable { .. }) if attempt < ATTEMPTS => attempt += 1,
            Err(fault) => return Err(SecretError::NotOpened(Box::new(fault))),
        }
    }
}

/// A pipe that holds `value` and its end, to be inherited. The kernel frees it with its last reader and never swaps it.
fn piped(value: &[u8]) -> io::Result<OwnedFd> {
    // Rather a failure than to wait for a reader that is not there yet.
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
    let size = i32::try_from(value.len().max(1)).map_err(io::Error::other)?;
    fcntl(&writer, FcntlArg::F_SETPIPE_SZ(size))?;
    File::from(writer).write_all(value)?;
    fcntl(&reader, FcntlArg::F_SETFD(FdFlag::empty()))?;
    Ok(reader)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::secrets::{LARGEST_VALUE, PATH};
    use std::fs;

    #[test]
    fn a_pipe_holds_the_largest_value_and_ends() {
        for length in [0, 1, 4096, 65_537, LARGEST_VALUE] {
            let value: Vec<u8> = (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect();
            let pipe = piped(&value).unwrap();
            let read = fs::read(format!("/proc/self/fd/{}", pipe.as_raw_fd())).unwrap();
            assert!(read == value, "{length} bytes");
        }
    }

    #[test]
    fn the_argument_says_where_and_not_what() {
        let handed = Handed { name: "db.password".parse().unwrap(), pipe: piped(b"canary").unwrap() };
        let expected = format!("--load-credential=db.password:/proc/self/fd/{}", handed.pipe.as_raw_fd());
        assert_eq!(handed.argument(), expected);
        let flags = FdFlag::from_bits_truncate(fcntl(&handed.pipe, FcntlArg::F_GETFD).unwrap());
        assert!(!flags.contains(FdFlag::FD_CLOEXEC), "systemd-nspawn would not have it");
    }

    #[tokio::test]
    async fn only_what_was_admitted_is_opened_and_nobody_is_asked_for_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let nobody = Client::in_directory(directory.path());
        let web: TenantName = "web".parse().unwrap();
        assert!(hand_over(&nobody, &web, &[], directory.path()).await.unwrap().is_empty());
        let armor = "-----BEGIN AGE ENCRYPTED FILE-----\n      YWdl\n      -----END AGE ENCRYPTED FILE-----";
        fs::create_dir(directory.path().join("secrets")).unwrap();
        let text = format!("version: \"1.0\"\nsecrets:\n  - name: token\n    sealed: |\n      {armor}\n");
        fs::write(directory.path().join(PATH), text).unwrap();
        let digest = armor.replace("      ", "").parse::<model::secrets::Sealed>().unwrap().digest();
        let spec = |name: &str| SecretSpec { name: name.parse().unwrap(), digest: digest.clone() };
        assert_eq!(sealed(&web, &[spec("token")], directory.path()).unwrap().len(), 1);
        let fault = hand_over(&nobody, &web, &[spec("token")], directory.path()).await.unwrap_err();
        assert!(matches!(fault, SecretError::NotOpened(_)), "{fault:?}");
        for other in [vec![spec("other")], vec![spec("token"), spec("other")]] {
            let fault = hand_over(&nobody, &web, &other, directory.path()).await.unwrap_err();
            assert!(matches!(fault, SecretError::NotAdmitted), "{fault:?}");
        }
    }
}
