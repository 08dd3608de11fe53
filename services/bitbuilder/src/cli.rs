//! The words of the command line.

use clap::{Parser, Subcommand, ValueEnum};
use model::{Reference, RepositoryUrl, TenantName, names::RepositoryName};

/// Follow Git: this host and its tenants are what their repositories say.
#[derive(Debug, Parser)]
#[command(name = "bitbuilder", version, max_term_width = 100, after_help = EXIT_CODES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) verb: Verb,
    /// Where the sockets of the services are.
    #[arg(long, global = true, hide = true, default_value = runtime::client::RUNTIME_DIRECTORY)]
    pub(crate) sockets: std::path::PathBuf,
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
    Init {
        /// Where it is: https://, http://, git://, ssh:// or file://.
        #[arg(long, value_name = "URL")]
        repository: RepositoryUrl,
        /// Which of its references counts.
        #[arg(long, value_name = "REF", default_value = "refs/heads/main")]
        reference: Reference,
        /// Leave the repository that the host follows now.
        #[arg(long)]
        force: bool,
    },
    /// Show what runs, since when, and why not what was pushed.
    Status {
        /// One tenant, in full.
        tenant: Option<TenantName>,
        /// Go on showing each change.
        #[arg(long, conflicts_with = "tenant")]
        watch: bool,
        /// Print JSON instead of text.
        #[arg(long, value_enum, value_name = "FORM", default_value = "off", num_args = 0..=1, default_missing_value = "pretty", require_equals = true)]
        json: Json,
    },
    /// List the tenants' names.
    List {
        /// Print JSON instead of text.
        #[arg(long, value_enum, value_name = "FORM", default_value = "off", num_args = 0..=1, default_missing_value = "pretty", require_equals = true)]
        json: Json,
    },
    /// Look at the repositories now instead of at the next poll.
    Sync {
        /// One tenant, or system for the system repository alone.
        tenant: Option<RepositoryName>,
        /// Show each change and return when all is settled.
        #[arg(long)]
        wait: bool,
    },
    /// Show what a tenant and its services said.
    Logs {
        tenant: TenantName,
        /// Go on showing what they say.
        #[arg(long, short)]
        follow: bool,
        /// How many of the last lines.
        #[arg(long, short = 'n', value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=10000))]
        lines: u32,
    },
    /// Open a shell in a tenant.
    Shell {
        tenant: TenantName,
        /// Whose shell.
        #[arg(long, default_value = "root")]
        user: String,
    },
}

/// How JSON is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Json {
    /// Over several lines.
    Pretty,
    /// A line per object.
    Short,
    /// Not at all.
    Off,
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
    }
}
