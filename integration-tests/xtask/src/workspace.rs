//! What cargo knows of this workspace.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// The workspace that the caller stands in.
#[derive(Debug)]
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    pub(crate) target: PathBuf,
    members: Vec<String>,
}

impl Workspace {
    pub(crate) fn find() -> Result<Self> {
        let output =
            cargo().args(["metadata", "--no-deps", "--format-version=1"]).output().context("running cargo metadata")?;
        ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
        let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).context("reading cargo metadata")?;
        let path = |name: &str| {
            metadata[name].as_str().map(PathBuf::from).with_context(|| format!("cargo metadata lacks {name}"))
        };
        let packages = metadata["packages"].as_array().context("cargo metadata lacks packages")?;
        let members = packages.iter().filter_map(|package| Some(package["name"].as_str()?.to_owned())).collect();
        Ok(Self { root: path("workspace_root")?, target: path("target_directory")?, members })
    }

    pub(crate) fn has(&self, package: &str) -> bool {
        self.members.iter().any(|member| member == package)
    }
}

/// The cargo that runs us.
pub(crate) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Runs a command with our standard streams; its failure is an error.
pub(crate) fn succeed(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("starting {:?}", command.get_program()))?;
    ensure!(
        status.success(),
        "{:?} {:?} failed, {status}",
        command.get_program(),
        command.get_args().collect::<Vec<_>>()
    );
    Ok(())
}
