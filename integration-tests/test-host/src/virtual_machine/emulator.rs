//! The emulator, and whether the processor helps it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::cache::key;
use crate::command;
use crate::images::text;
use crate::rundir;

const PROBE: &str = include_str!("../../scripts/probe-kvm.sh");

/// A tree with an emulator, and how it runs here.
#[derive(Debug, Clone)]
pub(crate) struct Emulator {
    pub(crate) tree: PathBuf,
    pub(crate) accelerator: Accelerator,
}

/// How guest code is executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accelerator {
    /// By the processor.
    Kvm,
    /// By translation.
    Tcg,
}

impl Accelerator {
    /// The emulator's words for it.
    pub(crate) fn arguments(self) -> [&'static str; 4] {
        match self {
            Self::Kvm => ["-accel", "kvm", "-cpu", "host"],
            // Nested virtualisation and five levels of page tables only cost time.
            Self::Tcg => ["-accel", "tcg,thread=multi", "-cpu", "max,svm=off,la57=off"],
        }
    }

    /// Tried once for each boot of the machine.
    fn choose(tree: &Path, boot: &Path) -> Result<Self> {
        let (tree, boot) = (text(tree)?, text(boot)?);
        let verdict = rundir::shared(&format!("accelerator-{}", key([tree, boot, PROBE])))?;
        match fs::read_to_string(&verdict).unwrap_or_default().as_str() {
            "kvm" => return Ok(Self::Kvm),
            "tcg" => return Ok(Self::Tcg),
            _ => {}
        }
        let works = Path::new("/dev/kvm").exists() && command::build(PROBE, &[tree, boot]).is_ok();
        if !works {
            eprintln!("no kernel comes up with KVM on this machine: processors of virtual machines are emulated");
        }
        fs::write(&verdict, if works { "kvm" } else { "tcg" })
            .with_context(|| format!("writing {}", verdict.display()))?;
        Ok(if works { Self::Kvm } else { Self::Tcg })
    }
}

impl Emulator {
    pub(crate) fn of(tree: PathBuf, boot: &Path) -> Result<Self> {
        let accelerator = Accelerator::choose(&tree, boot)?;
        Ok(Self { tree, accelerator })
    }
}
