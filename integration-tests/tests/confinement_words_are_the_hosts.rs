//! The capabilities and system calls that a repository can name are those that the host's systemd and kernel know.

use anyhow::Result;
use model::security::{CAPABILITIES, Capability, SYSCALL_GROUPS, Syscalls};
use std::collections::BTreeSet;
use test_host::{Host, Package};

#[test]
fn the_words_are_those_of_the_host() -> Result<()> {
    let host = Host::builder("").package(Package::Bare).boot()?;
    let shown = host.succeed("systemd-analyze syscall-filter --no-pager");
    let groups: BTreeSet<&str> = shown.lines().filter(|line| line.starts_with('@')).collect();
    assert_eq!(SYSCALL_GROUPS.into_iter().collect::<BTreeSet<_>>(), groups);
    let members = shown.lines().filter_map(|line| line.strip_prefix("    ")).filter(|line| !line.starts_with('#'));
    let members: BTreeSet<&str> = members.collect();
    assert!(members.contains("openat2") && members.len() > 300, "{} system calls", members.len());
    let refused: Vec<_> = members.iter().filter(|name| name.parse::<Syscalls>().is_err()).collect();
    assert!(refused.is_empty(), "no repository can name {refused:?}");

    let shown = host.succeed("systemd-analyze capability --no-legend --no-pager");
    let known: Vec<String> =
        shown.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_uppercase).collect();
    assert_eq!(CAPABILITIES.as_slice(), known, "in the kernel's order");
    assert!(known.iter().all(|name| name.parse::<Capability>().is_ok()));
    Ok(())
}
