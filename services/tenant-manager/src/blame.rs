//! Whose fault it is that a tenant is not up. The commit of a tenant that does not start is given up, so nothing that the
//! host did to it may count.

use crate::run::TENANTS_FAULT;

/// How a unit ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ending {
    /// Result of the service, as `exit-code` or `timeout`.
    pub result: Option<String>,
    /// The exit code or signal of its main process.
    pub status: i32,
    /// The last lines of what it said.
    pub said: String,
}

impl Ending {
    /// For people.
    #[must_use]
    pub fn explained(&self) -> String {
        let result = self.result.as_ref().map(|result| format!("result {result}"));
        let status = (self.status != 0).then(|| format!("status {}", self.status));
        let said = (!self.said.is_empty()).then(|| self.said.clone());
        [result, status, said].into_iter().flatten().collect::<Vec<_>>().join("; ")
    }
}

/// Whether a start whose job ended as `job` failed by what the tenant is: its processes ran (`entered`) and ended or did
/// not become ready in time, or they could not be run because of what it or its repository holds.
pub(crate) fn is_tenants(job: &str, host_stops: bool, entered: bool, ending: &Ending) -> bool {
    // Not done for any reason but the unit's own: canceled by another job, a dependency that failed.
    job == "failed" && !host_stops && (entered || ending.status == i32::from(TENANTS_FAULT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_tenant_did_is_its_fault() {
        let ended = |status| Ending { result: Some("exit-code".to_owned()), status, said: String::new() };
        assert!(is_tenants("failed", false, true, &ended(1)));
        assert!(is_tenants("failed", false, true, &Ending { result: Some("timeout".to_owned()), ..Ending::default() }));
        assert!(is_tenants("failed", false, false, &ended(65)), "a unit that the repository does not ship");
        assert!(!is_tenants("failed", false, false, &ended(1)), "its layers cannot be mounted");
        assert!(!is_tenants("failed", false, false, &ended(226)), "the unit's own namespace cannot be made");
        assert!(!is_tenants("failed", true, true, &ended(1)), "the host goes down");
        for job in ["canceled", "dependency", "timeout", "assert", "collected"] {
            assert!(!is_tenants(job, false, true, &ended(1)), "{job}");
        }
    }

    #[test]
    fn an_ending_is_explained_as_far_as_it_is_known() {
        assert_eq!(Ending::default().explained(), "");
        let ending = Ending { result: Some("exit-code".to_owned()), status: 3, said: "no".to_owned() };
        assert_eq!(ending.explained(), "result exit-code; status 3; no");
    }
}
