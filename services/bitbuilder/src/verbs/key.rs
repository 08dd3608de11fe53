//! `bitbuilder key`: the host's keys, of which a person sees the public halves.

use crate::output::{self, Failure, Json};
use host::{command::Command, worktree::WorkTree};
use interfaces::{
    orchestrator::{List, TenantStatus},
    secret::{Describe, Described, Examine},
};
use model::{Revision, secrets::Recipient, tree};
use runtime::Client;
use std::{path::Path, time::Duration};
use thiserror::Error;

/// Where git-sync keeps the commits' files.
const CHECKOUTS: &str = "/var/lib/bitbuilder/git";
/// A TPM is slow.
const PATIENCE: Duration = Duration::from_secs(90);
const SERVICE: &str = "bitbuilder-secret.service";

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Print this host's recipients, to which anybody can seal a value, the newest first.
    Show,
    /// Make another key, the newest. The older ones go on opening what was sealed to them.
    Rotate,
    /// Remove an older key, when no tenant needs it any more.
    Retire {
        /// The recipient that the key belongs to.
        recipient: Recipient,
        /// Also if a tenant needs it: that tenant does not start again.
        #[arg(long)]
        force: bool,
    },
}

/// Why a key stays.
#[derive(Debug, Error)]
pub(crate) enum KeyError {
    #[error("{recipient} is the only key of this host; first make another: bitbuilder key rotate")]
    Only { recipient: Recipient },
    #[error(
        "{recipient} is still needed, by {}; seal their values anew (bitbuilder seal --rewrap) and commit them, or give --force", needed.join(", ")
    )]
    Needed { recipient: Recipient, needed: Vec<String> },
}

pub(crate) async fn run(services: &Client, words: Arguments, json: Json) -> Result<u8, Failure> {
    match words.verb {
        Verb::Show => {}
        Verb::Rotate => changed("bitbuilder-secret-rotate.service").await?,
        Verb::Retire { recipient, force } => {
            let keys = services.call(&Describe {}).await?.recipients;
            if keys == [recipient.clone()] {
                return Err(KeyError::Only { recipient }.into());
            }
            let needed = needed(services, &recipient).await?;
            if !needed.is_empty() && !force {
                return Err(KeyError::Needed { recipient, needed }.into());
            }
            changed(&format!("bitbuilder-secret-retire@{recipient}.service")).await?;
        }
    }
    let Described { recipients } = services.call(&Describe {}).await?;
    if json == Json::Off {
        output::text(&recipients.iter().map(|recipient| format!("{recipient}\n")).collect::<String>())?;
    }
    output::json(json, &Described { recipients })?;
    Ok(0)
}

/// Lets a unit change the keys, and the service begin again with what there is then. Tenants are not touched.
async fn changed(unit: &str) -> Result<(), Failure> {
    for words in [["start", unit], ["try-restart", SERVICE]] {
        Command::new("systemctl").args(words).within(PATIENCE).run().await?;
    }
    Ok(())
}

/// The tenants whose commits hold something that opens with this key alone.
async fn needed(services: &Client, recipient: &Recipient) -> Result<Vec<String>, Failure> {
    let mut needed = Vec::new();
    for tenant in services.call(&List { tenant: None }).await?.tenants {
        for (revision, must_be_there) in commits(&tenant) {
            let name = &tenant.tenant;
            let checkout = Path::new(CHECKOUTS).join(format!("{name}/checkouts/{revision}"));
            if !checkout.is_dir() {
                needed.extend(must_be_there.then(|| format!("{name} maybe: {} is not there", checkout.display())));
                continue;
            }
            match tree::sealed_secrets(name.as_str(), &WorkTree::at(&checkout)) {
                Ok(None) => {}
                Ok(Some(document)) => {
                    let secrets = document.content.secrets;
                    let with = Examine { tenant: name.clone(), secrets: secrets.clone(), without: None };
                    let without = Examine { without: Some(recipient.clone()), ..with.clone() };
                    let (with, without) = (services.call(&with).await?.refused, services.call(&without).await?.refused);
                    let lost = without.iter().filter(|lost| with.iter().all(|refused| refused.name != lost.name));
                    needed.extend(lost.map(|lost| format!("{name} at {} for {}", revision.short(), lost.name)));
                }
                // What cannot be read runs nowhere, unless it ran before.
                Err(_) => needed.extend(must_be_there.then(|| format!("{name} maybe: its secrets cannot be read"))),
            }
        }
    }
    needed.dedup();
    Ok(needed)
}

/// What a tenant runs, and goes back to; and what it may run next.
fn commits(tenant: &TenantStatus) -> Vec<(Revision, bool)> {
    let verified = tenant.verified.clone().map(|revision| (revision, true));
    let wanted = tenant.wanted.clone().filter(|wanted| tenant.verified.as_ref() != Some(wanted));
    verified.into_iter().chain(wanted.map(|revision| (revision, false))).collect()
}
