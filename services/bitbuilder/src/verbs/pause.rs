//! `bitbuilder suspend`, `resume` and `retry`

use crate::output::{self, Failure, Json};
use interfaces::orchestrator::{Resume, Retry, Suspend};
use model::TenantName;
use runtime::Client;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    tenant: TenantName,
}

pub(crate) async fn suspend(services: &Client, words: Arguments, json: Json) -> Result<u8, Failure> {
    let tenant = words.tenant;
    let changed = services.call(&Suspend { tenant: tenant.clone() }).await?;
    let said = if changed.changed { "is suspended" } else { "is suspended already" };
    let next = format!("what runs goes on, what is pushed waits for: bitbuilder resume {tenant}");
    output::changed(json, &changed, &format!("{tenant} {said}: {next}\n"))
}

pub(crate) async fn resume(services: &Client, words: Arguments, json: Json) -> Result<u8, Failure> {
    let tenant = words.tenant;
    let changed = services.call(&Resume { tenant: tenant.clone() }).await?;
    let said = if changed.changed { "is followed again" } else { "is not suspended" };
    let next = format!("See what becomes of it: bitbuilder status {tenant}");
    output::changed(json, &changed, &format!("{tenant} {said}. {next}\n"))
}

pub(crate) async fn retry(services: &Client, words: Arguments, json: Json) -> Result<u8, Failure> {
    let tenant = words.tenant;
    let changed = services.call(&Retry { tenant: tenant.clone() }).await?;
    let said = if changed.changed {
        format!("{tenant} is tried again. See what becomes of it: bitbuilder sync {tenant} --wait\n")
    } else {
        format!("No commit of {tenant} was given up.\n")
    };
    output::changed(json, &changed, &said)
}
