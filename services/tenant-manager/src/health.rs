//! What a tenant's own service manager says of the tenant's services. The tenant may have put anything in its place, so
//! the answer is bounded in time and size and must look exactly as systemctl(1) writes it.

use crate::{fault::Fault, text};
use host::command::{Command, CommandError};
use interfaces::tenant::Service;
use model::{TenantName, UnitName};
use nix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// A service manager that takes longer is not healthy.
const PATIENCE: Duration = Duration::from_secs(5);
const PROPERTIES: &str = "--property=Id,ActiveState,SubState,Result,ActiveEnterTimestampMonotonic";

/// Asks a running tenant.
///
/// # Errors
/// It does not answer in time, or with nonsense, or cannot be asked.
pub async fn ask(tenant: &TenantName, services: &[UnitName]) -> Result<Vec<Service>, Fault> {
    if services.is_empty() {
        return Ok(Vec::new());
    }
    let shown = Command::new("systemctl")
        .args(["--machine", tenant.as_str(), "--no-pager", "show", PROPERTIES, "--"])
        .args(services.iter().map(UnitName::as_str))
        .within(PATIENCE)
        .run()
        .await;
    let unanswered = |reason| Fault::Unanswered { tenant: tenant.clone(), reason };
    let shown = shown.map_err(|fault| match fault {
        CommandError::Start { .. } => Fault::Command(fault),
        CommandError::TimedOut { .. } | CommandError::Failed { .. } => unanswered(text::printable(&fault.to_string())),
    })?;
    parse(services, &shown, now()).map_err(|answer| unanswered(format!("it says {answer:?}")))
}

/// CLOCK_MONOTONIC, which tenants share with the host, in microseconds.
fn now() -> u64 {
    // A clock that cannot be read has a service active for no time at all.
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map_or(0, |time| u64::try_from(Duration::from(time).as_micros()).unwrap_or(0))
}

/// One block of properties per service, in the order in which they were asked for. The error is the part that cannot be.
fn parse(services: &[UnitName], shown: &str, now: u64) -> Result<Vec<Service>, String> {
    let blocks: Vec<&str> = shown.trim_end_matches('\n').split("\n\n").collect();
    if blocks.len() != services.len() {
        return Err(cut(shown));
    }
    services.iter().zip(blocks).map(|(unit, block)| service(unit, block, now).ok_or_else(|| cut(block))).collect()
}

fn service(unit: &UnitName, block: &str, now: u64) -> Option<Service> {
    let value = |name: &str| {
        let mut values = block.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        values.next().filter(|_| values.next().is_none())
    };
    let word = |name: &str| {
        let text = value(name)?;
        let is_word = (1..=32).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        is_word.then(|| text.to_owned())
    };
    let entered: u64 = value("ActiveEnterTimestampMonotonic")?.parse().ok()?;
    let active_state = word("ActiveState")?;
    let active = matches!(active_state.as_str(), "active" | "reloading" | "refreshing");
    (value("Id")? == unit.as_str()).then_some(())?;
    Some(Service {
        unit: unit.clone(),
        sub_state: word("SubState")?,
        result: word("Result")?,
        active_u_sec: if active && entered > 0 { now.saturating_sub(entered) } else { 0 },
        active_state,
    })
}

fn cut(text: &str) -> String {
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SHOWN: &str = "Id=a.service\nActiveState=active\nSubState=running\nResult=success\nActiveEnterTimestampMonotonic=1000\n\n\
        Id=b.service\nActiveState=failed\nSubState=failed\nResult=exit-code\nActiveEnterTimestampMonotonic=0\n";

    fn names(names: &[&str]) -> Vec<UnitName> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn each_service_is_told_by_its_block() {
        let services = parse(&names(&["a.service", "b.service"]), SHOWN, 3500).unwrap();
        assert_eq!((services[0].active_state.as_str(), services[0].active_u_sec), ("active", 2500));
        assert_eq!((services[1].result.as_str(), services[1].active_u_sec), ("exit-code", 0));
        // A time that has not come yet is none.
        assert_eq!(parse(&names(&["a.service", "b.service"]), SHOWN, 1).unwrap()[0].active_u_sec, 0);
    }

    #[test]
    fn any_other_answer_is_nonsense() {
        let asked = names(&["a.service"]);
        let block =
            "Id=a.service\nActiveState=active\nSubState=running\nResult=success\nActiveEnterTimestampMonotonic=1\n";
        assert!(parse(&asked, block, 2).is_ok());
        let bad = [
            String::new(),
            SHOWN.to_owned(),
            block.replace("a.service", "b.service"),
            block.replace("=active", "=ACTIVE\u{1b}[2J"),
            block.replace("=running", "="),
            block.replace("Monotonic=1", "Monotonic=-1"),
            block.replace("Result=success\n", ""),
            format!("{block}Result=exit-code\n"),
            block.replace("success", &"x".repeat(33)),
        ];
        for bad in bad {
            assert!(parse(&asked, &bad, 2).is_err(), "{bad:?} was understood");
        }
    }

    proptest! {
        #[test]
        fn no_answer_is_too_much(text in "\\PC{0,300}|(Id=a.service\n|ActiveState=[a-z]{0,9}\n|\n){0,20}") {
            let asked = names(&["a.service"]);
            if let Ok(services) = parse(&asked, &text, 1) {
                prop_assert_eq!(services.len(), 1);
            }
        }
    }
}
