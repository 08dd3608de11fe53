//! What the verbs call beyond the toolchain: Debian packages of the machine, and cargo's tools kept in our own cache.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use test_host::Cache;

use crate::workspace::{cargo, succeed};

/// Debian packages that the product needs to be compiled, packaged and tested on the machine itself.
pub(crate) const DEBIAN: &[&str] = &[
    "gcc",
    "g++",
    "libc6-dev",
    "pkg-config",
    "dpkg-dev",
    "git",
    "iproute2",
    "nftables",
    "kmod",
    "squashfs-tools",
    "erofs-utils",
    "openssh-client",
    "gpg",
    "socat",
];

/// A tool of one exact version from the registry, with its own dependencies locked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tool {
    name: &'static str,
    version: &'static str,
}

pub(crate) const CARGO_DEB: Tool = Tool { name: "cargo-deb", version: "3.8.0" };
pub(crate) const CARGO_DENY: Tool = Tool { name: "cargo-deny", version: "0.20.2" };

impl Tool {
    /// Where it is, installed first if this version is not there yet.
    pub(crate) fn ensure(self) -> Result<PathBuf> {
        let Self { name, version } = self;
        let folder = Cache::open()?.ensure(name, &test_host::key([name, version]), |new| {
            test_host::require(&["gcc", "libc6-dev"])?;
            let mut command = cargo();
            command.args(["install", name, "--version", version, "--locked", "--no-track", "--root"]).arg(new);
            // Its own target folder, for the caller's may be on its way into a package.
            let target = new.join("target");
            succeed(command.env("CARGO_TARGET_DIR", &target))?;
            std::fs::remove_dir_all(&target).with_context(|| format!("removing {}", target.display()))
        })?;
        Ok(folder.join("bin").join(name))
    }
}
