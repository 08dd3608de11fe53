//! `bitbuilder history`

use crate::output::{self, Failure, Json};
use interfaces::orchestrator::{Event, Events, History};
use jiff::{Timestamp, tz::TimeZone};
use model::{Revision, names::RepositoryName, text::printable_lines};
use runtime::Client;
use std::fmt::Write as _;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// One tenant alone, or system.
    #[arg(value_name = "TENANT")]
    repository: Option<RepositoryName>,
    /// How many of the last events.
    #[arg(long = "lines", short = 'n', value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(0..=10000))]
    lines: u32,
}

pub(crate) async fn run(services: &Client, words: Arguments, json: Json) -> Result<u8, Failure> {
    let wanted = History { tenant: words.repository, limit: Some(words.lines) };
    let Events { events } = services.call(&wanted).await?;
    if json == Json::Off {
        output::text(&events_in(&events, &TimeZone::system(), ""))?;
    }
    output::json(json, &Events { events })?;
    Ok(0)
}

/// A line per event, and below it its reason or its steps.
pub(crate) fn events_in(events: &[Event], zone: &TimeZone, indent: &str) -> String {
    let width = events.iter().map(|event| event.tenant.as_str().len()).max().unwrap_or(0);
    let mut text = String::new();
    for event in events {
        let commit = event.revision.as_ref().map_or("-", Revision::short);
        let line =
            format!("{indent}{}  {:width$}  {:11}  {commit}", moment(event.at_u_sec, zone), event.tenant, event.kind);
        // Writing to a String cannot fail.
        let _infallible = writeln!(text, "{}", line.trim_end());
        let reason = event.reason.iter().flat_map(|reason| reason.lines().map(str::to_owned));
        for below in reason.chain(event.plan.iter().cloned()) {
            let _infallible = writeln!(text, "{indent}    {}", printable_lines(&below));
        }
    }
    text
}

/// `2026-11-23 17:19:35`, as the caller's clock would have shown it.
pub(crate) fn moment(usec: u64, zone: &TimeZone) -> String {
    let stamp = i64::try_from(usec).ok().and_then(|usec| Timestamp::from_microsecond(usec).ok());
    stamp.map_or("-".to_owned(), |stamp| stamp.to_zoned(zone.clone()).strftime("%F %T").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use interfaces::orchestrator::EventKind;

    fn event(kind: EventKind, reason: Option<&str>, plan: &[&str]) -> Event {
        Event {
            tenant: "web".parse().unwrap(),
            kind,
            at_u_sec: 1_764_000_000_000_000,
            revision: "a".repeat(40).parse().ok(),
            generation: 3,
            reason: reason.map(str::to_owned),
            plan: plan.iter().map(|line| (*line).to_owned()).collect(),
        }
    }

    #[test]
    fn a_history_reads_well() {
        let events = [
            Event { revision: None, tenant: "mail".parse().unwrap(), ..event(EventKind::Registered, None, &[]) },
            event(EventKind::Planned, None, &["hot          tenant-manager start (it does not run)"]),
            event(EventKind::Failed, Some("hello.service failed (exit-code)\n  hello: \u{1b}[2Jno"), &[]),
            event(EventKind::RolledBack, None, &[]),
        ];
        insta::assert_snapshot!(events_in(&events, &TimeZone::UTC, ""));
    }
}
