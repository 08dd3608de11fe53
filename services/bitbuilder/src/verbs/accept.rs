//! `bitbuilder accept`

use crate::output::{self, Failure, Json};
use interfaces::orchestrator::AcceptHistory;
use model::names::RepositoryName;
use runtime::Client;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// A tenant, or system for the system repository.
    repository: RepositoryName,
}

pub(crate) async fn run(services: &Client, words: Arguments, json: Json) -> Result<u8, Failure> {
    let repository = words.repository;
    let changed = services.call(&AcceptHistory { repository: repository.clone() }).await?;
    let said = if changed.changed { "may now have another history" } else { "may have another history already" };
    let next = "See what becomes of it: bitbuilder status --watch";
    output::changed(json, &changed, &format!("The next commit of {repository} {said}. {next}\n"))
}
