//! Boots a plain host of the given name and waits in it: an owner for the tests to kill.

use anyhow::{Context as _, Result, ensure};
use test_host::{Host, Package};

fn main() -> Result<()> {
    let name = std::env::args().nth(1).context("the host's name is missing")?;
    let host = Host::builder(&name).package(Package::Bare).boot()?;
    let status = host.command(&["sh", "-c", "echo up; exec sleep infinity"])?.status()?;
    ensure!(status.success(), "{status}");
    Ok(())
}
