//! `bitbuilder init`

use crate::output::{self, Failure, Json};
use interfaces::orchestrator::SetRepository;
use model::{Reference, RepositoryUrl};
use runtime::Client;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where it is: https://, http://, git://, ssh:// or file://.
    #[arg(long, value_name = "URL")]
    repository: RepositoryUrl,
    /// Which of its references counts.
    #[arg(long, value_name = "REF", default_value = "refs/heads/main")]
    reference: Reference,
    /// Leave the repository that the host follows now.
    #[arg(long)]
    force: bool,
}

pub(crate) async fn run(services: &Client, words: Arguments, json: Json) -> Result<u8, Failure> {
    let Arguments { repository, reference, force } = words;
    let set = SetRepository { url: repository.clone(), reference: Some(reference), force: Some(force) };
    let changed = services.call(&set).await?.changed;
    output::json(json, &serde_json::json!({ "changed": changed, "url": repository }))?;
    if json != Json::Off {
        return Ok(0);
    }
    let said = if changed { "This host now follows" } else { "This host follows already" };
    output::text(&format!("{said} {repository}. See what becomes of it: bitbuilder status --watch\n"))?;
    Ok(0)
}
