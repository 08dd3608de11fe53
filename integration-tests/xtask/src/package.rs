//! The Debian package of the product, built again only when something it is made of has changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use test_host::key;

use crate::tools::{self, CARGO_DEB};
use crate::workspace::{Workspace, cargo, succeed};

/// The crate with the metadata of the package.
pub(crate) const CRATE: &str = "bitbuilder";
/// Crates that are no part of the product.
pub(crate) const TESTING: &[&str] = &["integration-tests", "machine-tests", "test-host", "xtask"];

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Compile without optimisation, which is faster to make
    #[arg(long)]
    debug: bool,
    /// Also put it here
    #[arg(long, value_name = "DEB")]
    output: Option<PathBuf>,
}

/// Builds the package as the command line says and prints its path.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let profile = if arguments.debug { Profile::Debug } else { Profile::Release };
    let package = build_as(profile)?;
    let package = match &arguments.output {
        Some(output) => {
            fs::copy(&package, output).with_context(|| format!("writing {}", output.display()))?;
            output.clone()
        }
        None => package,
    };
    println!("{}", package.display());
    Ok(())
}

/// How it is compiled.
#[derive(Debug, Clone, Copy)]
enum Profile {
    Debug,
    Release,
}

/// Builds the package and gives its path.
pub(crate) fn build() -> Result<PathBuf> {
    build_as(Profile::Release)
}

fn build_as(profile: Profile) -> Result<PathBuf> {
    let workspace = Workspace::find()?;
    ensure!(workspace.has(CRATE), "the workspace has no crate {CRATE}, which says what the package holds");
    let (folder, compiled, name) = match profile {
        Profile::Debug => (workspace.target.join("debian/debug"), workspace.target.join("debug"), "dev"),
        Profile::Release => (workspace.target.join("debian"), workspace.target.join("release"), "release"),
    };
    let (stamp, key) = (folder.join("made-from"), source_key(&workspace.root)?);
    if let Some(package) = made(&stamp, &key) {
        return Ok(package);
    }
    if rustix::process::geteuid().is_root() {
        test_host::require(tools::DEBIAN)?;
    }
    let cargo_deb = CARGO_DEB.ensure()?;
    let mut compile = cargo();
    compile.args(["build", "--profile", name, "--workspace", "--bins"]);
    for name in TESTING.iter().filter(|name| workspace.has(name)) {
        compile.args(["--exclude", name]);
    }
    succeed(&mut compile)?;
    pages(&compiled)?;
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    let mut command = Command::new(cargo_deb);
    command.args(["--package", CRATE, "--no-build", "--quiet", "--profile", name]);
    if matches!(profile, Profile::Debug) {
        command.args(["--no-strip", "--fast"]);
    }
    command.arg("--output").arg(folder.join("bitbuilder.deb"));
    // It says where it wrote to, which is ours to say.
    succeed(command.current_dir(&workspace.root).stdout(Stdio::null()))?;
    let package = folder.join("bitbuilder.deb");
    fs::write(&stamp, format!("{key}\n{}\n", package.display())).context("recording what the package is made from")?;
    Ok(package)
}

/// The manual's pages and what shells complete, said by the command that they are for.
fn pages(compiled: &Path) -> Result<()> {
    let (command, pages) = (compiled.join(CRATE), compiled.join("pages"));
    if pages.exists() {
        // A word that is gone has left its page.
        fs::remove_dir_all(&pages).with_context(|| format!("removing {}", pages.display()))?;
    }
    output(Command::new(&command).arg("man").arg(pages.join("man1")))?;
    for (shell, file) in [("bash", "bitbuilder"), ("zsh", "_bitbuilder"), ("fish", "bitbuilder.fish")] {
        let folder = pages.join(shell);
        fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
        let script = output(Command::new(&command).args(["completion", shell]))?;
        fs::write(folder.join(file), script).with_context(|| format!("writing {file}"))?;
    }
    Ok(())
}

/// The package that the stamp says was made from these very sources.
fn made(stamp: &Path, key: &str) -> Option<PathBuf> {
    let text = fs::read_to_string(stamp).ok()?;
    let (made_from, package) = text.trim_end().split_once('\n')?;
    let package = PathBuf::from(package);
    (made_from == key && package.exists()).then_some(package)
}

/// The key of every file that can get into the package, committed or not, and of the compiler.
fn source_key(root: &Path) -> Result<String> {
    let listed = output(Command::new("git").current_dir(root).args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]))?;
    let mut files: Vec<&[u8]> =
        listed.split(|byte| *byte == 0).filter(|file| !file.starts_with(b"integration-tests/")).collect();
    files.sort_unstable();
    files.dedup();
    let mut parts = vec![output(Command::new("rustc").arg("--version"))?];
    for file in files.into_iter().filter(|file| !file.is_empty()) {
        let path = root.join(std::str::from_utf8(file).context("a file name is not UTF-8")?);
        parts.push(file.to_vec());
        // A file that Git still lists and that is gone counts as empty.
        parts.push(if path.is_file() {
            fs::read(&path).with_context(|| format!("reading {}", path.display()))?
        } else {
            Vec::new()
        });
    }
    Ok(key(parts))
}

fn output(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.output().with_context(|| format!("starting {:?}", command.get_program()))?;
    ensure!(output.status.success(), "{:?}: {}", command.get_program(), String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout)
}
