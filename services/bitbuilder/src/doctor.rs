//! What a host needs, whether it is there, and the command that mends it if not. Each check stands alone: what one of them
//! cannot find out keeps no other from being made.

mod boot;
mod kernel;
mod notifications;
mod programs;
mod sockets;
mod storage;
mod tenants;
mod webhook;

use crate::{hint, output};
use model::text::printable;
use runtime::Client;
use serde::Serialize;
use std::{fmt::Write as _, path::Path};

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// As it should be.
    Ok,
    /// Something is less good, or could not be found out.
    Warn,
    /// Tenants cannot run, or one of them does not.
    Fail,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// What was looked at.
    pub(crate) check: &'static str,
    pub(crate) verdict: Verdict,
    /// How it is.
    pub(crate) found: String,
    /// The command that mends it.
    pub(crate) mend: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Ok, found: found.into(), mend: None }
    }

    fn warn(check: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Warn, found: found.into(), mend: Some(mend.into()) }
    }

    fn fail(check: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Fail, found: found.into(), mend: Some(mend.into()) }
    }

    /// Nobody knows: only root may look, say.
    fn unknown(check: &'static str, error: &(dyn std::error::Error + 'static)) -> Self {
        let mend = hint::next(error).unwrap_or_else(|| "bitbuilder doctor, as root".to_owned());
        Self::warn(check, format!("not known: {}", runtime::chain(error)), mend)
    }
}

/// Looks at everything.
pub(crate) async fn examine(services: &Client, sockets: &Path) -> Vec<Finding> {
    let (systemd, programs, sockets, clock, webhook, tenants, held, key, told, boot) = tokio::join!(
        programs::systemd(),
        programs::all(),
        sockets::all(sockets),
        programs::clock(),
        webhook::find(),
        tenants::all(services),
        tenants::held(services),
        programs::key(),
        notifications::all(services),
        boot::find(),
    );
    let mut findings = vec![systemd];
    findings.extend(sockets);
    findings.extend(programs);
    findings.push(key);
    findings.extend(storage::all());
    findings.extend(kernel::all(&held));
    findings.push(clock);
    findings.extend(webhook);
    findings.extend(boot);
    findings.extend(tenants);
    findings.extend(told);
    findings
}

/// A line each, and below what is not well the command that mends it.
pub(crate) fn text(findings: &[Finding]) -> String {
    let width = findings.iter().map(|finding| finding.check.len()).max().unwrap_or(0);
    let mut text = String::new();
    for Finding { check, verdict, found, mend } in findings {
        let (word, colour) = match verdict {
            Verdict::Ok => ("OK  ", 32),
            Verdict::Warn => ("WARN", 33),
            Verdict::Fail => ("FAIL", 31),
        };
        // Writing to a String cannot fail.
        let _infallible = writeln!(text, "{}  {check:width$}  {}", output::in_colour(colour, word), printable(found));
        if let Some(mend) = mend {
            let _infallible = writeln!(text, "      {:width$}  → {}", "", printable(mend));
        }
    }
    let count = |wanted| findings.iter().filter(|finding| finding.verdict == wanted).count();
    let _infallible = match (count(Verdict::Fail), count(Verdict::Warn)) {
        (0, 0) => writeln!(text, "This host has all that it needs."),
        (0, 1) => writeln!(text, "This host works; one thing could be better."),
        (0, warnings) => writeln!(text, "This host works; {warnings} things could be better."),
        (1, _) => writeln!(text, "One thing is wrong with this host."),
        (failures, _) => writeln!(text, "{failures} things are wrong with this host."),
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_reads_well() {
        let findings = [
            Finding::ok("systemd", "262"),
            Finding::warn("clock", "not synchronised", "timedatectl set-ntp true"),
            Finding::fail("networkd", "inactive\u{1b}[2J", "systemctl enable --now systemd-networkd.service"),
        ];
        insta::assert_snapshot!(text(&findings), @"
        OK    systemd   262
        WARN  clock     not synchronised
                        → timedatectl set-ntp true
        FAIL  networkd  inactive\u{fffd}[2J
                        → systemctl enable --now systemd-networkd.service
        One thing is wrong with this host.
        ");
    }
}
