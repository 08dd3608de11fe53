//! `bitbuilder suspend`, `resume` and `retry`

use crate::output::{self, Failure};
use interfaces::orchestrator::{Resume, Retry, Suspend};
use model::TenantName;
use runtime::Client;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    tenant: TenantName,
}

pub(crate) async fn suspend(services: &Client, Arguments { tenant }: Arguments) -> Result<u8, Failure> {
    let changed = services.call(&Suspend { tenant: tenant.clone() }).await?.changed;
    let said = if changed { "is suspended" } else { "is suspended already" };
    output::text(&format!(
        "{tenant} {said}: what runs goes on, what is pushed waits for: bitbuilder resume {tenant}\n"
    ))?;
    Ok(0)
}

pub(crate) async fn resume(services: &Client, Arguments { tenant }: Arguments) -> Result<u8, Failure> {
    let changed = services.call(&Resume { tenant: tenant.clone() }).await?.changed;
    let said = if changed { "is followed again" } else { "is not suspended" };
    output::text(&format!("{tenant} {said}. See what becomes of it: bitbuilder status {tenant}\n"))?;
    Ok(0)
}

pub(crate) async fn retry(services: &Client, Arguments { tenant }: Arguments) -> Result<u8, Failure> {
    let changed = services.call(&Retry { tenant: tenant.clone() }).await?.changed;
    let said = if changed {
        format!("{tenant} is tried again. See what becomes of it: bitbuilder sync {tenant} --wait\n")
    } else {
        format!("No commit of {tenant} was given up.\n")
    };
    output::text(&said)?;
    Ok(0)
}
