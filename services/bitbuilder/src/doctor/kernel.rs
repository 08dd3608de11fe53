//! What the kernel gives: user namespaces, uids that are nobody else's, controllers for limits, forwarding.

use super::Finding;
use host::confinement;
use model::identity::{Slot, UidRange};
use std::{fs, path::Path};

const CONTROLLERS: [&str; 5] = ["memory", "cpu", "io", "pids", "cpuset"];

/// `held` are the uids of each tenant that this host has.
pub(super) fn all(held: &[(String, UidRange)]) -> Vec<Finding> {
    let read = |path: &str| fs::read_to_string(path).ok();
    let subordinate: Vec<Subordinate> = ["subuid", "subgid"]
        .iter()
        .flat_map(|file| subordinate(file, &read(&format!("/etc/{file}")).unwrap_or_default()))
        .collect();
    vec![
        user_namespaces(
            read("/proc/sys/user/max_user_namespaces").as_deref(),
            Path::new("/proc/self/ns/user").exists(),
        ),
        uids(&subordinate, held),
        inotify(read("/proc/sys/fs/inotify/max_user_instances").as_deref(), held.len()),
        controllers(read("/sys/fs/cgroup/cgroup.controllers").as_deref()),
        modules(confinement::has_selinux(), confinement::has_apparmor()),
        forwarding(read("/proc/sys/net/ipv4/conf/all/forwarding").as_deref()),
    ]
}

fn user_namespaces(most: Option<&str>, known: bool) -> Finding {
    match most.and_then(|most| most.trim().parse::<u64>().ok()) {
        _ if !known => Finding::fail("user namespaces", "this kernel has none", "boot a kernel with CONFIG_USER_NS"),
        Some(0) => {
            Finding::fail("user namespaces", "none may be made", "sysctl --write user.max_user_namespaces=65536")
        }
        Some(most) => Finding::ok("user namespaces", format!("at most {most}")),
        None => {
            Finding::warn("user namespaces", "how many may be made is not known", "sysctl user.max_user_namespaces")
        }
    }
}

/// A line of subuid(5) or subgid(5).
#[derive(Debug, PartialEq, Eq)]
struct Subordinate {
    file: &'static str,
    owner: String,
    range: UidRange,
}

fn subordinate(file: &'static str, text: &str) -> Vec<Subordinate> {
    let line = |line: &str| {
        let mut parts = line.trim().splitn(3, ':');
        let (owner, first, count) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        Some(Subordinate { file, owner: owner.to_owned(), range: UidRange { first, count } })
    };
    text.lines().filter_map(line).collect()
}

fn uids(subordinate: &[Subordinate], held: &[(String, UidRange)]) -> Finding {
    for (tenant, range) in held {
        if let Some(other) = subordinate.iter().find(|other| other.range.overlaps(*range)) {
            let Subordinate { file, owner, range } = other;
            let last = range.first.saturating_add(range.count.saturating_sub(1));
            let (option, name) = if *file == "subuid" { ("uids", "uids") } else { ("gids", "gids") };
            let found = format!("/etc/{file} gives {owner} {name} that belong to tenant {tenant}");
            return Finding::fail("uids", found, format!("usermod --del-sub{option} {}-{last} {owner}", range.first));
        }
    }
    let ranges: Vec<UidRange> = subordinate.iter().map(|other| other.range).collect();
    let free = |slot: &Slot| !ranges.iter().any(|range| range.overlaps(slot.uids()));
    match (0..Slot::COUNT).filter_map(Slot::new).filter(free).count() {
        0 => Finding::fail(
            "uids",
            "/etc/subuid and /etc/subgid leave none for tenants",
            "editor /etc/subuid /etc/subgid",
        ),
        count => Finding::ok("uids", format!("ranges for {count} tenants, {} in use", held.len())),
    }
}

fn controllers(said: Option<&str>) -> Finding {
    let Some(said) = said else {
        let mend = "boot with systemd.unified_cgroup_hierarchy=1";
        return Finding::warn("cgroup controllers", "there is no cgroup v2 here: limits have no effect", mend);
    };
    let there: Vec<&str> = said.split_whitespace().collect();
    let missing: Vec<&str> = CONTROLLERS.into_iter().filter(|name| !there.contains(name)).collect();
    if missing.is_empty() {
        return Finding::ok("cgroup controllers", CONTROLLERS.join(", "));
    }
    let found = format!("{} missing: limits of tenants have no effect on that", missing.join(", "));
    Finding::warn("cgroup controllers", found, "boot without cgroup_disable= and with cgroup_no_v1=all")
}

/// What `tenants` need, each of which has about eight, beside what the host has itself.
fn inotify(most: Option<&str>, tenants: usize) -> Finding {
    let Some(most) = most.and_then(|most| most.trim().parse::<usize>().ok()) else {
        return Finding::warn(
            "inotify",
            "how many instances there may be is not known",
            "sysctl fs.inotify.max_user_instances",
        );
    };
    let enough_for = most.saturating_sub(32) / 8;
    let found = format!("at most {most} instances, which are enough for {enough_for} tenants");
    if enough_for > tenants {
        Finding::ok("inotify", found)
    } else {
        Finding::warn("inotify", found, "sysctl --write fs.inotify.max_user_instances=65536")
    }
}

/// A host may well have neither: user namespaces and system call filters confine tenants everywhere.
fn modules(selinux: bool, apparmor: bool) -> Finding {
    let there: Vec<&str> =
        [("SELinux", selinux), ("AppArmor", apparmor)].iter().filter(|(_, is)| *is).map(|(name, _)| *name).collect();
    if there.is_empty() {
        return Finding::ok("security modules", "neither SELinux nor AppArmor: a context or profile has no effect");
    }
    Finding::ok("security modules", there.join(", "))
}

fn forwarding(said: Option<&str>) -> Finding {
    match said.map(str::trim) {
        Some("1") => Finding::ok("forwarding", "IPv4 is forwarded"),
        Some(_) => {
            let found = "IPv4 is not forwarded: tenants reach nothing and are not reached";
            Finding::fail("forwarding", found, "systemctl restart systemd-networkd.service")
        }
        None => Finding::warn("forwarding", "not known", "sysctl net.ipv4.conf.all.forwarding"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn uids_that_a_tenant_holds_are_nobody_elses() {
        let held = vec![("web".to_owned(), Slot::new(1).unwrap().uids())];
        let lines = |text| subordinate("subuid", text);
        assert_eq!(uids(&lines("me:100000:65536\nbroken\n:x:y\n"), &held).verdict, Verdict::Ok);
        let overlap = uids(&lines("me:1073807360:65536\n"), &held);
        assert_eq!(overlap.mend.unwrap(), "usermod --del-subuids 1073807360-1073872895 me");
        assert_eq!(uids(&lines("me:1073807360:65536\n"), &[]).verdict, Verdict::Ok, "what is free is stepped over");
        assert_eq!(uids(&lines("me:0:4294967295\n"), &[]).verdict, Verdict::Fail);
    }

    #[test]
    fn each_thing_missing_is_named() {
        assert_eq!(controllers(Some("cpuset cpu io memory hugetlb pids\n")).verdict, Verdict::Ok);
        assert!(controllers(Some("cpu pids\n")).found.starts_with("memory, io, cpuset missing"));
        assert_eq!(controllers(None).verdict, Verdict::Warn);
        assert_eq!(inotify(Some("128\n"), 1).verdict, Verdict::Ok);
        assert_eq!(inotify(Some("128\n"), 12).verdict, Verdict::Warn);
        assert_eq!(inotify(None, 0).verdict, Verdict::Warn);
        assert_eq!(modules(true, true).found, "SELinux, AppArmor");
        assert!(modules(false, false).found.contains("no effect"));
        assert_eq!(forwarding(Some("0\n")).verdict, Verdict::Fail);
        assert_eq!(forwarding(Some("1\n")).verdict, Verdict::Ok);
        assert_eq!(user_namespaces(Some("0\n"), true).verdict, Verdict::Fail);
        assert_eq!(user_namespaces(Some("1000\n"), false).verdict, Verdict::Fail);
        assert_eq!(user_namespaces(Some("1000\n"), true).verdict, Verdict::Ok);
    }
}
