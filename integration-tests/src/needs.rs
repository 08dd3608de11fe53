//! What a test needs of its host, and the tier of hosts that has it: the one place that knows which is which.

use anyhow::Result;
use test_host::{Builder, Bytes, Firmware, Host, VirtualMachine};

/// Something that not every host has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Memory is limited, and counted.
    MemoryController,
    /// Processes and threads are limited.
    TasksController,
    /// Processor time is limited and shared, and processors are assigned.
    ProcessorControllers,
    /// Input and output are limited and shared, on a disk of the host's own.
    IoController,
    /// systemd-oomd runs, and hears of memory pressure.
    MemoryPressure,
    /// The device mapper, with dm-crypt and dm-verity.
    DeviceMapper,
    /// IEEE 802.1Q VLANs.
    Vlan,
    /// WireGuard tunnels.
    WireGuard,
    /// An empty disk of this size beside the host's own; several times for several.
    Disk(Bytes),
    /// A TPM 2.
    Tpm,
    /// UEFI firmware that starts the host.
    Firmware,
    /// A power cut loses what the kernel had not written.
    PowerCut,
}

/// Where a test runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tier {
    /// On a host in namespaces: many at once, in a second.
    Namespaces,
    /// On a host in this virtual machine.
    VirtualMachine(VirtualMachine),
}

impl Tier {
    /// The cheapest one that has all of this.
    #[must_use]
    pub fn for_needs(needs: &[Need]) -> Self {
        if needs.is_empty() {
            return Self::Namespaces;
        }
        let mut machine = VirtualMachine::default();
        for need in needs {
            match need {
                // The kernel that namespaces share has its controllers taken by the machine's own services, and gives no namespace
                // its device mapper, links of these kinds or devices.
                Need::MemoryController
                | Need::TasksController
                | Need::ProcessorControllers
                | Need::IoController
                | Need::MemoryPressure
                | Need::DeviceMapper
                | Need::Vlan
                | Need::WireGuard
                | Need::PowerCut => {}
                Need::Disk(size) => machine.disks.push(*size),
                Need::Tpm => machine.tpm = true,
                Need::Firmware => machine.firmware = Firmware::Uefi,
            }
        }
        Self::VirtualMachine(machine)
    }

    /// A host of this tier, to be booted.
    #[must_use]
    pub fn host(self) -> Builder {
        match self {
            Self::Namespaces => Host::builder(""),
            Self::VirtualMachine(machine) => Host::builder("").virtual_machine(machine),
        }
    }
}

/// A host that has what a test needs, to be booted. None if this machine can have none: that is a skip, which is said and counted,
/// and the test returns.
///
/// # Errors
/// It cannot be found out.
pub fn host_with(needs: &[Need]) -> Result<Option<Builder>> {
    let tier = Tier::for_needs(needs);
    if let Tier::VirtualMachine(machine) = &tier
        && let Some(reason) = machine.impossible()?
    {
        test_host::skip(&format!("it needs {needs:?}, and {reason}"));
        return Ok(None);
    }
    Ok(Some(tier.host()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_runs_where_its_needs_are_met() {
        assert_eq!(Tier::for_needs(&[]), Tier::Namespaces);
        let plain = Tier::VirtualMachine(VirtualMachine::default());
        assert_eq!(Tier::for_needs(&[Need::MemoryController, Need::Vlan]), plain);
        let disk = Bytes(1 << 20);
        let whole = VirtualMachine {
            disks: vec![disk, disk],
            tpm: true,
            firmware: Firmware::Uefi,
            ..VirtualMachine::default()
        };
        let needs = [Need::Disk(disk), Need::Tpm, Need::Disk(disk), Need::Firmware];
        assert_eq!(Tier::for_needs(&needs), Tier::VirtualMachine(whole));
    }
}
