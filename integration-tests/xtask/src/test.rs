//! Every tier of tests: on this machine first, then on test hosts with the package installed.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result};

use crate::tally::Tally;
use crate::workspace::{Workspace, cargo};
use crate::{fuzz, package, root, tools};

/// Crates whose tests boot hosts. Most of their time they wait, so that a small machine takes some at once.
const ON_HOSTS: &[&str] = &["integration-tests", "test-host"];
const HOSTS_AT_ONCE: &str = "4";
/// Crates whose tests boot hosts in virtual machines. Where these are emulated one takes all of a small machine, and nothing else runs.
const ON_MACHINES: &[&str] = &["machine-tests"];
const MACHINES_AT_ONCE: &str = "1";

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Run only tests whose names contain this
    #[arg(long, value_name = "FILTER")]
    only: Option<String>,
    /// Run those in virtual machines too, one after the other: where these are emulated it takes ten minutes
    #[arg(long)]
    machines: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    root::become_root()?;
    test_host::require(tools::DEBIAN)?;
    test_host::require(test_host::FOR_IMAGES)?;
    let workspace = Workspace::find()?;
    let mut skips = tempfile::Builder::new().append(true).tempfile().context("making the list of skips")?;
    let skips_path = skips.path().to_owned();
    let runner = Runner { only: arguments.only.as_deref(), nextest: has_nextest(), skips: &skips_path };

    let elsewhere = [ON_HOSTS, ON_MACHINES].concat().into_iter().filter(|name| workspace.has(name));
    let mut here = vec!["--workspace"];
    here.extend(elsewhere.flat_map(|name| ["--exclude", name]));
    let mut sum = runner.tier(&here, None)?;
    if arguments.only.is_none() {
        sum.add(runner.count(cargo().args(["test", "--workspace", "--no-fail-fast", "--doc"]), None)?);
        sum.add(fuzz::tier()?);
    }

    if workspace.has(package::CRATE) {
        let package = package::build()?;
        test_host::build_images(Some(&package))?;
        let machines = arguments.machines.then_some((ON_MACHINES, MACHINES_AT_ONCE));
        for (crates, at_once) in [(ON_HOSTS, HOSTS_AT_ONCE)].into_iter().chain(machines) {
            let crates: Vec<&str> = crates.iter().flat_map(|name| ["--package", name]).collect();
            sum.add(runner.tier(&crates, Some((&package, at_once)))?);
        }
    } else {
        writeln!(skips, "SKIP everything on test hosts: there is no package yet")?;
    }

    let said = fs::read_to_string(skips.path()).context("reading the list of skips")?;
    let said: Vec<&str> = said.lines().collect();
    for line in &said {
        println!("{line}");
    }
    // A test that skipped itself has passed as far as its runner knows.
    sum.passed = sum.passed.saturating_sub(said.len() as u64);
    sum.skipped += said.len() as u64;
    if sum == Tally::default() {
        println!("no test has this in its name");
    }
    println!("{} passed, {} failed, {} skipped", sum.passed, sum.failed, sum.skipped);
    Ok(if sum.failed == 0 && sum != Tally::default() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// How tests are run: by nextest where it is installed, else by cargo itself.
struct Runner<'a> {
    only: Option<&'a str>,
    nextest: bool,
    skips: &'a Path,
}

impl Runner<'_> {
    /// Runs the tests of the selected crates; on so many hosts at once when there is a package to install there.
    fn tier(&self, crates: &[&str], hosts: Option<(&Path, &str)>) -> Result<Tally> {
        let mut command = cargo();
        let package = hosts.map(|(package, _)| package);
        let mut sum = if self.nextest {
            command.args(["nextest", "run", "--no-fail-fast", "--no-tests=pass"]).args(crates);
            if let Some((_, at_once)) = hosts {
                command.args(["--test-threads", at_once]);
            }
            self.count(command.args(self.only), package)?
        } else {
            command.args(["test", "--no-fail-fast", "--all-targets"]).args(crates).args(self.only);
            if let Some((_, at_once)) = hosts {
                command.args(["--", "--test-threads", at_once]);
            }
            self.count(&mut command, package)?
        };
        if self.only.is_some() {
            // Tests that were not asked for are not skipped.
            sum.skipped = 0;
        }
        Ok(sum)
    }

    fn count(&self, command: &mut Command, package: Option<&Path>) -> Result<Tally> {
        command.env(test_host::SKIPS_VARIABLE, self.skips);
        if let Some(package) = package {
            command.env(test_host::PACKAGE_VARIABLE, package);
        }
        // Each runner sums up on one stream only: libtest on standard output, nextest on the other.
        let libtest = command.get_args().any(|argument| argument == "test");
        let mut child = if libtest { command.stdout(Stdio::piped()) } else { command.stderr(Stdio::piped()) }
            .spawn()
            .context("starting the tests")?;
        let mut sum = match (child.stdout.take(), child.stderr.take()) {
            (Some(stdout), _) => Tally::follow(stdout)?,
            (None, Some(stderr)) => Tally::follow(stderr)?,
            (None, None) => Tally::default(),
        };
        // Tests that do not even compile are one failure.
        if !child.wait()?.success() && sum.failed == 0 {
            sum.failed = 1;
        }
        Ok(sum)
    }
}

fn has_nextest() -> bool {
    cargo().args(["nextest", "--version"]).output().is_ok_and(|output| output.status.success())
}
