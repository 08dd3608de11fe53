//! The parsers of other people's words, fed by libFuzzer with whatever reaches more of their code. Built by the stable
//! toolchain: coverage is a pass of LLVM's that any rustc can be told to run.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail, ensure};

use crate::tally::Tally;
use crate::workspace::{Workspace, cargo, succeed};

const FOLDER: &str = "integration-tests/fuzz";
const REFUSED: &str = "services/shared/model/tests/refused";

/// A target, how many inputs it is fed in a run that has to be short, and which wrong files it begins with besides its corpus.
struct Target(&'static str, u32, &'static [&'static str]);

const TARGETS: [Target; 9] = [
    Target("metadata", 15_000, &["metadata", "admission"]),
    Target("config", 8_000, &["config", "system-config"]),
    Target("registry", 8_000, &["registry"]),
    Target("signers", 30_000, &["signers"]),
    Target("secrets", 8_000, &["secrets"]),
    Target("words", 8_000, &[]),
    Target("release", 100_000, &[]),
    Target("claims", 200_000, &[]),
    Target("boot", 30_000, &[]),
];
/// What rustc passes on to LLVM, as `cargo fuzz --sanitizer=none` does.
const COVERAGE: [&str; 6] = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=3",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Which parser; all, one after the other, if none is named
    target: Option<String>,
    /// For how long each; without it a fixed number of inputs, the same each time
    #[arg(long = "for", value_name = "SECONDS")]
    seconds: Option<u32>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let named = |target: &&Target| arguments.target.as_deref().is_none_or(|name| name == target.0);
    let targets: Vec<_> = TARGETS.iter().filter(named).collect();
    let known: Vec<&str> = TARGETS.iter().map(|target| target.0).collect();
    ensure!(!targets.is_empty(), "there is no such target; there are {}", known.join(", "));
    let fuzzer = Fuzzer::build()?;
    for target in targets {
        let limit = match arguments.seconds {
            Some(seconds) => format!("-max_total_time={seconds}"),
            None => format!("-runs={}", target.1),
        };
        fuzzer.run(target, &limit)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A short run of every target, each of which counts as one test.
pub(crate) fn tier() -> Result<Tally> {
    let fuzzer = Fuzzer::build()?;
    let mut tally = Tally::default();
    for target in &TARGETS {
        match fuzzer.run(target, &format!("-runs={}", target.1)) {
            Ok(()) => tally.passed += 1,
            Err(error) => {
                eprintln!("error: {error:#}");
                tally.failed += 1;
            }
        }
    }
    Ok(tally)
}

struct Fuzzer {
    root: PathBuf,
    folder: PathBuf,
    built: PathBuf,
    programs: PathBuf,
}

impl Fuzzer {
    fn build() -> Result<Self> {
        let workspace = Workspace::find()?;
        let (folder, built) = (workspace.root.join(FOLDER), workspace.target.join("fuzz"));
        if rustix::process::geteuid().is_root() {
            test_host::require(&["g++"])?;
        }
        let host = host()?;
        let mut build = cargo();
        // With a target named, build scripts and macros are not instrumented.
        build.args(["build", "--quiet", "--release", "--locked", "--target", &host, "--manifest-path"]);
        build.arg(folder.join("Cargo.toml")).env("CARGO_TARGET_DIR", &built).env("RUSTFLAGS", COVERAGE.join(" "));
        succeed(&mut build)?;
        Ok(Self { programs: built.join(host).join("release"), root: workspace.root, folder, built })
    }

    /// Feeds one target. What made it fail is kept beside the programs.
    fn run(&self, Target(target, _, refused): &Target, limit: &str) -> Result<()> {
        // What is new is forgotten: a run is the same each time only if it begins with the same.
        let new = tempfile::tempdir().context("making a folder for new inputs")?;
        let failing = self.built.join("failing").join(target);
        std::fs::create_dir_all(&failing).with_context(|| format!("creating {}", failing.display()))?;
        let mut command = Command::new(self.programs.join(target));
        command.args([limit, "-seed=1", "-max_len=4096", "-timeout=10", "-rss_limit_mb=1024", "-print_final_stats=1"]);
        command.args(["-verbosity=0", "-close_fd_mask=1"]);
        command.arg(format!("-artifact_prefix={}/", failing.display()));
        command.arg(format!("-dict={}", self.folder.join("words.dict").display()));
        command.arg(new.path()).arg(self.folder.join("corpus").join(target));
        command.args(refused.iter().map(|kind| self.root.join(REFUSED).join(kind)));
        let output = command.output().with_context(|| format!("starting {target}"))?;
        let said = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            bail!("the fuzz target {target} failed; its input is below {}\n{said}", failing.display());
        }
        let executed = said.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
        let executed = executed.with_context(|| format!("{target} does not say what it did:\n{said}"))?.trim();
        println!("fuzz {target}: {executed} inputs, none of which made it fail");
        Ok(())
    }
}

/// What this machine's programs are compiled for.
fn host() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").output().context("asking rustc what it compiles for")?;
    let said = String::from_utf8_lossy(&output.stdout);
    said.lines().find_map(|line| line.strip_prefix("host: ")).map(str::to_owned).context("rustc does not say its host")
}

/// What `cargo fmt` checks of the targets, which are in a workspace of their own.
pub(crate) fn manifest(root: &Path) -> PathBuf {
    root.join(FOLDER).join("Cargo.toml")
}
