//! `bitbuilder console`: the tenant asks who is there, as a machine does at its console.

use super::shell;
use crate::{inside::Greeting, output::Failure};
use model::TenantName;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    tenant: TenantName,
}

pub(crate) async fn run(words: &Arguments) -> Result<u8, Failure> {
    shell::at(&words.tenant, Greeting::Login).await
}
