//! Everything that needs no test to run: format, lints, documentation, and what the product is made of.

use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};

use crate::fuzz;
use crate::tools::{self, CARGO_DENY};
use crate::workspace::{Workspace, cargo};

pub(crate) fn run() -> Result<ExitCode> {
    let workspace = Workspace::find()?;
    if rustix::process::geteuid().is_root() {
        test_host::require(tools::DEBIAN)?;
    }
    let mut checks = vec![
        ("format", cargo().args(["fmt", "--all", "--check"]).status()),
        ("lints", cargo().args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]).status()),
        (
            "format of the fuzz targets",
            cargo().args(["fmt", "--check", "--manifest-path"]).arg(fuzz::manifest(&workspace.root)).status(),
        ),
        (
            "documentation",
            cargo()
                .args(["doc", "--workspace", "--no-deps", "--document-private-items"])
                .env("RUSTDOCFLAGS", "-D warnings")
                .status(),
        ),
    ];
    // Advisories need a database from elsewhere; everything else is known offline.
    let mut deny = Command::new(CARGO_DENY.ensure()?);
    let deny = deny.current_dir(&workspace.root).args(["check", "licenses", "bans", "sources"]);
    checks.push(("dependencies", deny.status()));

    let mut failed = Vec::new();
    for (name, status) in checks {
        if !status.with_context(|| format!("checking {name}"))?.success() {
            failed.push(name);
        }
    }
    if failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("failed: {}", failed.join(", "));
    Ok(ExitCode::FAILURE)
}
