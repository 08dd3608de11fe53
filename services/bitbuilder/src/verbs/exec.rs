//! `bitbuilder exec`: a command in a tenant, word for word, whose end is this one's.

use crate::{
    inside::{Command, Container, Way},
    output::Failure,
};
use model::TenantName;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    tenant: TenantName,
    /// Whose rights it has.
    #[arg(long, default_value = "root")]
    user: String,
    /// Give it a terminal.
    #[arg(long, short)]
    tty: bool,
    /// The program, and what it is told; no shell reads it.
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<String>,
}

pub(crate) async fn run(words: &Arguments) -> Result<u8, Failure> {
    let Arguments { tenant, user, tty, command } = words;
    Ok(Container(tenant.clone()).run(&Command { user, words: command, terminal: *tty }).await?)
}
