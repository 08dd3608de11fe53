//! A host in a virtual machine, for what the kernel of the machine below does not let a namespace do: limits that are enforced, devices
//! of its own, a firmware and a TPM. It has the same packages, and the same one of ours, as a host in namespaces.

mod arguments;
mod boot;
mod commands;
mod emulator;
mod images;
mod monitor;
mod session;

use std::fmt;
use std::str::FromStr;

use anyhow::{Context as _, Result};

pub(crate) use boot::{Plan, after_reset, boot, cut_power};
pub(crate) use commands::{feed, relay};

/// So many disks find a free slot.
const SLOTS: usize = 4;
/// So many commands can run at a time.
const PORTS: usize = 8;

/// What a virtual machine is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtualMachine {
    /// Its memory.
    pub memory: Bytes,
    /// What starts its kernel.
    pub firmware: Firmware,
    /// Whether it has a TPM 2.
    pub tpm: bool,
    /// Empty disks beside its own: `/dev/disk/by-id/virtio-disk0` and so on.
    pub disks: Vec<Bytes>,
}

impl Default for VirtualMachine {
    fn default() -> Self {
        Self { memory: Bytes(2 << 30), firmware: Firmware::Direct, tpm: false, disks: Vec::new() }
    }
}

impl VirtualMachine {
    /// Why this machine can have none like this, if it cannot.
    pub fn impossible(&self) -> Result<Option<String>> {
        let text = std::fs::read_to_string("/proc/meminfo").context("reading how much memory there is")?;
        let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
        let free: u64 = line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default();
        Ok(self.reason(std::env::consts::ARCH, free << 10))
    }

    fn reason(&self, architecture: &str, free: u64) -> Option<String> {
        if architecture != "x86_64" {
            return Some(format!("virtual machines are made for x86_64 only, and this machine is {architecture}"));
        }
        // The emulator itself takes some.
        let wanted = self.memory.0 + self.memory.0 / 4;
        (free < wanted)
            .then(|| format!("a virtual machine takes {} MiB of memory, {} are free", wanted >> 20, free >> 20))
    }

    /// Whether its boot can be taken from a state that was saved. What a TPM measured and a firmware left belongs to one machine.
    fn restorable(&self) -> bool {
        self.firmware == Firmware::Direct && !self.tpm
    }
}

/// What starts the kernel of a virtual machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Firmware {
    /// The emulator, in no time.
    #[default]
    Direct,
    /// UEFI, by a boot loader and a unified kernel image, as on a host of metal.
    Uefi,
}

impl FromStr for Firmware {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "direct" => Ok(Self::Direct),
            "uefi" => Ok(Self::Uefi),
            other => Err(format!("{other} is neither direct nor uefi")),
        }
    }
}

/// A size as people write it: 512M, 2G.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bytes(pub u64);

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unit = [("M", 20), ("G", 30)].into_iter();
        let (number, shift) =
            unit.filter_map(|(unit, shift)| Some((text.strip_suffix(unit)?, shift))).next().unwrap_or((text, 0));
        let size =
            number.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift)).filter(|size| *size > 0);
        size.map(Self).ok_or_else(|| format!("{text} is no size, as 512M or 2G"))
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        assert_eq!("2G".parse(), Ok(Bytes(2 << 30)));
        assert_eq!("512M".parse(), Ok(Bytes(512 << 20)));
        assert_eq!("4096".parse(), Ok(Bytes(4096)));
        for wrong in ["", "G", "0M", "2GG", "-1", "99999999999G", "btrfs"] {
            assert!(wrong.parse::<Bytes>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_machine_that_cannot_be_says_why() {
        let machine = VirtualMachine::default();
        assert_eq!(machine.reason("x86_64", 4 << 30), None);
        assert!(machine.reason("riscv64", 4 << 30).unwrap().contains("riscv64"));
        assert!(machine.reason("x86_64", 2 << 30).unwrap().contains("2560 MiB"));
    }

    #[test]
    fn what_was_measured_is_not_restored() {
        assert!(VirtualMachine::default().restorable());
        assert!(VirtualMachine { disks: vec![Bytes(1 << 20)], ..VirtualMachine::default() }.restorable());
        assert!(!VirtualMachine { tpm: true, ..VirtualMachine::default() }.restorable());
        assert!(!VirtualMachine { firmware: Firmware::Uefi, ..VirtualMachine::default() }.restorable());
    }
}
