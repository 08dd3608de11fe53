//! `bitbuilder validate`: what a host would say of a repository, said to its owner before a push. Needs no host.

use crate::{
    exit,
    output::{self, Failure, Json},
};
use clap::ValueEnum;
use host::worktree::WorkTree;
use model::{
    Diagnostic, Revision, TenantName,
    admission::{self, Host},
    manifest, path, registry,
    text::printable,
    tree::{Request, System, Tree},
};
use serde::Serialize;
use std::{
    collections::BTreeSet,
    fmt::Write as _,
    path::{Path, PathBuf},
};
use thiserror::Error;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The repository's directory; the current one if nothing is said.
    #[arg(value_name = "PATH", default_value = ".")]
    path: PathBuf,
    /// Which kind of repository it is, instead of what its files tell.
    #[arg(long, value_enum)]
    kind: Option<Kind>,
    /// A directory with the system repository: also holds the tenant's request against its policy.
    #[arg(long, value_name = "PATH")]
    system: Option<PathBuf>,
}

/// The two kinds of repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// It names the tenants, in tenants/registry.json.
    System,
    /// It says what one tenant is, in metadata.json.
    Tenant,
}

/// Why a directory cannot be judged.
#[derive(Debug, Error)]
pub(crate) enum ValidateError {
    #[error(
        "{} has neither {} nor {}: give the directory of a repository, or say what it is to become with --kind",
        .0.display(), manifest::PATH, registry::PATH
    )]
    NoKind(PathBuf),
    #[error(
        "{} has both {} and {}: a repository is of one kind; say which with --kind",
        .0.display(), manifest::PATH, registry::PATH
    )]
    TwoKinds(PathBuf),
    #[error("{} is a system repository, and --system is for a tenant's", .0.display())]
    SystemOfSystem(PathBuf),
}

/// What is said of a repository.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    valid: bool,
    kind: Kind,
    diagnostics: Vec<Diagnostic>,
    not_in_effect: Vec<String>,
}

pub(crate) fn run(words: &Arguments, json: Json) -> Result<u8, Failure> {
    let tree = WorkTree::of_directory(&words.path)?;
    let kind = kind_of(words, &tree)?;
    let report = match (kind, &words.system) {
        (Kind::System, None) => system(&tree),
        (Kind::System, Some(_)) => return Err(ValidateError::SystemOfSystem(words.path.clone()).into()),
        (Kind::Tenant, None) => tenant(&tree, None),
        (Kind::Tenant, Some(path)) => tenant(&tree, Some(&WorkTree::of_directory(path)?)),
    };
    output::json(json, &report)?;
    if json == Json::Off {
        output::text(&text(&report, &words.path))?;
    }
    Ok(if report.valid { 0 } else { exit::REFUSED })
}

fn kind_of(words: &Arguments, tree: &WorkTree) -> Result<Kind, ValidateError> {
    match (words.kind, tree.names(manifest::PATH), tree.names(registry::PATH)) {
        (Some(kind), ..) => Ok(kind),
        (None, true, false) => Ok(Kind::Tenant),
        (None, false, true) => Ok(Kind::System),
        (None, false, false) => Err(ValidateError::NoKind(words.path.clone())),
        (None, true, true) => Err(ValidateError::TwoKinds(words.path.clone())),
    }
}

impl Report {
    fn of(kind: Kind, diagnostics: Vec<Diagnostic>, not_in_effect: Vec<String>) -> Self {
        Self { valid: diagnostics.is_empty(), kind, diagnostics, not_in_effect }
    }
}

fn system(tree: &dyn Tree) -> Report {
    match System::read("", tree) {
        Ok(system) => Report::of(Kind::System, Vec::new(), admission::system_not_in_effect(&system)),
        Err(faults) => Report::of(Kind::System, faults, Vec::new()),
    }
}

fn tenant(tree: &dyn Tree, system: Option<&dyn Tree>) -> Report {
    let system = system.map(|tree| System::read("system", tree)).transpose();
    let (request, mut faults) = Request::examine("", tree);
    match (&request, system) {
        (Some(request), Ok(Some(system))) => faults.extend(admit(request, &system)),
        (Some(request), Ok(None)) => faults.extend(admission::not_supported(request)),
        (_, Err(system)) => faults.extend(system),
        (None, Ok(_)) => {}
    }
    Report::of(Kind::Tenant, faults, request.as_ref().map(admission::not_in_effect).unwrap_or_default())
}

/// What a host that follows this system repository, and has no other tenant yet, would refuse.
fn admit(request: &Request, system: &System) -> Vec<Diagnostic> {
    let own = &request.manifest.content.tenant.name;
    let registered: BTreeSet<TenantName> = system.registrations.iter().map(|entry| entry.name.clone()).collect();
    let Some(registration) = system.registrations.iter().find(|entry| entry.name == *own) else {
        let names: Vec<&str> = registered.iter().map(AsRef::as_ref).collect();
        let names = if names.is_empty() { "no tenant".to_owned() } else { names.join(", ") };
        let message = format!("no tenant {own} is registered; {} has: {names}", registry::PATH);
        return vec![request.manifest.fault(path!["tenant", "name"], &message)];
    };
    let host = Host { others: &[], registered: &registered, machine: None, modules: None };
    admission::admit(request, registration, &Revision::unborn(), &host).err().unwrap_or_default()
}

fn text(report: &Report, path: &Path) -> String {
    let kind = match report.kind {
        Kind::System => "system",
        Kind::Tenant => "tenant's",
    };
    let mut text = String::new();
    for fault in &report.diagnostics {
        // Writing to a String cannot fail.
        let _infallible = writeln!(text, "{}\n", output::error_head(&fault.text));
    }
    if !report.not_in_effect.is_empty() {
        let fields = report.not_in_effect.join(", ");
        let _infallible = writeln!(text, "note: not supported on hosts of this version yet: {fields}");
    }
    let verdict = match report.diagnostics.len() {
        0 => format!("is a valid {kind} repository"),
        1 => format!("is refused as a {kind} repository: 1 fault"),
        count => format!("is refused as a {kind} repository: {count} faults"),
    };
    let _infallible = writeln!(text, "{} {verdict}", printable(&path.display().to_string()));
    text
}

#[cfg(test)]
mod tests;
