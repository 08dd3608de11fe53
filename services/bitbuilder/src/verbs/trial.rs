//! `bitbuilder apply --try`, `confirm` and `reject`

use crate::{
    output::{self, Failure, Json},
    verbs::sync,
};
use interfaces::orchestrator::{Confirm, Reject, Try};
use model::{Revision, TenantName, names::RepositoryName, time::TimeSpan};
use runtime::Client;

#[derive(Debug, clap::Args)]
pub(crate) struct Applied {
    /// Whose next commit.
    tenant: TenantName,
    /// Goes back by itself unless somebody confirms it within this time, as 60s or 5min.
    #[arg(long = "try", value_name = "TIME")]
    time: TimeSpan,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Named {
    tenant: TenantName,
    /// The commit, in full. The one that is on trial if nothing is said.
    #[arg(value_name = "COMMIT")]
    revision: Option<Revision>,
}

/// Puts the next commit on trial and shows what becomes of what the repository names now.
pub(crate) async fn apply(services: &Client, words: Applied, json: Json) -> Result<u8, Failure> {
    let Applied { tenant, time } = words;
    services.call(&Try { tenant: tenant.clone(), time }).await?;
    sync::run(services, sync::Arguments::waiting_for(RepositoryName::from(&tenant)), json).await
}

pub(crate) async fn confirm(services: &Client, words: Named, json: Json) -> Result<u8, Failure> {
    let Named { tenant, revision } = words;
    let changed = services.call(&Confirm { tenant: tenant.clone(), revision }).await?;
    output::changed(json, &changed, &format!("{tenant} is confirmed: no later commit goes back behind what runs.\n"))
}

pub(crate) async fn reject(services: &Client, words: Named, json: Json) -> Result<u8, Failure> {
    let Named { tenant, revision } = words;
    let changed = services.call(&Reject { tenant: tenant.clone(), revision }).await?;
    let next = format!("See what becomes of it: bitbuilder status {tenant}");
    output::changed(json, &changed, &format!("{tenant} goes back to the last commit that held. {next}\n"))
}
