//! `bitbuilder cancel`, `remove`, `archives` and `import`

use crate::{
    exit,
    output::{self, Failure, Json},
};
use interfaces::{
    orchestrator::{Keep, List, Remove},
    storage::{Archives, Import, ListArchives},
};
use model::{TenantName, archive, secrets::Digest};
use runtime::Client;
use std::{
    fs::{self, File},
    io::{self, BufRead, IsTerminal},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::Duration,
};

/// A large volume on a slow disk is unpacked in the end.
const PATIENCE: Duration = Duration::from_secs(6 * 3600);

#[derive(Debug, clap::Args)]
pub(crate) struct Cancelled {
    /// A tenant that has left.
    tenant: TenantName,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Removed {
    /// A tenant that has left.
    tenant: TenantName,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Listed {
    /// Of one tenant only.
    tenant: Option<TenantName>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Imported {
    /// The archive. If FILE.sha256 is beside it, it has to have that checksum.
    file: PathBuf,
    /// For whom. The tenant whose data it was if nothing is said.
    #[arg(long, value_name = "TENANT")]
    name: Option<TenantName>,
    /// Move the data aside that the tenant has, to data.before.
    #[arg(long)]
    force: bool,
}

pub(crate) async fn cancel(services: &Client, words: Cancelled, json: Json) -> Result<u8, Failure> {
    let tenant = words.tenant;
    let changed = services.call(&Keep { tenant: tenant.clone() }).await?;
    let said = if changed.changed { "is kept" } else { "is kept already" };
    let next = format!("what is there of it stays until: bitbuilder remove {tenant}");
    output::changed(json, &changed, &format!("{tenant} {said}: {next}\n"))
}

pub(crate) async fn remove(services: &Client, words: Removed, json: Json) -> Result<u8, Failure> {
    let Removed { tenant, yes } = words;
    if !yes {
        let shown = services.call(&List { tenant: Some(tenant.clone()) }).await?.tenants;
        let leaving = shown.into_iter().find_map(|status| status.leaving);
        let becomes = match leaving.map(|leaving| leaving.data) {
            Some(interfaces::orchestrator::Data::Delete) => "its data is deleted for good",
            Some(_) | None => "its data is archived",
        };
        if !confirmed(&format!("Everything of {tenant} on this host goes, and {becomes}. Go on?"))? {
            eprintln!(
                "bitbuilder: nothing is removed; to remove it without being asked: bitbuilder remove {tenant} --yes"
            );
            return Ok(exit::USAGE);
        }
    }
    let changed = services.call(&Remove { tenant: tenant.clone() }).await?;
    output::changed(
        json,
        &changed,
        &format!("{tenant} is being removed. See what becomes of it: bitbuilder status --watch\n"),
    )
}

/// Asks a person. Who is none says no.
fn confirmed(question: &str) -> io::Result<bool> {
    if !io::stdin().is_terminal() {
        return Ok(false);
    }
    output::text(&format!("{question} [y/N] "))?;
    let mut said = String::new();
    io::stdin().lock().read_line(&mut said)?;
    Ok(matches!(said.trim(), "y" | "Y" | "yes"))
}

pub(crate) async fn archives(services: &Client, words: Listed, json: Json) -> Result<u8, Failure> {
    let Archives { archives } = services.call(&ListArchives { tenant: words.tenant }).await?;
    output::json(json, &archives)?;
    if json == Json::Off {
        let width = archives.iter().map(|archive| archive.tenant.as_str().len()).max().unwrap_or(0).max(6);
        for archive in &archives {
            let (tenant, left) = (archive.tenant.as_str(), &archive.left);
            output::text(&format!("{tenant:width$}  {left}  {:>12}  {}\n", archive.bytes, archive.path))?;
        }
    }
    Ok(0)
}

pub(crate) async fn import(services: &Client, words: Imported, json: Json) -> Result<u8, Failure> {
    let Imported { file: path, name, force } = words;
    let named = path.file_name().and_then(|name| name.to_str()).and_then(archive::of_file_name);
    let Some(tenant) = name.or(named.map(|(tenant, _)| tenant)) else {
        return Err(format!("{} does not say whose data it is; --name says for whom", path.display()).into());
    };
    let sha256 = checksum(&path)?;
    let file = File::open(&path).map_err(|cause| format!("cannot read {}: {cause}", path.display()))?;
    let checked = sha256.is_some();
    let import = Import { tenant: tenant.clone(), file_descriptor_index: 0, sha256, force: Some(force) };
    let imported = services.waiting(PATIENCE).call_with(&import, vec![OwnedFd::from(file)]).await?;
    let unchecked = if checked { "" } else { " There was no checksum beside it." };
    output::changed(
        json,
        &imported,
        &format!("The data of {} is in {}, for {tenant}.{unchecked}\n", imported.manifest.tenant, imported.path),
    )
}

/// What the file beside an archive says, if there is one.
fn checksum(path: &Path) -> Result<Option<Digest>, Failure> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".sha256");
    let text = match fs::read_to_string(&beside) {
        Ok(text) => text,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(format!("cannot read {}: {cause}", Path::new(&beside).display()).into()),
    };
    let digest = text.split_whitespace().next().unwrap_or_default().parse::<Digest>();
    digest.map(Some).map_err(|cause| format!("{}: {cause}", Path::new(&beside).display()).into())
}
