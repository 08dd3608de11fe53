//! Who should be told what becomes of commits, and was not the last time.

use super::Finding;
use interfaces::notification::{List, Listed, Progress};
use runtime::Client;

pub(super) async fn all(services: &Client) -> Vec<Finding> {
    match services.call(&List { target: None }).await {
        Ok(Listed { targets }) => judge(&targets),
        Err(error) => vec![Finding::unknown("notifications", &error)],
    }
}

fn judge(targets: &[Progress]) -> Vec<Finding> {
    let failing: Vec<Finding> = targets.iter().filter(|target| target.failing).map(judge_target).collect();
    match targets.len() {
        _ if !failing.is_empty() => failing,
        0 => vec![Finding::ok("notifications", "nobody is told")],
        count => vec![Finding::ok("notifications", format!("{count} told"))],
    }
}

fn judge_target(target: &Progress) -> Finding {
    let Progress { target, address, waiting, last_error, .. } = target;
    let reason = last_error.as_deref().unwrap_or("it failed");
    let found = format!("{target} at {address} is not told, and {waiting} wait: {reason}");
    Finding::warn("notifications", found, "bitbuilder notifications")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{doctor::Verdict, verbs::notifications::tests::progress};

    #[test]
    fn each_target_that_fails_has_a_line() {
        assert_eq!(judge(&[])[0].found, "nobody is told");
        assert_eq!(judge(&[progress("forge", None)])[0].found, "1 told");
        let found = judge(&[progress("forge", None), progress("hook", Some("it answers 503"))]);
        assert_eq!((found.len(), found[0].verdict), (1, Verdict::Warn));
        assert_eq!(found[0].found, "hook at https://h/hook is not told, and 2 wait: it answers 503");
    }
}
