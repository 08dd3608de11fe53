//! What this machine's kernel has to confine processes with: security modules, and system calls by the names of systemd.

use crate::command::{Command, CommandError};
use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    fs,
    path::Path,
    str::FromStr,
};

/// Whether SELinux decides here (selinux(8)).
#[must_use]
pub fn has_selinux() -> bool {
    Path::new("/sys/fs/selinux/enforce").exists()
}

/// Whether AppArmor decides here (apparmor(7)).
#[must_use]
pub fn has_apparmor() -> bool {
    fs::read_to_string("/sys/module/apparmor/parameters/enabled").is_ok_and(|enabled| enabled.trim() == "Y")
}

/// The groups of system calls that the host's systemd has (systemd.exec(5), SystemCallFilter=).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SyscallGroups(BTreeMap<String, Vec<String>>);

impl SyscallGroups {
    /// Asks systemd-analyze(1) for them.
    ///
    /// # Errors
    /// It cannot be run, or fails.
    pub async fn look_up() -> Result<Self, CommandError> {
        let shown = Command::new("systemd-analyze").args(["--no-pager", "syscall-filter"]).run().await?;
        let Ok(groups) = shown.parse();
        Ok(groups)
    }

    /// Every system call that is meant by a name: of a group, all that is in it. Nothing if there is no such name here.
    #[must_use]
    pub fn members(&self, name: &str) -> Option<BTreeSet<&str>> {
        if !name.starts_with('@') {
            let known = self.0.values().flatten().find(|known| *known == name);
            return known.map(|known| BTreeSet::from([known.as_str()]));
        }
        self.0.contains_key(name).then(|| {
            let (mut found, mut seen, mut left) = (BTreeSet::new(), BTreeSet::new(), vec![name]);
            while let Some(group) = left.pop() {
                if seen.insert(group) {
                    let (groups, calls): (Vec<&str>, Vec<&str>) = self
                        .0
                        .get(group)
                        .into_iter()
                        .flatten()
                        .map(String::as_str)
                        .partition(|member| member.starts_with('@'));
                    left.extend(groups);
                    found.extend(calls);
                }
            }
            found
        })
    }
}

/// What systemd-analyze(1) prints: a group begins with its name; its members, each of which may be a group, are indented.
impl FromStr for SyscallGroups {
    type Err = Infallible;

    fn from_str(shown: &str) -> Result<Self, Infallible> {
        let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut current = None;
        for line in shown.lines() {
            let word = line.trim();
            if line.starts_with('@') {
                current = Some(word.to_owned());
                groups.entry(word.to_owned()).or_default();
            } else if let Some(group) = current.as_ref().filter(|_| !word.is_empty() && !word.starts_with('#')) {
                groups.entry(group.clone()).or_default().push(word.to_owned());
            }
        }
        Ok(Self(groups))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOWN: &str = "@clock\n    # Change the system time\n    adjtimex\n    settimeofday\n\n@more\n    # More\n    @clock\n    @more\n    read\n\n# Not shown\n";

    #[test]
    fn a_group_is_all_that_is_in_it() {
        let groups = SHOWN.parse::<SyscallGroups>().unwrap();
        assert_eq!(groups.members("@more"), Some(BTreeSet::from(["adjtimex", "settimeofday", "read"])));
        assert_eq!(groups.members("read"), Some(BTreeSet::from(["read"])));
        for nothing in ["raed", "@less", "# Not shown", ""] {
            assert_eq!(groups.members(nothing), None, "{nothing}");
        }
    }
}
