//! `bitbuilder accept`

use crate::output::{self, Failure};
use interfaces::orchestrator::AcceptHistory;
use model::names::RepositoryName;
use runtime::Client;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// A tenant, or system for the system repository.
    repository: RepositoryName,
}

pub(crate) async fn run(services: &Client, words: Arguments) -> Result<u8, Failure> {
    let repository = words.repository;
    let changed = services.call(&AcceptHistory { repository: repository.clone() }).await?.changed;
    let said = if changed { "may now have another history" } else { "may have another history already" };
    output::text(&format!(
        "The next commit of {repository} {said}. See what becomes of it: bitbuilder status --watch\n"
    ))?;
    Ok(0)
}
