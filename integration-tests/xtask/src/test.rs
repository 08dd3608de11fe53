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

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Run only tests whose names contain this
    #[arg(long, value_name = "FILTER")]
    only: Option<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    root::become_root()?;
    test_host::require(tools::DEBIAN)?;
    test_host::require(test_host::FOR_IMAGES)?;
    let workspace = Workspace::find()?;
    let mut skips = tempfile::Builder::new().append(true).tempfile().context("making the list of skips")?;
    let skips_path = skips.path().to_owned();
    let runner = Runner { only: arguments.only.as_deref(), nextest: has_nextest(), skips: &skips_path };

    let on_hosts: Vec<&str> = ON_HOSTS.iter().copied().filter(|name| workspace.has(name)).collect();
    let mut here = vec!["--workspace"];
    here.extend(on_hosts.iter().flat_map(|name| ["--exclude", name]));
    let mut sum = runner.tier(&here, None)?;
    if arguments.only.is_none() {
        sum.add(runner.count(cargo().args(["test", "--workspace", "--no-fail-fast", "--doc"]), None)?);
        sum.add(fuzz::tier()?);
    }

    if workspace.has(package::CRATE) {
        let package = package::build()?;
        test_host::build_images(Some(&package))?;
        let hosts: Vec<&str> = on_hosts.iter().flat_map(|name| ["--package", name]).collect();
        sum.add(runner.tier(&hosts, Some(&package))?);
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
    /// Runs the tests of the selected crates; on hosts when there is a package to install there.
    fn tier(&self, crates: &[&str], package: Option<&Path>) -> Result<Tally> {
        let mut command = cargo();
        let mut sum = if self.nextest {
            command.args(["nextest", "run", "--no-fail-fast", "--no-tests=pass"]).args(crates);
            if package.is_some() {
                command.args(["--test-threads", HOSTS_AT_ONCE]);
            }
            self.count(command.args(self.only), package)?
        } else {
            command.args(["test", "--no-fail-fast", "--all-targets"]).args(crates).args(self.only);
            if package.is_some() {
                command.args(["--", "--test-threads", HOSTS_AT_ONCE]);
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
