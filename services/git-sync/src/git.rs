//! Git's own program, for what gix does not do: with bounds on its memory, no hooks, and nobody to ask.

use std::{
    path::Path,
    process::{Command, Stdio},
};

/// What bounds its memory, whatever is in the packs.
const BOUNDS: [&str; 8] = [
    "pack.threads=1",
    "pack.windowMemory=32m",
    "pack.deltaCacheSize=16m",
    "core.bigFileThreshold=8m",
    "core.packedGitWindowSize=8m",
    "core.packedGitLimit=64m",
    "core.deltaBaseCacheLimit=32m",
    "core.hooksPath=/dev/null",
];

/// `git` on a repository.
pub(crate) fn git(repository: &Path) -> Command {
    // This process is a bounded child with a deadline of its own, and what it starts shares both.
    #[allow(clippy::disallowed_methods)]
    let mut git = Command::new("git");
    git.arg("--git-dir").arg(repository).args(BOUNDS.iter().flat_map(|set| ["-c", set])).stdin(Stdio::null());
    git
}

/// What it said first, in one line that may be shown.
pub(crate) fn said(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).take(3).collect();
    model::text::printable(&lines.join(" / ")).chars().take(300).collect()
}
