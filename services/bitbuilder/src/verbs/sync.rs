//! `bitbuilder sync`

use crate::{
    output::{self, Failure, Json},
    table,
    verbs::status::show,
};
use futures_util::StreamExt;
use interfaces::orchestrator::{Describe, Host, Sync};
use model::names::RepositoryName;
use runtime::Client;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// One tenant, or system for the system repository alone.
    tenant: Option<RepositoryName>,
    /// Show each change and return when all is settled.
    #[arg(long)]
    wait: bool,
}

pub(crate) async fn run(services: &Client, words: Arguments, json: Json) -> Result<u8, Failure> {
    let Arguments { tenant, wait } = words;
    let sync = Sync { tenant, wait: Some(wait) };
    if !wait {
        services.call(&sync).await?;
        return Ok(0);
    }
    let mut changes = std::pin::pin!(services.stream(&sync).await?);
    let mut last = Vec::new();
    while let Some(change) = changes.next().await {
        last = change?.tenants;
        for status in &last {
            show(status, json)?;
        }
    }
    let Host { host } = services.call(&Describe {}).await?;
    if host.reason.is_some() {
        output::text(&table::host(&host))?;
    }
    Ok(output::exit_code(&host, &last))
}
