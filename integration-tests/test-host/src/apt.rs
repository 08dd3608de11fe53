//! The machine's own packages: what is missing is installed, what is there costs one query.

use std::collections::HashSet;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::command;

/// What building images and booting hosts needs on the machine.
pub const FOR_IMAGES: &[&str] =
    &["mmdebstrap", "debian-archive-keyring", "btrfs-progs", "e2fsprogs", "mount", "util-linux", "procps"];

/// Installs those of the packages that are missing. The package lists are fetched only if installing fails without them.
pub fn require(packages: &[&str]) -> Result<()> {
    let installed = installed(packages);
    let missing: Vec<&str> = packages.iter().copied().filter(|package| !installed.contains(*package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("installing {}", missing.join(" "));
    if install(&missing).is_ok() {
        return Ok(());
    }
    command::output(Command::new("apt-get").args(["update", "--quiet"])).context("fetching the package lists")?;
    install(&missing).with_context(|| format!("installing {}", missing.join(" ")))
}

fn installed(packages: &[&str]) -> HashSet<String> {
    let format = "--showformat=${db:Status-Status} ${Package}\n";
    // An unknown name makes the query fail, with the others still answered.
    let query = Command::new("dpkg-query").args(["--show", format]).args(packages).output();
    let answer = query.map(|out| String::from_utf8_lossy(&out.stdout).into_owned()).unwrap_or_default();
    answer.lines().filter_map(|line| line.strip_prefix("installed ")).map(str::to_owned).collect()
}

fn install(packages: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
    command.args(["install", "--yes", "--quiet", "--no-install-recommends", "--option", "DPkg::Lock::Timeout=300"]);
    command.args(packages).env("DEBIAN_FRONTEND", "noninteractive");
    command::output(&mut command).map(drop)
}
