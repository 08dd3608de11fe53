//! `bitbuilder accept`

use crate::output::{self, Failure, Json};
use interfaces::orchestrator::AcceptHistory;
use model::{Revision, names::RepositoryName};
use runtime::Client;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// A tenant, or system for the system repository.
    repository: RepositoryName,
    /// The commit to accept, in full. The one that is refused for its history if nothing is said.
    #[arg(value_name = "COMMIT")]
    revision: Option<Revision>,
}

pub(crate) async fn run(services: &Client, words: Arguments, json: Json) -> Result<u8, Failure> {
    let Arguments { repository, revision } = words;
    let accepted = services.call(&AcceptHistory { repository: repository.clone(), revision }).await?;
    let said = if accepted.changed { "may now have another history" } else { "may have another history already" };
    let next = "See what becomes of it: bitbuilder status --watch";
    output::changed(json, &accepted, &format!("{} of {repository} {said}. {next}\n", accepted.revision))
}
