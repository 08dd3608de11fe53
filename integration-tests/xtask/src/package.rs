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
pub(crate) const TESTING: &[&str] = &["integration-tests", "test-host", "xtask"];

/// Builds the package and gives its path.
pub(crate) fn build() -> Result<PathBuf> {
    let workspace = Workspace::find()?;
    ensure!(workspace.has(CRATE), "the workspace has no crate {CRATE}, which says what the package holds");
    let folder = workspace.target.join("debian");
    let (stamp, key) = (folder.join("made-from"), source_key(&workspace.root)?);
    if let Some(package) = made(&stamp, &key) {
        return Ok(package);
    }
    if rustix::process::geteuid().is_root() {
        test_host::require(tools::DEBIAN)?;
    }
    let cargo_deb = CARGO_DEB.ensure()?;
    let mut compile = cargo();
    compile.args(["build", "--release", "--workspace", "--bins"]);
    for name in TESTING.iter().filter(|name| workspace.has(name)) {
        compile.args(["--exclude", name]);
    }
    succeed(&mut compile)?;
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    let mut command = Command::new(cargo_deb);
    command.args(["--package", CRATE, "--no-build", "--quiet", "--output"]).arg(folder.join("bitbuilder.deb"));
    // It says where it wrote to, which is ours to say.
    succeed(command.current_dir(&workspace.root).stdout(Stdio::null()))?;
    let package = folder.join("bitbuilder.deb");
    fs::write(&stamp, format!("{key}\n{}\n", package.display())).context("recording what the package is made from")?;
    Ok(package)
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
