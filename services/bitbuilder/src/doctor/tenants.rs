//! What this host follows, and which of its tenants are not what they should be.

use super::Finding;
use interfaces::{
    orchestrator::{Describe, Host, HostStatus, List, TenantState, TenantStatus},
    tenant,
};
use model::identity::UidRange;
use runtime::Client;

pub(super) async fn all(services: &Client) -> Vec<Finding> {
    let repository = match services.call(&Describe {}).await {
        Ok(Host { host }) => judge_repository(&host),
        Err(error) => Finding::unknown("system repository", &error),
    };
    let tenants = match services.call(&List { tenant: None }).await {
        Ok(listed) => judge_tenants(&listed.tenants),
        Err(error) => vec![Finding::unknown("tenants", &error)],
    };
    std::iter::once(repository).chain(tenants).collect()
}

/// The uids of each tenant that this host has; none if nobody answers, which is said elsewhere.
pub(super) async fn held(services: &Client) -> Vec<(String, UidRange)> {
    let listed = services.call(&tenant::List { tenant: None }).await.map(|listed| listed.instances).unwrap_or_default();
    listed.into_iter().map(|instance| (instance.tenant.to_string(), instance.spec.uids)).collect()
}

fn judge_repository(host: &HostStatus) -> Finding {
    let check = "system repository";
    let first_line = |text: &str| text.lines().next().unwrap_or_default().to_owned();
    match (&host.url, &host.unreachable, &host.reason) {
        (None, ..) => Finding::warn(check, "none is followed yet", "bitbuilder init --repository URL"),
        (Some(url), Some(reason), _) => {
            let found = format!("{url} could not be fetched: {}", first_line(reason));
            Finding::fail(check, found, "bitbuilder sync system --wait, once its server is there again")
        }
        (Some(url), None, Some(reason)) => {
            let found = format!("the last commit of {url} is refused: {}", first_line(reason));
            Finding::fail(check, found, "bitbuilder status, then mend the repository; bitbuilder validate checks it")
        }
        (Some(url), None, None) => Finding::ok(check, url.to_string()),
    }
}

fn judge_tenants(tenants: &[TenantStatus]) -> Vec<Finding> {
    let unwell: Vec<Finding> = tenants.iter().filter_map(judge_tenant).collect();
    if unwell.is_empty() { vec![Finding::ok("tenants", format!("{} registered", tenants.len()))] } else { unwell }
}

fn judge_tenant(status: &TenantStatus) -> Option<Finding> {
    let TenantStatus { tenant, state, unreachable, unconverged, suspended_since_u_sec, .. } = status;
    if suspended_since_u_sec.is_some() {
        let found = format!("{tenant} is suspended: what is pushed waits");
        return Some(Finding::warn("tenants", found, format!("bitbuilder resume {tenant}")));
    }
    let mend = format!("bitbuilder status {tenant}");
    match state {
        TenantState::Failed => Some(Finding::fail("tenants", format!("{tenant} failed"), mend)),
        TenantState::Refused | TenantState::RolledBack => {
            Some(Finding::warn("tenants", format!("the last commit of {tenant} is not what runs ({state})"), mend))
        }
        TenantState::Pending
        | TenantState::Applying
        | TenantState::Verifying
        | TenantState::Confirming
        | TenantState::Verified
        | TenantState::Leaving
        | TenantState::Stopped => {
            let found = match (unconverged, unreachable) {
                (Some(_), _) => format!("{tenant} could not be made what it should be"),
                (None, Some(_)) => format!("the repository of {tenant} could not be fetched"),
                (None, None) => return None,
            };
            Some(Finding::warn("tenants", found, mend))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    fn host() -> HostStatus {
        HostStatus {
            url: "https://h/system".parse().ok(),
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
        }
    }

    #[test]
    fn a_repository_is_followed_and_reached() {
        assert_eq!(judge_repository(&host()).verdict, Verdict::Ok);
        let nothing = judge_repository(&HostStatus { url: None, ..host() });
        assert_eq!(nothing.mend.unwrap(), "bitbuilder init --repository URL");
        let away = judge_repository(&HostStatus { unreachable: Some("refused\nmore".to_owned()), ..host() });
        assert_eq!(away.found, "https://h/system could not be fetched: refused");
        let wrong = judge_repository(&HostStatus { reason: Some("schema".to_owned()), ..host() });
        assert_eq!(wrong.verdict, Verdict::Fail);
    }

    #[test]
    fn each_tenant_that_is_not_well_has_a_line() {
        let with = |state: &str, unreachable: Option<&str>, suspended: Option<u64>| -> TenantStatus {
            serde_json::from_value(serde_json::json!({
                "tenant": "web", "state": state, "wanted": null, "verified": null, "generation": 1, "sinceUSec": 0,
                "address": null, "forwards": [], "reason": null, "unconverged": null, "unreachable": unreachable, "remotes": [], "pushMirror": null, "floor": null, "floorLost": false,
                "unreachableCount": 0, "nextLookUSec": null,
                "notInEffect": [], "plan": [], "suspendedSinceUSec": suspended, "limits": [],
            }))
            .unwrap()
        };
        let verdict = |state, unreachable| judge_tenants(&[with(state, unreachable, None)])[0].verdict;
        let suspended = judge_tenants(&[with("verified", None, Some(1))]);
        assert_eq!(suspended[0].mend.as_deref(), Some("bitbuilder resume web"));
        assert_eq!(verdict("verified", None), Verdict::Ok);
        assert_eq!(verdict("verified", Some("away")), Verdict::Warn);
        assert_eq!(verdict("rolled_back", None), Verdict::Warn);
        assert_eq!(verdict("failed", None), Verdict::Fail);
    }
}
