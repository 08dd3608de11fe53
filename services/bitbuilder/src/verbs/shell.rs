//! `bitbuilder shell`: what is typed and shown here goes through a terminal in the tenant.

use crate::{
    inside::{
        Container, Greeting, Way, WayError,
        terminal::{self, Typed},
    },
    output::Failure,
};
use model::TenantName;
use std::sync::{Arc, atomic::AtomicBool};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    tenant: TenantName,
    /// Whose shell.
    #[arg(long, default_value = "root")]
    user: String,
}

pub(crate) async fn run(words: &Arguments) -> Result<u8, Failure> {
    at(&words.tenant, Greeting::Shell(&words.user)).await
}

/// Joins this terminal with one that somebody answers on, until that is closed.
pub(super) async fn at(tenant: &TenantName, greeting: Greeting<'_>) -> Result<u8, Failure> {
    let terminal = Container(tenant.clone()).open(greeting).await?;
    let side = |cause| WayError::Side("terminal", cause);
    let raw = terminal::Raw::enter().map_err(side)?;
    let forwarded = terminal::forward(terminal, Typed::WhenAsked, Arc::new(AtomicBool::new(false))).await;
    drop(raw);
    forwarded.map_err(side)?;
    Ok(0)
}
