//! The words of the command line.

use crate::{
    output::{Failure, Json},
    verbs::{init, list, logs, shell, status, sync, validate},
};
use clap::{Parser, Subcommand};
use runtime::Client;
use std::{path::PathBuf, time::Duration};

/// A tenant may take its time, a question to a service should not.
const PATIENCE: Duration = Duration::from_secs(30);

/// Follow Git: this host and its tenants are what their repositories say.
#[derive(Debug, Parser)]
#[command(name = "bitbuilder", version, max_term_width = 100, after_help = EXIT_CODES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) verb: Verb,
    /// Print JSON instead of text.
    #[arg(long, global = true, value_enum, value_name = "FORM", default_value = "off", num_args = 0..=1, default_missing_value = "pretty", require_equals = true)]
    pub(crate) json: Json,
    /// Where the sockets of the services are.
    #[arg(long, global = true, hide = true, default_value = runtime::client::RUNTIME_DIRECTORY)]
    pub(crate) sockets: PathBuf,
}

const EXIT_CODES: &str = "\
Exit codes:
  0   done, or nothing to do
  1   it failed
  3   the commit was refused
  4   the commit failed and the last verified one runs again
  64  the command line is wrong";

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Make this host follow a system repository.
    Init(init::Arguments),
    /// Show what runs, since when, and why not what was pushed.
    Status(status::Arguments),
    /// List the tenants' names.
    List,
    /// Look at the repositories now instead of at the next poll.
    Sync(sync::Arguments),
    /// Show what a tenant and its services said.
    Logs(logs::Arguments),
    /// Open a shell in a tenant.
    Shell(shell::Arguments),
    /// Check a repository before it is pushed; needs no host.
    Validate(validate::Arguments),
}

/// Does what the command line says. Gives the exit code.
pub(crate) async fn run(arguments: Arguments) -> Result<u8, Failure> {
    let services = Client::in_directory(&arguments.sockets).waiting(PATIENCE);
    let json = arguments.json;
    match arguments.verb {
        Verb::Init(words) => init::run(&services, words).await,
        Verb::Status(words) => status::run(&services, words, json).await,
        Verb::List => list::run(&services, json).await,
        Verb::Sync(words) => sync::run(&services, words, json).await,
        Verb::Logs(words) => logs::run(&services, words).await,
        Verb::Shell(words) => shell::run(&words).await,
        Verb::Validate(words) => validate::run(&words, json),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_words_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_hostile_name_is_a_usage_error() {
        for words in [
            &["status", "../x"][..],
            &["logs", "-x"],
            &["init", "--repository", "ext::sh"],
            &["sync", "a/b"],
            &["logs", "a", "-n", "10001"],
        ] {
            let line = std::iter::once("bitbuilder").chain(words.iter().copied());
            assert!(Arguments::try_parse_from(line).is_err(), "{words:?} was accepted");
        }
        assert!(Arguments::try_parse_from(["bitbuilder", "status", "--json"]).is_ok());
        assert!(Arguments::try_parse_from(["bitbuilder", "--json=short", "status"]).is_ok());
    }
}
