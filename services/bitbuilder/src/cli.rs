//! The words of the command line.

use crate::{
    exit,
    output::{Failure, Json},
    verbs::{
        accept, completion, console, cp, doctor, exec, export, history, init, key, leave, list, logs, man,
        notifications, pause, plan, seal, shell, status, sync, trace, trial, validate,
    },
};
use clap::{Parser, Subcommand};
use runtime::Client;
use std::{path::PathBuf, time::Duration};

/// A tenant may take its time, a question to a service should not.
const PATIENCE: Duration = Duration::from_secs(30);

/// Follow Git: this host and its tenants are what their repositories say.
#[derive(Debug, Parser)]
#[command(name = "bitbuilder", version, max_term_width = 100, after_help = exit::help())]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) verb: Verb,
    /// Print JSON instead of text.
    #[arg(long, global = true, value_enum, value_name = "FORM", default_value = "off", num_args = 0..=1, default_missing_value = "pretty", require_equals = true)]
    pub(crate) json: Json,
    /// Do not show long text through a pager.
    #[arg(long, global = true)]
    pub(crate) no_pager: bool,
    /// Where the sockets of the services are.
    #[arg(long, global = true, hide = true, default_value = runtime::client::RUNTIME_DIRECTORY)]
    pub(crate) sockets: PathBuf,
}

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
    /// Let a repository's next commit have another history than the last that held: after a forced push that was meant.
    Accept(accept::Arguments),
    /// Show what a push would do, or what is about to be done.
    Plan(plan::Arguments),
    /// Show what was admitted, refused, planned, verified and taken back, and when.
    History(history::Arguments),
    /// Show which line of which commit something comes from.
    Trace(trace::Arguments),
    /// Show who is told what becomes of commits, and what waits for whom.
    Notifications,
    /// Leave a tenant alone: what runs goes on, what is pushed waits.
    Suspend(pause::Arguments),
    /// Follow a suspended tenant's repository again.
    Resume(pause::Arguments),
    /// Try a commit again that did not hold.
    Retry(pause::Arguments),
    /// Apply a tenant's next commit on trial: it goes back by itself unless somebody confirms it in time.
    Apply(trial::Applied),
    /// Confirm the commit of a tenant that is on trial.
    Confirm(trial::Named),
    /// Take the commit of a tenant back that is on trial.
    Reject(trial::Named),
    /// Keep what is there of a tenant that has left until told otherwise.
    Cancel(leave::Cancelled),
    /// Remove what is there of a tenant that has left, without waiting.
    Remove(leave::Removed),
    /// List the archives of tenants that have left.
    Archives(leave::Listed),
    /// Unpack an archive's data for a tenant.
    Import(leave::Imported),
    /// Show what a tenant and its services said.
    Logs(logs::Arguments),
    /// Open a shell in a tenant.
    Shell(shell::Arguments),
    /// Run a command in a tenant; its exit code is this one's.
    Exec(exec::Arguments),
    /// Log in to a tenant at its console; Ctrl-] three times leaves it.
    Console(console::Arguments),
    /// Copy files into a tenant or out of it.
    Cp(cp::Arguments),
    /// Seal a value, so that only the host opens it and hands it to one tenant; needs no host.
    Seal(seal::Arguments),
    /// Show, make and remove the host's keys, which open what was sealed to it.
    Key(key::Arguments),
    /// Check a repository before it is pushed; needs no host.
    Validate(validate::Arguments),
    /// Show what this host lacks, and the command that mends it.
    Doctor,
    /// Write what this host follows to one file: a bundle that Git reads, and that another host can start from.
    Export(export::Arguments),
    /// Print a shell's completion script.
    Completion(completion::Arguments),
    /// Write the manual's pages.
    #[command(hide = true)]
    Man(man::Arguments),
}

impl Arguments {
    /// Whether a person reads this to its end: not while it goes on, and not what another program reads.
    pub(crate) fn is_paged(&self) -> bool {
        let ends = match &self.verb {
            Verb::Status(words) => !words.watch,
            Verb::Logs(words) => !words.follow,
            Verb::List
            | Verb::Plan(_)
            | Verb::History(_)
            | Verb::Trace(_)
            | Verb::Archives(_)
            | Verb::Notifications
            | Verb::Validate(_)
            | Verb::Doctor => true,
            Verb::Init(_)
            | Verb::Sync(_)
            | Verb::Accept(_)
            | Verb::Suspend(_)
            | Verb::Resume(_)
            | Verb::Retry(_)
            | Verb::Apply(_)
            | Verb::Confirm(_)
            | Verb::Reject(_)
            | Verb::Cancel(_)
            | Verb::Remove(_)
            | Verb::Import(_)
            | Verb::Shell(_)
            | Verb::Exec(_)
            | Verb::Console(_)
            | Verb::Cp(_)
            | Verb::Seal(_)
            | Verb::Key(_)
            | Verb::Export(_)
            | Verb::Completion(_)
            | Verb::Man(_) => false,
        };
        ends && self.json == Json::Off && !self.no_pager
    }
}

/// Does what the command line says. Gives the exit code.
pub(crate) async fn run(arguments: Arguments) -> Result<u8, Failure> {
    let services = Client::in_directory(&arguments.sockets).waiting(PATIENCE);
    let json = arguments.json;
    match arguments.verb {
        Verb::Init(words) => init::run(&services, words, json).await,
        Verb::Status(words) => status::run(&services, words, json).await,
        Verb::List => list::run(&services, json).await,
        Verb::Sync(words) => sync::run(&services, words, json).await,
        Verb::Accept(words) => accept::run(&services, words, json).await,
        Verb::Plan(words) => plan::run(&services, words, json).await,
        Verb::History(words) => history::run(&services, words, json).await,
        Verb::Trace(words) => trace::run(&services, words, json).await,
        Verb::Notifications => notifications::run(&services, json).await,
        Verb::Suspend(words) => pause::suspend(&services, words, json).await,
        Verb::Resume(words) => pause::resume(&services, words, json).await,
        Verb::Retry(words) => pause::retry(&services, words, json).await,
        Verb::Apply(words) => trial::apply(&services, words, json).await,
        Verb::Confirm(words) => trial::confirm(&services, words, json).await,
        Verb::Reject(words) => trial::reject(&services, words, json).await,
        Verb::Cancel(words) => leave::cancel(&services, words, json).await,
        Verb::Remove(words) => leave::remove(&services, words, json).await,
        Verb::Archives(words) => leave::archives(&services, words, json).await,
        Verb::Import(words) => leave::import(&services, words, json).await,
        Verb::Logs(words) => logs::run(&services, words, json).await,
        Verb::Shell(words) => shell::run(&words).await,
        Verb::Exec(words) => exec::run(&words).await,
        Verb::Console(words) => console::run(&words).await,
        Verb::Cp(words) => cp::run(words).await,
        Verb::Seal(words) => seal::run(&services, words, json).await,
        Verb::Key(words) => key::run(&services, words, json).await,
        Verb::Validate(words) => validate::run(&words, json),
        Verb::Doctor => doctor::run(&services, &arguments.sockets, json).await,
        Verb::Export(words) => export::run(&services, words, json).await,
        Verb::Completion(words) => completion::run(&words),
        Verb::Man(words) => man::run(&words),
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
            &["plan", "--revision", "HEAD"],
            &["plan", "--offline"],
            &["init"],
            &["init", "--bundle", "x", "--repository", "git://h/x"],
            &["init", "--bundle", "x", "--reference", "refs/heads/x"],
            &["export"],
            &["plan", "--repository", ".", "--system", "."],
            &["seal"],
            &["seal", "../x"],
            &["seal", "token", "--rewrap"],
            &["seal", "token", "--recipient", "AGE-SECRET-KEY-1"],
            &["key", "retire", "x"],
            &["exec", "web"],
            &["exec", "../x", "true"],
            &["cp", "web:etc", "x"],
            &["cp", "x"],
            &["apply", "web"],
            &["apply", "web", "--try", "soon"],
            &["remove", "../x", "--yes"],
        ] {
            let line = std::iter::once("bitbuilder").chain(words.iter().copied());
            assert!(Arguments::try_parse_from(line).is_err(), "{words:?} was accepted");
        }
        assert!(Arguments::try_parse_from(["bitbuilder", "status", "--json"]).is_ok());
        assert!(Arguments::try_parse_from(["bitbuilder", "--json=short", "status"]).is_ok());
        // Whatever follows the command is its own.
        for words in [&["exec", "web", "ls", "-t", "--json", "--"][..], &["exec", "-t", "web", "--", "-x", "--user"]] {
            let line = std::iter::once("bitbuilder").chain(words.iter().copied());
            let Verb::Exec(_) = Arguments::try_parse_from(line).unwrap().verb else { panic!("{words:?}") };
        }
    }

    #[test]
    fn what_goes_on_or_is_for_programs_has_no_pager() {
        let paged = |line: &str| Arguments::try_parse_from(line.split(' ')).unwrap().is_paged();
        assert!(paged("bitbuilder status") && paged("bitbuilder logs web") && paged("bitbuilder doctor"));
        for line in ["status --watch", "logs web -f", "status --json", "status --no-pager", "sync --wait", "shell web"]
        {
            assert!(!paged(&format!("bitbuilder {line}")), "{line}");
        }
    }
}
