//! What virtual machines are made of beside the trees of every host: an emulator, a kernel, and disks.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::emulator::Emulator;
use crate::cache::{Cache, key};
use crate::command;
use crate::disk::Disk;
use crate::images::{self, Images, text};

const EMULATOR_PACKAGES: &str = include_str!("../../scripts/emulator.packages");
const KERNEL_PACKAGES: &str = include_str!("../../scripts/virtual-machine.packages");
const BUILD_BOOT: &str = include_str!("../../scripts/build-boot.sh");
const BUILD_KERNEL_LAYER: &str = include_str!("../../scripts/build-kernel-layer.sh");
const BUILD_MEDIUM: &str = include_str!("../../scripts/build-medium.sh");
const INITRD: &str = include_str!("../../scripts/initrd.sh");
const AGENT: &str = include_str!("../../scripts/agent.py");
const AGENT_UNIT: &str = include_str!("../../scripts/agent.service");

/// The kept things that one kind of virtual machine is made of.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    pub(crate) emulator: Emulator,
    /// The folder of the kernel and of its initial RAM file system.
    pub(crate) boot: PathBuf,
    /// The disk that a host begins with.
    pub(crate) disk: PathBuf,
}

impl Parts {
    /// Builds what is missing.
    pub(crate) fn ensure(cache: &Cache, package: Option<&Path>, format: Disk) -> Result<Self> {
        let tree = images::image(cache, "emulator", EMULATOR_PACKAGES)?;
        let base = images::image(cache, "host", images::HOST_PACKAGES)?;
        let kernel = kernel_layer(cache, &base)?;
        let plain = format!("{}:{}", kernel.display(), base.display());
        let boot = cache.ensure("boot", &key([&plain, BUILD_BOOT, INITRD, AGENT, AGENT_UNIT]), |new| {
            command::build(BUILD_BOOT, &[text(new)?, &plain, INITRD, AGENT, AGENT_UNIT])
        })?;
        let images = Images::over(cache, plain, package)?;
        let disk = format.template(cache, &images, "whole")?;
        Ok(Self { emulator: Emulator::of(tree, &boot)?, boot, disk })
    }

    /// What firmware starts from.
    pub(crate) fn medium(&self, cache: &Cache, words: &str) -> Result<PathBuf> {
        let (tree, boot) = (text(&self.emulator.tree)?, text(&self.boot)?);
        cache.ensure("medium", &key([tree, boot, words, BUILD_MEDIUM]), |new| {
            command::build(BUILD_MEDIUM, &[text(new)?, tree, boot, words])
        })
    }
}

fn kernel_layer(cache: &Cache, base: &Path) -> Result<PathBuf> {
    let packages = images::packages(KERNEL_PACKAGES).join(" ");
    cache.ensure("kernel", &key([text(base)?, &packages, BUILD_KERNEL_LAYER]), |new| {
        command::build(BUILD_KERNEL_LAYER, &[text(new)?, text(base)?, &packages])
    })
}
