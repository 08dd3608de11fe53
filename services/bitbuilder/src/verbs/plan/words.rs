//! Plans as a person reads them.

use interfaces::orchestrator::TenantPlan;
use model::{Revision, TenantName, text::printable_lines};
use std::fmt::Write as _;

/// Each plan with what a person should know of it.
pub(super) fn plans(plans: &[TenantPlan]) -> String {
    let texts: Vec<String> = plans.iter().map(plan).collect();
    texts.join("\n")
}

fn plan(plan: &TenantPlan) -> String {
    let name = plan.tenant.as_ref().map_or("the repository", TenantName::as_str);
    let commit = plan.revision.as_ref().map_or(String::new(), |revision| format!(" at {}", Revision::short(revision)));
    let mut text = String::new();
    for line in &plan.text {
        // Writing to a String cannot fail.
        let _infallible = writeln!(text, "  {}", printable_lines(line));
    }
    for fault in &plan.diagnostics {
        let _infallible = writeln!(text, "{}\n", printable_lines(&fault.text));
    }
    let summary = match (plan.diagnostics.len(), plan.unknown.as_slice(), plan.steps.len(), plan.class) {
        (1, ..) => "refused".to_owned(),
        (faults @ 2.., ..) => format!("refused, {faults} faults"),
        (_, [_, ..], ..) => format!("no plan, because there is no answer from {}", plan.unknown.join(", ")),
        (_, _, 0, _) | (.., None) => "nothing to do".to_owned(),
        (_, _, 1, Some(class)) => format!("1 step, class {}", word(class)),
        (_, _, steps, Some(class)) => format!("{steps} steps, hardest class {}", word(class)),
    };
    let _infallible = writeln!(text, "{name}{commit}: {summary}");
    if !plan.not_in_effect.is_empty() {
        let fields = plan.not_in_effect.join(", ");
        let _infallible = writeln!(text, "  not supported on this host: {}", printable_lines(&fields));
    }
    if !plan.registered {
        let _infallible = writeln!(text, "  {name} is not registered; this is what the built-in policy makes of it");
    }
    if plan.suspended {
        let _infallible = writeln!(text, "  {name} is suspended; nothing is done before: bitbuilder resume {name}");
    }
    text
}

fn word(class: interfaces::orchestrator::Class) -> &'static str {
    match class {
        interfaces::orchestrator::Class::Hot => "hot",
        interfaces::orchestrator::Class::Restart => "restart",
        interfaces::orchestrator::Class::ReProvision => "re-provision",
    }
}
