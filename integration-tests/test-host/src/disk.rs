//! The disk of a host: a sparse file with its /var and what it writes elsewhere, copied from a template that is built once.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::cache::{Cache, key};
use crate::command;
use crate::images::{Images, text};

const BUILD_DISK: &str = include_str!("../scripts/build-disk.sh");

/// The file system of a host's disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Disk {
    /// With subvolumes and snapshots: what a real host is advised to have.
    #[default]
    Btrfs,
    /// Without.
    Ext4,
}

impl Disk {
    /// The name that mkfs and mount know it by.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Btrfs => "btrfs",
            Self::Ext4 => "ext4",
        }
    }

    /// Makes a new host's disk.
    pub(crate) fn create(self, cache: &Cache, images: &Images, disk: &Path) -> Result<()> {
        let template = self.template(cache, images, "written")?;
        command::output(Command::new("cp").args(["--sparse=always", "--reflink=auto"]).arg(template).arg(disk))?;
        match self {
            // Two file systems of one identity cannot be mounted side by side.
            Self::Btrfs => command::output(Command::new("btrfstune").args(["-f", "-m"]).arg(disk)).map(drop),
            Self::Ext4 => Ok(()),
        }
    }

    /// The disk that new ones are copied from: with what a host has written, or with the whole of it.
    pub(crate) fn template(self, cache: &Cache, images: &Images, parts: &str) -> Result<PathBuf> {
        let (name, tenant) = (self.name(), text(&images.tenant)?);
        let key = key([name, tenant, &images.lower, parts, BUILD_DISK]);
        cache.ensure(&format!("{parts}-disk-{name}"), &key, |new| {
            command::build(BUILD_DISK, &[text(new)?, name, tenant, &images.lower, parts])
        })
    }
}

impl std::str::FromStr for Disk {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "btrfs" => Ok(Self::Btrfs),
            "ext4" => Ok(Self::Ext4),
            other => Err(format!("{other} is neither btrfs nor ext4")),
        }
    }
}
