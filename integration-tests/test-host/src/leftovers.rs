//! Whether anything of a host is left on the machine: for the tests of test hosts.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use rustix::event::PollFlags;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use crate::host::Host;
use crate::inside::Running;
use crate::notify::await_any;
use crate::rundir;

/// Everything that a host owns on the machine and that bears its name.
pub fn traces(name: &str) -> Result<Vec<String>> {
    let find = "losetup --all; cat /proc/mounts; ls -d /run/bitbuilder-testhost/* /var/tmp/bitbuilder-testhost/*; \
                find /sys/fs/cgroup -name '*testhost*'; ps -eo args";
    let output = Command::new("sh").args(["-c", find]).stderr(Stdio::null()).output().context("looking around")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let ends = |line: &&str| {
        line.split(['/', ' ', ')', '=', ',']).any(|word| word == name || word == format!("bitbuilder-testhost-{name}"))
    };
    Ok(text.lines().filter(ends).map(str::to_owned).collect())
}

/// Ends a host, and makes sure that something of it was there before and nothing is afterwards.
pub fn leave(host: Host, orderly: bool) -> Result<()> {
    let name = host.name().to_owned();
    ensure!(!traces(&name)?.is_empty(), "nothing bears the name of the host, so that nothing would be found of it");
    if orderly {
        host.stop()?;
    } else {
        drop(host);
    }
    let left = traces(&name)?;
    ensure!(left.is_empty(), "orderly: {orderly}; this is left: {left:?}");
    Ok(())
}

/// Starts an owner of the host of this name, waits until it says that this is up, kills it, and waits until the host has ended.
pub fn kill_owner(owner: &mut Command, name: &str) -> Result<()> {
    let mut owner = owner.stdout(Stdio::piped()).spawn().context("starting the owner")?;
    let mut line = String::new();
    BufReader::new(owner.stdout.take().context("the owner has no output")?).read_line(&mut line)?;
    ensure!(line == "up\n", "the owner says {line:?}");
    let host = Running::find(name)?;
    let first = Pid::from_raw(host.pid()?.cast_signed()).context("the host has no first process")?;
    let first = pidfd_open(first, PidfdFlags::empty()).context("watching the host")?;
    kill_process(Pid::from_child(&owner), Signal::KILL).context("killing the owner")?;
    owner.wait().context("waiting for the owner")?;
    await_any(&[(&first, PollFlags::IN)], None)?;
    // The supervisor may be at it still: whoever comes next takes the rest.
    host.destroy()?;
    rundir::sweep()
}
