//! `bitbuilder init`

use crate::output::{self, Failure, Json};
use interfaces::{
    git_sync::Import,
    orchestrator::{Describe, Error, Floor, SetRepository},
};
use model::{
    Mirrors, PushUrl, Reference, RepositoryUrl,
    export::{self, Export},
    signer::{self, Signer, SignerName, Trust},
};
use runtime::Client;
use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::{self, File},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::Duration,
};

/// How long a bundle may take to be read.
const BUNDLE_PATIENCE: Duration = Duration::from_secs(900);

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where it is: https://, http://, git://, ssh:// or file://.
    #[arg(long, value_name = "URL", required_unless_present = "bundle")]
    repository: Option<RepositoryUrl>,
    /// Start from what another host exported, with or without a network: follow what that followed, and no history behind what
    /// held there. Signers that are given count instead of those that it names.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["repository", "mirror", "reference"])]
    bundle: Option<PathBuf>,
    /// Where else it is, for the time in which that server does not answer. May be given up to 8 times. Left out, they stay as
    /// they are.
    #[arg(long, value_name = "URL")]
    mirror: Vec<RepositoryUrl>,
    /// Where each commit of it that is followed is pushed to: ssh://USER@HOST/PATH. Left out, it stays as it is.
    #[arg(long, value_name = "URL")]
    push_mirror: Option<PushUrl>,
    /// Which of its references counts.
    #[arg(long, value_name = "REF", default_value = "refs/heads/main")]
    reference: Reference,
    /// Whose signature its commits need: a file NAME.pub of SSH public keys or NAME.asc of an OpenPGP certificate. May be given
    /// several times. Anybody's and nobody's will do if none is given.
    #[arg(long, value_name = "FILE")]
    signers: Vec<PathBuf>,
    /// Leave the repository with its mirrors, or the signers, that the host follows now.
    #[arg(long)]
    force: bool,
}

pub(crate) async fn run(services: &Client, words: Arguments, json: Json) -> Result<u8, Failure> {
    let Arguments { repository, bundle, mirror, push_mirror, reference, signers, force } = words;
    let trust = trust(&signers)?;
    let from_file = bundle.is_some() && trust.is_none();
    let set = match (bundle, repository) {
        (Some(bundle), _) => SetRepository { push_mirror, ..from_bundle(services, &bundle, trust, force).await? },
        (None, Some(url)) => {
            let (mirrors, reference) = (mirrors(&url, mirror, force)?, Some(reference));
            SetRepository { url, mirrors, push_mirror, reference, trust, force: Some(force), floors: None }
        }
        (None, None) => return Err("--repository or --bundle says what is followed".into()),
    };
    let repository = set.url.clone();
    let changed = services.call(&set).await?.changed;
    output::json(json, &serde_json::json!({ "changed": changed, "url": repository }))?;
    if json != Json::Off {
        return Ok(0);
    }
    let said = if changed { "This host now follows" } else { "This host follows already" };
    let signers = if from_file { format!("{}\n", named_by_the_file(set.trust.as_ref())) } else { String::new() };
    output::text(&format!("{said} {repository}. See what becomes of it: bitbuilder status --watch\n{signers}"))?;
    Ok(0)
}

/// Whose signature counts by a bundle's own word, which is for a person to judge.
fn named_by_the_file(trust: Option<&Trust>) -> String {
    let Some(Trust { signers, .. }) = trust else {
        return "The file names no signers: what anybody puts into the repository is followed.".to_owned();
    };
    let names: Vec<&str> = signers.iter().map(|signer| signer.name.as_str()).collect();
    format!(
        "Its commits need a signature of {}, whose keys the file names; --signers names others.",
        names.join(" or ")
    )
}

/// Hands a bundle over, and says what it says.
async fn from_bundle(
    services: &Client,
    path: &Path,
    trust: Option<Trust>,
    force: bool,
) -> Result<SetRepository, Failure> {
    if let Some(url) = services.call(&Describe {}).await?.host.url.filter(|_| !force) {
        return Err(Error::AlreadyInitialized { url }.into());
    }
    let file = File::open(path).map_err(|cause| format!("cannot read {}: {cause}", path.display()))?;
    let import = Import { file_descriptor_index: 0 };
    let imported = services.waiting(BUNDLE_PATIENCE).call_with(&import, vec![OwnedFd::from(file)]).await?;
    let export = Export::parse(imported.document.as_bytes())?;
    let floor = |one: &export::Repository| {
        let (repository, url, reference) = (one.name.clone(), one.url.clone(), one.reference.clone());
        Some(Floor { repository, url, reference, revision: one.floor.clone()? })
    };
    let floors = Some(export.repositories.iter().filter_map(floor).collect());
    // There is one, or it would have been refused.
    let system = export.system().ok_or("the bundle has no system repository")?;
    let (url, mirrors, reference) = (system.url.clone(), Some(system.mirrors.clone()), Some(system.reference.clone()));
    let trust = trust.or_else(|| export.trust.clone());
    Ok(SetRepository { url, mirrors, push_mirror: None, reference, trust, force: Some(force), floors })
}

/// What is said of mirrors: nothing, unless some are named or all is said anew.
fn mirrors(repository: &RepositoryUrl, named: Vec<RepositoryUrl>, force: bool) -> Result<Option<Mirrors>, Failure> {
    if named.contains(repository) {
        return Err(format!("{repository} is the repository itself, and no mirror of it").into());
    }
    let said = force || !named.is_empty();
    let mirrors = Mirrors::try_from(named).map_err(|cause| cause.to_string())?;
    Ok(said.then_some(mirrors))
}

/// Whose keys these files hold.
fn trust(files: &[PathBuf]) -> Result<Option<Trust>, Failure> {
    let mut signers: BTreeMap<SignerName, Signer> = BTreeMap::new();
    for path in files {
        let origin = path.display().to_string();
        let bytes = fs::read(path).map_err(|cause| format!("cannot read {origin}: {cause}"))?;
        let stem = path.file_stem().and_then(OsStr::to_str).unwrap_or_default();
        let name: SignerName =
            stem.parse().map_err(|fault| format!("{origin}: its name says whose keys it holds: {fault}"))?;
        let signer = signers.entry(name.clone()).or_insert_with(|| Signer::named(name));
        let read = match path.extension().and_then(OsStr::to_str) {
            Some("pub") => signer::ssh_keys(&origin, &bytes).map(|keys| signer.ssh.extend(keys)),
            Some("asc") => signer::certificate(&origin, &bytes).map(|certificate| signer.openpgp.push(certificate)),
            Some(_) | None => return Err(format!("{origin}: a file of keys is called NAME.pub or NAME.asc").into()),
        };
        read.map_err(|faults| faults.iter().map(|fault| fault.text.as_str()).collect::<Vec<_>>().join("\n\n"))?;
    }
    let signers: Vec<Signer> = signers.into_values().collect();
    if let Some(empty) = signers.iter().find(|signer| signer.ssh.is_empty() && signer.openpgp.is_empty()) {
        return Err(format!("there is no key of {}", empty.name).into());
    }
    Ok((!signers.is_empty()).then(|| Trust { signers, revoked: Vec::new() }))
}
