//! Boots a plain host of the given name in a virtual machine and waits in it: an owner for the tests to kill.

use anyhow::{Context as _, Result};
use test_host::{Host, Package, VirtualMachine};

fn main() -> Result<()> {
    let name = std::env::args().nth(1).context("the host's name is missing")?;
    let machine = VirtualMachine::default();
    let host = Host::builder(&name).package(Package::Bare).virtual_machine(machine).boot()?;
    let code = host.relay(&["sh", "-c", "echo up; exec sleep infinity"], None)?;
    anyhow::bail!("the command ended with {code}")
}
