//! A plan without a host: for a tenant of which nothing exists, held against a policy and nothing else.

use super::request::Asked;
use host::worktree::WorkTree;
use interfaces::orchestrator::{Step, TenantPlan};
use model::{
    RepositoryUrl, Revision, TenantName,
    admission::{Host, admit},
    identity::Slot,
    observed::ObservedTenant,
    registry::Registration,
    tree::System,
};
use planner::Plan;
use std::collections::BTreeSet;

/// Plans for a new tenant with the policy of `system`, or the built-in one.
pub(super) fn plan(asked: Asked, system: Option<&WorkTree>) -> TenantPlan {
    let Asked { tenant, revision, request, .. } = asked;
    let known = match system.map(|tree| System::read("system", tree)).transpose() {
        Ok(known) => known,
        Err(faults) => return TenantPlan::without_steps(Some(tenant), revision, faults),
    };
    let registered: BTreeSet<TenantName> = match &known {
        Some(system) => system.registrations.iter().map(|entry| entry.name.clone()).collect(),
        // Nobody says which tenants there are: those that it depends on may be.
        None => request.manifest.content.depends_on.iter().cloned().collect(),
    };
    let entry = known.and_then(|system| system.registrations.into_iter().find(|entry| entry.name == tenant));
    let is_registered = entry.is_some();
    let host = Host { others: &[], registered: &registered, machine: None, modules: None };
    let commit = revision.clone().unwrap_or_else(Revision::unborn);
    let registration = entry.unwrap_or_else(|| Registration::unregistered(tenant.clone(), RepositoryUrl::nowhere()));
    let desired = match admit(&request, &registration, &commit, &host) {
        Ok(desired) => desired,
        Err(faults) => {
            return TenantPlan {
                registered: is_registered,
                ..TenantPlan::without_steps(Some(tenant), revision, faults)
            };
        }
    };
    let planned =
        Slot::new(0).map_or_else(Plan::default, |slot| planner::plan(&desired, slot, &ObservedTenant::absent()));
    let steps = planned.steps.iter().map(|step| Step {
        class: step.class.into(),
        action: step.action.to_string(),
        why: step.why.clone(),
        service: step.action.part().to_string(),
    });
    TenantPlan {
        registered: is_registered,
        class: planned.class().map(Into::into),
        steps: steps.collect(),
        text: planned.lines(),
        not_in_effect: desired.not_in_effect,
        ..TenantPlan::without_steps(Some(tenant), revision, Vec::new())
    }
}
