//! Whether all of what the tenants are started by at boot could be used.

use super::Finding;
use host::systemd::{Systemd, SystemdError, Unit};

/// Runs at boot if something could not be used, and stays.
const UNIT: &str = "bitbuilder-boot-state.service";

pub(super) async fn find() -> Option<Finding> {
    let listed = async { Systemd::connect().await?.list(&[UNIT]).await }.await;
    judge(listed)
}

fn judge(listed: Result<Vec<Unit>, SystemdError>) -> Option<Finding> {
    // That the service manager does not answer is said elsewhere.
    let unit = listed.ok()?.into_iter().find(|unit| unit.active_state != "inactive")?;
    let found = "some of what the tenants are started by could not be used when the host booted";
    Some(Finding::warn("boot state", found, format!("journalctl --boot --unit={}", unit.name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_boot_with_something_to_say_is_spoken_of() {
        let unit = |active_state: &str| Unit {
            name: UNIT.to_owned(),
            active_state: active_state.to_owned(),
            sub_state: String::new(),
            has_job: false,
        };
        assert_eq!(judge(Ok(Vec::new())), None);
        assert_eq!(judge(Ok(vec![unit("inactive")])), None);
        for state in ["active", "failed"] {
            let finding = judge(Ok(vec![unit(state)])).unwrap();
            assert_eq!(finding.mend.as_deref(), Some("journalctl --boot --unit=bitbuilder-boot-state.service"));
        }
    }
}
