//! `bitbuilder seal`: makes of a value what only a host can open, and puts it into a repository. Needs no host but to seal
//! anew what is there.

mod edit;

use crate::output::{self, Failure, Json};
use host::files;
use interfaces::secret::{Describe, Rewrap};
use model::{
    TenantName,
    document::Document,
    manifest::{self, Manifest},
    secrets::{self, LARGEST_VALUE, Recipient, SealedSecret, SecretName},
};
use runtime::Client;
use serde::Serialize;
use std::{
    fs,
    io::{self, IsTerminal, Read},
    path::{Path, PathBuf},
};
use thiserror::Error;
use zeroize::Zeroizing;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The name of the credential in the tenant. Its value is read from standard input.
    #[arg(required_unless_present = "rewrap", conflicts_with = "rewrap")]
    name: Option<SecretName>,
    /// Whose value it is; the tenant that metadata.json names, if none is given.
    #[arg(long)]
    tenant: Option<TenantName>,
    /// Who can open it; may be given several times. If it is not: secrets/recipient of the repository, or this host.
    #[arg(long = "recipient", value_name = "RECIPIENT")]
    recipients: Vec<Recipient>,
    /// Read the value from this file instead.
    #[arg(long, value_name = "PATH", conflicts_with = "rewrap")]
    from: Option<PathBuf>,
    /// The repository's file that it is put into; - prints what would be.
    #[arg(long, value_name = "PATH", default_value = secrets::PATH)]
    file: PathBuf,
    /// Seal what the file holds to the newest key of this host, as root; and to the other recipients of secrets/recipient.
    #[arg(long)]
    rewrap: bool,
}

/// Why nothing is sealed.
#[derive(Debug, Error)]
pub(crate) enum SealError {
    #[error("cannot {action} {}", path.display())]
    File {
        action: &'static str,
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("the value is read from standard input: bitbuilder seal {0} < FILE, or give --from PATH")]
    Terminal(SecretName),
    #[error("{}: {reason}", path.display())]
    Refused { path: PathBuf, reason: String },
    #[error("{} does not say whose the value is; give --tenant", .0.display())]
    NoTenant(PathBuf),
    #[error("{} cannot be changed as it is written; print the entry with --file - and put it there", .0.display())]
    NotEdited(PathBuf),
    #[error("there is nothing to seal anew: {} holds nothing", .0.display())]
    Nothing(PathBuf),
    #[error("--rewrap changes a file")]
    RewrapPrints,
}

/// What was done.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Done {
    file: PathBuf,
    tenant: TenantName,
    secrets: Vec<SecretName>,
    recipients: Vec<Recipient>,
}

/// Where a repository's files are.
struct Place {
    file: PathBuf,
    recipients: PathBuf,
    manifest: PathBuf,
}

impl Place {
    fn of(file: &Path) -> Self {
        let printed = file == Path::new("-");
        let file = if printed { PathBuf::from(secrets::PATH) } else { file.to_owned() };
        let folder = file.parent().map(Path::to_owned).unwrap_or_default();
        let root = folder.parent().map(Path::to_owned).unwrap_or_default();
        Self { recipients: folder.join("recipient"), manifest: root.join(manifest::PATH), file }
    }

    fn tenant(&self, given: Option<TenantName>) -> Result<TenantName, SealError> {
        if let Some(tenant) = given {
            return Ok(tenant);
        }
        let text = read(&self.manifest)?.ok_or_else(|| SealError::NoTenant(self.manifest.clone()))?;
        let read = Document::<Manifest>::json(&self.manifest.display().to_string(), text.as_bytes());
        read.map(|manifest| manifest.content.tenant.name).map_err(|_| SealError::NoTenant(self.manifest.clone()))
    }

    /// Whom the repository's values are sealed to, if it says so.
    fn recipients(&self) -> Result<Vec<Recipient>, SealError> {
        let text = read(&self.recipients)?.unwrap_or_default();
        let lines = (1..).zip(text.lines()).map(|(number, line)| (number, line.split('#').next().unwrap_or("").trim()));
        let parsed = lines.filter(|(_, line)| !line.is_empty()).map(|(number, line)| {
            let path = self.recipients.clone();
            line.parse().map_err(|fault| SealError::Refused { path, reason: format!("line {number}: {fault}") })
        });
        parsed.collect()
    }

    fn sealed(&self) -> Result<(String, Vec<SealedSecret>), SealError> {
        let Some(text) = read(&self.file)? else { return Ok((String::new(), Vec::new())) };
        match edit::parse(&text) {
            Ok(held) => Ok((text, held)),
            Err(reason) => Err(SealError::Refused { path: self.file.clone(), reason }),
        }
    }
}

pub(crate) async fn run(services: &Client, words: Arguments, json: Json) -> Result<u8, Failure> {
    let place = Place::of(&words.file);
    let tenant = place.tenant(words.tenant)?;
    let Some(name) = words.name else {
        if words.file == Path::new("-") {
            return Err(SealError::RewrapPrints.into());
        }
        return rewrap(services, &place, tenant, words.recipients, json).await;
    };
    let mut recipients = words.recipients;
    if recipients.is_empty() {
        recipients = place.recipients()?;
    }
    if recipients.is_empty() {
        recipients.extend(services.call(&Describe {}).await?.recipients.into_iter().next());
    }
    let value = value(&name, words.from.as_deref())?;
    let sealed = sealing::seal(&recipients, &tenant, &name, &value)?;
    let entry = SealedSecret { name: name.clone(), sealed };
    if words.file == Path::new("-") {
        output::text(&edit::entry("", &entry))?;
        return Ok(0);
    }
    let (text, held) = place.sealed()?;
    write(&place.file, &text, &held, &[entry])?;
    done(json, &Done { file: place.file, tenant, secrets: vec![name], recipients })
}

async fn rewrap(
    services: &Client,
    place: &Place,
    tenant: TenantName,
    given: Vec<Recipient>,
    json: Json,
) -> Result<u8, Failure> {
    let (text, held) = place.sealed()?;
    if held.is_empty() {
        return Err(SealError::Nothing(place.file.clone()).into());
    }
    let listed = place.recipients()?;
    let ours = services.call(&Describe {}).await?.recipients;
    let known = if given.is_empty() { listed.clone() } else { given };
    let others: Vec<Recipient> = known.into_iter().filter(|other| !ours.contains(other)).collect();
    let asked = Rewrap { tenant: tenant.clone(), secrets: held.clone(), others: others.clone() };
    let sealed = services.call(&asked).await?.secrets;
    write(&place.file, &text, &held, &sealed)?;
    // What is sealed next is for the newest key as well.
    if let Some(newest) = ours.first()
        && let Some(said) = read(&place.recipients)?
    {
        let older = listed.iter().filter(|listed| *listed != newest && ours.contains(listed));
        let renewed = older.fold(said, |said, older| said.replace(older.as_str(), newest.as_str()));
        files::write_unflushed(&place.recipients, renewed.as_bytes(), 0o644)?;
    }
    let names = sealed.into_iter().map(|secret| secret.name).collect();
    let recipients = ours.into_iter().take(1).chain(others).collect();
    done(json, &Done { file: place.file.clone(), tenant, secrets: names, recipients })
}

/// From standard input or a file, and never from the command line, which all of a machine's users can read.
fn value(name: &SecretName, from: Option<&Path>) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let shown = from.unwrap_or(Path::new("standard input")).to_owned();
    let failed = |cause| SealError::File { action: "read", path: shown.clone(), cause };
    let input: Box<dyn Read> = match from {
        Some(path) => Box::new(fs::File::open(path).map_err(failed)?),
        None if io::stdin().is_terminal() => return Err(SealError::Terminal(name.clone())),
        None => Box::new(io::stdin()),
    };
    // Room for all of it from the beginning: what grows leaves copies behind.
    let mut value = Zeroizing::new(Vec::with_capacity(LARGEST_VALUE + 2));
    input.take(LARGEST_VALUE as u64 + 1).read_to_end(&mut value).map_err(failed)?;
    Ok(value)
}

fn read(path: &Path) -> Result<Option<String>, SealError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(SealError::File { action: "read", path: path.to_owned(), cause }),
    }
}

fn write(file: &Path, text: &str, held: &[SealedSecret], entries: &[SealedSecret]) -> Result<(), Failure> {
    let text = edit::with(text, held, entries).ok_or_else(|| SealError::NotEdited(file.to_owned()))?;
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(|cause| SealError::File { action: "create", path: folder.to_owned(), cause })?;
    files::write_unflushed(&folder.join(file.file_name().unwrap_or_default()), text.as_bytes(), 0o644)?;
    Ok(())
}

fn done(json: Json, done: &Done) -> Result<u8, Failure> {
    output::json(json, done)?;
    if json == Json::Off {
        let names = done.secrets.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let to = match done.recipients.len() {
            1 => "1 recipient".to_owned(),
            count => format!("{count} recipients"),
        };
        let file = done.file.display();
        output::text(&format!("{names} of {} is sealed to {to} in {file}. Commit it.\n", done.tenant))?;
    }
    Ok(0)
}

#[cfg(test)]
mod tests;
