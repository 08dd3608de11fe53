//! Commands on the machine: the result is the output or an error with everything needed to understand it.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// Runs a command to its end and gives its standard output; a failure carries the end of what it said.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let shown = format!("{:?}", command.get_program());
    let out = command.stdin(Stdio::null()).output().with_context(|| format!("starting {shown}"))?;
    if !out.status.success() {
        let said = [out.stdout, out.stderr].concat();
        bail!("{shown} failed, {}:\n{}", out.status, tail(&String::from_utf8_lossy(&said), 40));
    }
    String::from_utf8(out.stdout).with_context(|| format!("reading what {shown} printed"))
}

/// Runs a build script as root of its own mount and pid namespace: when it ends, or its caller does, no process and no mount is left.
pub(crate) fn build(script: &str, arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "private", "--pid", "--fork"]);
    command.args(["--kill-child=SIGKILL", "--mount-proc", "bash", "-euo", "pipefail", "-c", script, "build"]);
    command.args(arguments).env("PATH", PATH).env("LC_ALL", "C.UTF-8");
    output(&mut command).map(drop)
}

/// Where system commands are, whatever the caller's shell has made of it.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The last lines of a text.
pub(crate) fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.trim_end().lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
