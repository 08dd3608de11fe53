//! Tenants as a person reads them: a line each, or one in full.

use crate::{
    output,
    sleep::{self, Sleeping},
};
use interfaces::orchestrator::{HostStatus, Leaving, Limit, PushMirror, TenantState, TenantStatus};
use model::{
    Remote, RemoteState, Revision, TenantName,
    text::{printable, printable_lines},
};
use std::fmt::Write as _;

/// Width of the states' column.
const STATE: usize = 11;

fn short(revision: Option<&Revision>) -> &str {
    revision.map_or("-", Revision::short)
}

/// A line per tenant, and below it why it is not what was pushed.
pub(crate) fn tenants(tenants: &[TenantStatus], sleeping: &Sleeping, now_usec: u64) -> String {
    let width = tenants.iter().map(|tenant| tenant.tenant.as_str().len()).max().unwrap_or(0).max(6);
    let mut text = format!(
        "{:width$}  {:STATE$}  {:12}  {:13}  {:15}  FORWARDS\n",
        "TENANT", "STATE", "COMMIT", "SINCE", "ADDRESS"
    );
    for tenant in tenants {
        text.push_str(&line(tenant, sleeping, width, now_usec));
    }
    text
}

/// One tenant's line and remarks.
pub(crate) fn line(tenant: &TenantStatus, sleeping: &Sleeping, width: usize, now_usec: u64) -> String {
    let state = output::paint(tenant.state, &format!("{:STATE$}", tenant.state));
    let address = tenant.address.map_or("-".to_owned(), |address| address.to_string());
    let forwards: Vec<String> = tenant
        .forwards
        .iter()
        .map(|forward| format!("{}→{}/{}", forward.host, forward.tenant, forward.protocol))
        .collect();
    let mut text = format!(
        "{:width$}  {state}  {:12}  {:13}  {address:15}  {}",
        tenant.tenant,
        short(tenant.verified.as_ref()),
        ago(tenant.since_u_sec, now_usec),
        forwards.join(" "),
    );
    text.truncate(text.trim_end().len());
    text.push('\n');
    for remark in sleep::remark(tenant, sleeping).into_iter().chain(remarks(tenant, now_usec)) {
        for (index, part) in remark.lines().enumerate() {
            let indent = if index == 0 { "  " } else { "    " };
            // Writing to a String cannot fail.
            let _infallible = writeln!(text, "{indent}{part}");
        }
    }
    text
}

/// Said until another commit of it holds.
const FLOOR_LOST: &str = "this host had forgotten how far its history had come, and took it as it was: compare the commit with what you pushed";

/// What is asked for in vain.
fn not_supported(fields: &[String]) -> Option<String> {
    (!fields.is_empty()).then(|| format!("not supported on this host: {}", fields.join(", ")))
}

/// Why nothing was fetched, how often in a row, and when the next try is.
fn not_fetched(reason: &str, count: u32, next_usec: Option<u64>, now_usec: u64) -> String {
    let times = (count > 1).then(|| format!("{count} times in a row"));
    let next = next_usec.map(|next| format!("next try in {}", lasting(next.saturating_sub(now_usec))));
    let more: Vec<String> = [times, next].into_iter().flatten().collect();
    let more = if more.is_empty() { String::new() } else { format!(" ({})", more.join(", ")) };
    format!("not fetched{more}: {reason}")
}

fn remarks(tenant: &TenantStatus, now_usec: u64) -> Vec<String> {
    let mut remarks = Vec::new();
    if let Some(since) = tenant.suspended_since_u_sec {
        remarks.push(format!(
            "suspended {}; what is pushed waits for: bitbuilder resume {}",
            ago(since, now_usec),
            tenant.tenant
        ));
    }
    if let Some(until) = tenant.confirm_until_u_sec {
        remarks.push(format!(
            "goes back in {} unless somebody confirms it: bitbuilder confirm {}",
            lasting(until.saturating_sub(now_usec)),
            tenant.tenant
        ));
    }
    remarks.extend(tenant.leaving.as_ref().map(|leaving| leaves(&tenant.tenant, leaving, now_usec)));
    if let Some(reason) = &tenant.reason {
        remarks.push(
            tenant.wanted.as_ref().map_or(reason.clone(), |wanted| format!("commit {}: {reason}", wanted.short())),
        );
    }
    if let Some(reason) = &tenant.unconverged {
        remarks.push(format!("tried again soon: {reason}"));
    }
    if let Some(reason) = &tenant.unreachable {
        remarks.push(not_fetched(reason, tenant.unreachable_count, tenant.next_look_u_sec, now_usec));
    }
    remarks.extend(tenant.floor_lost.then(|| FLOOR_LOST.to_owned()));
    remarks.extend(not_supported(&tenant.not_in_effect));
    remarks.iter().map(|remark| printable_lines(remark)).collect()
}

/// When a tenant that left goes, and what becomes of its data.
fn leaves(tenant: &TenantName, leaving: &Leaving, now_usec: u64) -> String {
    let Some(until) = leaving.until_u_sec else {
        return format!(
            "left {}; what is there of it stays until: bitbuilder remove {tenant}",
            ago(leaving.since_u_sec, now_usec)
        );
    };
    let data =
        leaving.archive.as_ref().map_or("its data is deleted".to_owned(), |path| format!("its data goes to {path}"));
    format!(
        "left {}, removed in {}; {data}; to keep it: bitbuilder cancel {tenant}",
        ago(leaving.since_u_sec, now_usec),
        lasting(until.saturating_sub(now_usec))
    )
}

/// One tenant in full, with what became of it last.
pub(crate) fn tenant(tenant: &TenantStatus, sleeping: &Sleeping, history: &str, now_usec: u64) -> String {
    let mut text = tenants(std::slice::from_ref(tenant), sleeping, now_usec);
    let whole = |revision: Option<&Revision>| revision.map_or("-".to_owned(), ToString::to_string);
    let _infallible = write!(
        text,
        "\n  pushed     {}\n  verified   {}\n  generation {}\n",
        whole(tenant.wanted.as_ref()),
        whole(tenant.verified.as_ref()),
        tenant.generation
    );
    text.push_str(&remotes(&tenant.remotes, now_usec));
    if let Some(mirror) = &tenant.push_mirror {
        let _infallible = writeln!(text, "  pushed to  {}", pushed_to(mirror, now_usec));
    }
    let width = tenant.limits.iter().map(|limit| limit.value.len()).max().unwrap_or(0);
    for (index, Limit { what, value, most, place }) in tenant.limits.iter().enumerate() {
        let label = if index == 0 { "limits" } else { "" };
        let _infallible = writeln!(text, "  {label:10} {what:6} {value:width$}  at most {most}, set by {place}");
    }
    if !tenant.plan.is_empty() {
        text.push_str("  last plan\n");
        for step in &tenant.plan {
            let _infallible = writeln!(text, "    {step}");
        }
    }
    if !history.is_empty() {
        let _infallible = write!(text, "  history\n{history}");
    }
    if let Some(next) = next(tenant) {
        let _infallible = writeln!(text, "  next       {next}");
    }
    text
}

/// Where a repository with mirrors was found, and which of its servers is not as it should be.
fn remotes(remotes: &[Remote], now_usec: u64) -> String {
    let width = remotes.iter().map(|remote| remote.url.as_str().len()).max().unwrap_or(0);
    let mut text = String::new();
    for (index, Remote { url, state, since_u_sec, reason }) in remotes.iter().enumerate() {
        let label = if index == 0 { "servers" } else { "" };
        let reason = reason.as_ref().map(|reason| format!(": {}", printable(reason))).unwrap_or_default();
        let since = ago(*since_u_sec, now_usec);
        let _infallible = writeln!(text, "  {label:10} {:width$}  {state:7}  {since}{reason}", url.as_str());
    }
    text
}

/// How far a push mirror is.
fn pushed_to(mirror: &PushMirror, now_usec: u64) -> String {
    let PushMirror { url, revision, behind_since_u_sec, reason } = mirror;
    let state = match behind_since_u_sec {
        Some(since) => format!("behind, since {}", ago(*since, now_usec)),
        None => format!("in step at {}", short(revision.as_ref())),
    };
    let reason = reason.as_ref().map(|reason| format!(": {}", printable(reason))).unwrap_or_default();
    format!("{url}  {state}{reason}")
}

/// The servers of a repository that are away, behind or refused, in a line each: what else is said does not show it.
fn ailing(remotes: &[Remote]) -> impl Iterator<Item = String> {
    let ails = |remote: &&Remote| !matches!(remote.state, RemoteState::Used | RemoteState::Spare);
    remotes
        .iter()
        .filter(ails)
        .map(|Remote { url, state, reason, .. }| format!("{url} is {state}: {}", reason.as_deref().unwrap_or("?")))
}

/// What a person would run now, where there is something.
pub(crate) fn next(tenant: &TenantStatus) -> Option<String> {
    let name = &tenant.tenant;
    if tenant.suspended_since_u_sec.is_some() {
        return Some(format!("bitbuilder resume {name}"));
    }
    match tenant.state {
        TenantState::Refused => {
            Some(format!("bitbuilder plan {name} --repository PATH, until it is not refused, then push"))
        }
        TenantState::RolledBack | TenantState::Failed => {
            Some(format!("bitbuilder logs {name}, then push what mends it, or bitbuilder retry {name}"))
        }
        TenantState::Pending | TenantState::Applying | TenantState::Verifying => {
            Some(format!("bitbuilder sync {name} --wait"))
        }
        TenantState::Confirming => Some(format!("bitbuilder confirm {name}, or bitbuilder reject {name}")),
        TenantState::Leaving => {
            Some(format!("bitbuilder cancel {name} to keep it, or bitbuilder remove {name} to have it done now"))
        }
        TenantState::Verified | TenantState::Stopped if tenant.unreachable.is_some() => {
            Some(format!("bitbuilder sync {name} --wait, when the Git server answers"))
        }
        TenantState::Verified | TenantState::Stopped => None,
    }
}

/// The system repository.
pub(crate) fn host(host: &HostStatus, now_usec: u64) -> String {
    let Some(url) = &host.url else {
        return "This host follows no system repository yet: bitbuilder init --repository URL\n".to_owned();
    };
    let mut text = format!("{url} at {}\n", short(host.revision.as_ref()));
    let unreachable = host.unreachable.as_ref();
    let remarks = [
        host.reason.as_ref().map(|reason| match &host.wanted {
            Some(wanted) => format!("commit {} is not followed: {reason}", wanted.short()),
            None => format!("what it shows is not followed: {reason}"),
        }),
        host.floor_lost.then(|| FLOOR_LOST.to_owned()),
        unreachable.map(|reason| not_fetched(reason, host.unreachable_count, host.next_look_u_sec, now_usec)),
        not_supported(&host.not_in_effect),
    ];
    let behind = host.push_mirror.iter().filter(|mirror| mirror.reason.is_some());
    let behind = behind
        .map(|mirror| format!("its push mirror {} is behind: {}", mirror.url, mirror.reason.as_deref().unwrap_or("?")));
    for remark in remarks.into_iter().flatten().chain(ailing(&host.remotes)).chain(behind) {
        let _infallible = writeln!(text, "  {}", printable_lines(&remark).replace('\n', "\n    "));
    }
    text
}

/// `5 min ago`.
fn ago(then_usec: u64, now_usec: u64) -> String {
    format!("{} ago", lasting(now_usec.saturating_sub(then_usec)))
}

/// `5 min`.
fn lasting(usec: u64) -> String {
    let seconds = usec / 1_000_000;
    match seconds {
        0..=59 => format!("{seconds} s"),
        60..=3599 => format!("{} min", seconds / 60),
        3600..=86399 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use interfaces::orchestrator::Data;

    fn limit(what: &str, value: &str, most: &str, place: &str) -> Limit {
        let [what, value, most, place] = [what, value, most, place].map(str::to_owned);
        Limit { what, value, most, place }
    }

    fn remote(url: &str, state: RemoteState, reason: Option<&str>) -> Remote {
        Remote { url: url.parse().unwrap(), state, since_u_sec: 5_000_000, reason: reason.map(str::to_owned) }
    }

    fn status() -> TenantStatus {
        TenantStatus {
            tenant: "web".parse().unwrap(),
            state: TenantState::Refused,
            wanted: "b".repeat(40).parse().ok(),
            verified: "a".repeat(40).parse().ok(),
            generation: 7,
            since_u_sec: 0,
            address: "10.88.0.2".parse().ok(),
            forwards: serde_json::from_str(r#"[{"host":8080,"tenant":80,"protocol":"tcp"}]"#).unwrap(),
            reason: Some(
                "error: unknown field `x`\n --> web:metadata.json:3:5\n  |\n3 |   \"x\": 1\n  |   ^^^".to_owned(),
            ),
            unconverged: None,
            unreachable: Some("connection refused".to_owned()),
            remotes: vec![
                remote("git://a.example.org/web", RemoteState::Away, Some("connection refused\n\u{1b}[2J")),
                remote("git://b.example.org/web", RemoteState::Used, None),
            ],
            push_mirror: Some(PushMirror {
                url: "ssh://git@c.example.org/web".parse().unwrap(),
                revision: None,
                behind_since_u_sec: Some(5_000_000),
                reason: Some("connection refused".to_owned()),
            }),
            floor: "a".repeat(40).parse().ok(),
            floor_lost: false,
            unreachable_count: 3,
            next_look_u_sec: Some(305_000_000),
            not_in_effect: vec!["security".to_owned()],
            plan: vec!["hot          tenant-manager start (it does not run)".to_owned()],
            suspended_since_u_sec: Some(65_000_000),
            limits: vec![
                limit("cores", "1", "2", "the built-in policy"),
                limit("memory", "256M", "1G", "system:tenants/registry.json:9"),
            ],
            confirm_until_u_sec: Some(185_000_000),
            sleep_after: "10min".parse().ok(),
            leaving: Some(Leaving {
                since_u_sec: 65_000_000,
                until_u_sec: Some(86_525_000_000),
                data: Data::Archive,
                kept: false,
                archive: Some("/var/lib/bitbuilder/archive/web.19700101T000105Z.tar.zst".to_owned()),
            }),
        }
    }

    #[test]
    fn a_tenant_reads_well() {
        insta::assert_snapshot!(tenant(&status(), &Sleeping::new(), "    an event\n", 125_000_000));
        let followed = TenantStatus { suspended_since_u_sec: None, ..status() };
        assert!(next(&followed).is_some_and(|next| next.starts_with("bitbuilder plan web")));
        assert_eq!(not_fetched("away", 1, Some(40_000_000), 0), "not fetched (next try in 40 s): away");
        assert_eq!(not_fetched("no such branch", 0, None, 0), "not fetched: no such branch");
    }

    #[test]
    fn the_worst_state_decides_the_exit_code() {
        let with = |state| TenantStatus { state, unreachable: None, ..status() };
        let followed = HostStatus {
            url: None,
            reference: None,
            wanted: None,
            revision: None,
            reason: None,
            unreachable: None,
            remotes: Vec::new(),
            push_mirror: None,
            floor_lost: false,
            unreachable_count: 0,
            next_look_u_sec: None,
            not_in_effect: Vec::new(),
            tenants: 0,
        };
        let refused = HostStatus { reason: Some("schema".to_owned()), ..followed.clone() };
        let unreachable = TenantStatus { unreachable: Some("away".to_owned()), ..with(TenantState::Verified) };
        assert_eq!(output::exit_code(&followed, &[unreachable]), 1, "what nobody looked at counts as done");
        assert_eq!(output::exit_code(&refused, &[with(TenantState::Verified)]), 3);
        assert_eq!(output::exit_code(&followed, &[]), 0);
        assert_eq!(output::exit_code(&followed, &[with(TenantState::Verified), with(TenantState::Stopped)]), 0);
        assert_eq!(output::exit_code(&followed, &[with(TenantState::Verified), with(TenantState::Refused)]), 3);
        assert_eq!(output::exit_code(&followed, &[with(TenantState::RolledBack), with(TenantState::Refused)]), 4);
        assert_eq!(output::exit_code(&followed, &[with(TenantState::RolledBack), with(TenantState::Failed)]), 1);
    }
}
