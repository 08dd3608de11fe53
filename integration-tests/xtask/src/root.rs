//! Hosts need root; a developer need not type sudo.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context as _, Result};

/// What of the caller's environment sudo would otherwise take away: the toolchain, and where caches are.
const CARRIED: &[&str] = &[
    "PATH",
    "HOME",
    "CARGO_HOME",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    "CARGO_TARGET_DIR",
    "XDG_CACHE_HOME",
    "BITBUILDER_CACHE",
    "BITBUILDER_DEB",
    "BITBUILDER_MIRROR",
    "CI",
    "TERM",
];

/// Goes on as root: runs this very command again through sudo if need be.
pub(crate) fn become_root() -> Result<()> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let set = CARRIED.iter().filter_map(|name| Some(format!("{name}={}", std::env::var(name).ok()?)));
    let mut command = Command::new("sudo");
    command.arg("env").args(set).arg(std::env::current_exe()?).args(std::env::args_os().skip(1));
    Err(command.exec()).context("this needs root, and sudo cannot be run")
}
