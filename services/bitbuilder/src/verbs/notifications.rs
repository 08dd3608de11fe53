//! `bitbuilder notifications`

use crate::{
    output::{self, Failure, Json},
    verbs::history::moment,
};
use interfaces::notification::{List, Listed, Progress};
use jiff::tz::TimeZone;
use model::text::printable;
use runtime::Client;
use std::fmt::Write as _;

pub(crate) async fn run(services: &Client, json: Json) -> Result<u8, Failure> {
    let Listed { targets } = services.call(&List { target: None }).await?;
    if json == Json::Off {
        output::text(&table(&targets, &TimeZone::system()))?;
    }
    output::json(json, &targets)?;
    Ok(0)
}

/// A line per target, and below it why it was not told the last time.
fn table(targets: &[Progress], zone: &TimeZone) -> String {
    if targets.is_empty() {
        return "Nobody is told what becomes of commits: the system repository has no notifications.json.\n".to_owned();
    }
    let width = targets.iter().map(|progress| progress.target.as_str().len()).max().unwrap_or(0).max(6);
    let mut text =
        format!("{:width$}  {:7}  {:>7}  {:>4}  {:19}  ADDRESS\n", "TARGET", "KIND", "WAITING", "LOST", "LAST TOLD");
    for progress in targets {
        let Progress { target, kind, address, waiting, lost, .. } = progress;
        let told = progress.last_success_u_sec.map_or("-".to_owned(), |usec| moment(usec, zone));
        // Writing to a String cannot fail.
        let _infallible = writeln!(text, "{target:width$}  {kind:7}  {waiting:>7}  {lost:>4}  {told:19}  {address}");
        if let Some(reason) = progress.last_error.as_ref().filter(|_| progress.failing) {
            let when = progress.last_error_u_sec.map_or("-".to_owned(), |usec| moment(usec, zone));
            let _infallible = writeln!(text, "  {when}  {}", output::in_colour(33, &printable(reason)));
        }
        if let Some(next) = progress.next_try_u_sec {
            let _infallible = writeln!(text, "  {}  the next try", moment(next, zone));
        }
    }
    text
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use model::notification::Kind;

    pub(crate) fn progress(name: &str, error: Option<&str>) -> Progress {
        Progress {
            target: name.parse().unwrap(),
            kind: Kind::Gitea,
            address: format!("https://h/{name}").parse().unwrap(),
            waiting: if error.is_some() { 2 } else { 0 },
            failing: error.is_some(),
            last_success_u_sec: Some(1_764_000_000_000_000),
            last_error: error.map(str::to_owned),
            last_error_u_sec: error.map(|_| 1_764_000_060_000_000),
            next_try_u_sec: error.map(|_| 1_764_000_075_000_000),
            lost: 1,
        }
    }

    #[test]
    fn targets_read_well() {
        let targets = [progress("forge", None), progress("on-call", Some("it answers 503 \u{1b}[2J"))];
        insta::assert_snapshot!(table(&targets, &TimeZone::UTC), @"
        TARGET   KIND     WAITING  LOST  LAST TOLD            ADDRESS
        forge    gitea          0     1  2025-11-24 16:00:00  https://h/forge
        on-call  gitea          2     1  2025-11-24 16:00:00  https://h/on-call
          2025-11-24 16:01:00  it answers 503 \u{fffd}[2J
          2025-11-24 16:01:15  the next try
        ");
        assert!(table(&[], &TimeZone::UTC).starts_with("Nobody is told"));
    }
}
