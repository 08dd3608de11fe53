//! `bitbuilder init`

use crate::output::{self, Failure, Json};
use interfaces::orchestrator::SetRepository;
use model::{
    Mirrors, Reference, RepositoryUrl,
    signer::{self, Signer, SignerName, Trust},
};
use runtime::Client;
use std::{collections::BTreeMap, ffi::OsStr, fs, path::PathBuf};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where it is: https://, http://, git://, ssh:// or file://.
    #[arg(long, value_name = "URL")]
    repository: RepositoryUrl,
    /// Where else it is, for the time in which that server does not answer. May be given up to 8 times. Left out, they stay as
    /// they are.
    #[arg(long, value_name = "URL")]
    mirror: Vec<RepositoryUrl>,
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
    let Arguments { repository, mirror, reference, signers, force } = words;
    let mirrors = mirrors(&repository, mirror, force)?;
    let trust = trust(&signers)?;
    let set = SetRepository { url: repository.clone(), mirrors, reference: Some(reference), trust, force: Some(force) };
    let changed = services.call(&set).await?.changed;
    output::json(json, &serde_json::json!({ "changed": changed, "url": repository }))?;
    if json != Json::Off {
        return Ok(0);
    }
    let said = if changed { "This host now follows" } else { "This host follows already" };
    output::text(&format!("{said} {repository}. See what becomes of it: bitbuilder status --watch\n"))?;
    Ok(0)
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
