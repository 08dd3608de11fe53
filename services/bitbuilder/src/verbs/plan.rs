//! `bitbuilder plan`

mod git;
mod offline;
mod request;
mod words;

use crate::{
    exit,
    output::{self, Failure, Json},
};
use host::worktree::WorkTree;
use interfaces::orchestrator::{Plan, Plans, TenantPlan};
use model::{Revision, TenantName, tree::Tree};
use request::Asked;
use runtime::Client;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Whose plan. With a repository: the tenant that its metadata.json names, if none is given.
    tenant: Option<TenantName>,
    /// Plan for the files of this directory, whether they were pushed or not.
    #[arg(long, value_name = "PATH")]
    repository: Option<PathBuf>,
    /// Plan for this commit of that repository instead of for its files.
    #[arg(long, value_name = "REV", requires = "repository")]
    revision: Option<String>,
    /// Ask no host: plan for a new tenant with the built-in policy.
    #[arg(long, requires = "repository")]
    offline: bool,
    /// Take the policy from the system repository in this directory.
    #[arg(long, value_name = "PATH", requires = "offline")]
    system: Option<PathBuf>,
    /// End with 2 if something would be done.
    #[arg(long)]
    exit_code: bool,
}

pub(crate) async fn run(services: &Client, words: Arguments, json: Json) -> Result<u8, Failure> {
    let plans = match &words.repository {
        None => services.call(&Plan { tenant: words.tenant.clone(), request: None }).await?.plans,
        Some(path) => vec![of_repository(services, &words, path).await?],
    };
    let code = exit_code(&plans, words.exit_code);
    if json == Json::Off {
        output::text(&words::plans(&plans))?;
    }
    output::json(json, &Plans { plans })?;
    Ok(code)
}

async fn of_repository(services: &Client, words: &Arguments, path: &Path) -> Result<TenantPlan, Failure> {
    let (tree, revision): (Box<dyn Tree>, Option<Revision>) = match &words.revision {
        Some(revision) => {
            let (files, revision) = git::commit(path, revision).await?;
            (Box::new(files), Some(revision))
        }
        None => (Box::new(WorkTree::of_directory(path)?), None),
    };
    let asked = match Asked::read(words.tenant.as_ref(), &*tree, revision.clone()) {
        Ok(asked) => asked,
        Err(faults) => return Ok(TenantPlan::without_steps(words.tenant.clone(), revision, faults)),
    };
    if words.offline {
        let system = words.system.as_deref().map(WorkTree::of_directory).transpose()?;
        return Ok(offline::plan(asked, system.as_ref()));
    }
    let wanted = Plan { tenant: Some(asked.tenant), request: Some(asked.sent) };
    let plans = services.call(&wanted).await?.plans;
    plans.into_iter().next().ok_or_else(|| "the orchestrator answered without a plan".into())
}

/// Nothing is known is worse than refused, and that is worse than a change.
fn exit_code(plans: &[TenantPlan], changes_count: bool) -> u8 {
    if plans.iter().any(|plan| !plan.unknown.is_empty()) {
        exit::FAILED
    } else if plans.iter().any(|plan| !plan.diagnostics.is_empty()) {
        exit::REFUSED
    } else if changes_count && plans.iter().any(|plan| !plan.steps.is_empty()) {
        exit::CHANGES
    } else {
        0
    }
}

#[cfg(test)]
mod tests;
