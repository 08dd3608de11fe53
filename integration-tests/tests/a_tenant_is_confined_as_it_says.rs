//! What confines a tenant, seen from inside and from the kernel: its capabilities, its system calls, its user namespace and
//! what it may take of the kernel.

use anyhow::{Result, ensure};
use integration_tests::{Registration, Repository, Scene, manifest};
use serde_json::{Value, json};
use test_host::Host;

/// Inside, each line is something that must not work.
const FORBIDDEN: [(&str, &str); 9] = [
    ("a setting of the host's kernel", "echo x >/proc/sys/kernel/core_pattern"),
    ("the same after a mount over it", "mount -o remount,rw /proc/sys; echo x >/proc/sys/kernel/core_pattern"),
    (
        "a setting in a proc of its own",
        "mkdir -p /tmp/p; mount -t proc p /tmp/p; echo x >/tmp/p/sys/kernel/core_pattern",
    ),
    (
        "more of the kernel than its bound",
        "mount -o remount,rw /proc/sys; echo 9999 >/proc/sys/user/max_inotify_instances",
    ),
    ("a device of the host's", "mknod /tmp/disk b 7 0 && head -c1 /tmp/disk"),
    ("a file system on a device", "mkdir -p /tmp/m; mount -t btrfs /dev/loop0 /tmp/m"),
    ("a module of the kernel", "perl -e 'my $words = \"\"; syscall(313, 0, $words, 0); exit($! == 1 ? 1 : 0)'"),
    ("another tenant's data", "find / -xdev -name secret-of-db -print | grep -q ."),
    ("the host's state", "test -e /var/lib/bitbuilder || test -e /proc/1/root/var/lib/bitbuilder"),
];

fn inside(scene: &Scene, tenant: &str, script: &str) -> Result<(i32, String)> {
    scene.host.write("/run/inside.sh", script)?;
    let output = scene
        .host
        .sh(&format!("systemd-run -M {tenant} --wait --pipe --quiet sh -c \"$(cat /run/inside.sh)\" 2>&1"))?;
    Ok((output.code, output.stdout))
}

fn commit(repository: &Repository<'_>, name: &str, security: &Value) -> Result<String> {
    repository.commit("Security", &[("metadata.json", &manifest(name, &[], &json!({ "security": security })))])
}

fn status_of(scene: &Scene, tenant: &str) -> Result<String> {
    scene.must(&format!("cat /proc/$(machinectl show {tenant} --property=Leader --value)/status"))
}

fn field(status: &str, name: &str) -> String {
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.trim_start_matches(':').trim().to_owned()
}

fn bounding(status: &str) -> Result<u64> {
    Ok(u64::from_str_radix(&field(status, "CapBnd"), 16)?)
}

#[test]
fn a_tenant_is_confined_as_it_says() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    let limits = json!({ "capabilities": ["CAP_SYS_TIME"], "syscalls": ["@clock"], "selinux": ["svirt_t"] });
    let (web, db) = (scene.repository("web")?, scene.repository("db")?);
    commit(&web, "web", &json!({}))?;
    commit(&db, "db", &json!({}))?;
    let registered = |name: &str| Registration { name: name.to_owned(), limits: limits.clone() };
    scene.follow(&[registered("web"), registered("db")])?;
    ensure!(scene.bitbuilder(&["sync", "--wait"])?.code == 0, "{:#}", scene.status("web")?);
    scene.must("echo x >/var/lib/tenants/db/data/secret-of-db")?;
    what_confines_everybody(&scene)?;
    one_that_takes_all_disturbs_nobody(&scene)?;
    what_is_asked_for_is_in_effect(&scene, &web)?;
    what_may_not_be_asked_for_is_refused(&scene, &web)?;
    what_cannot_run_goes_back(&scene, &web)
}

fn what_confines_everybody(scene: &Scene) -> Result<()> {
    assert_eq!(scene.must("systemctl -M web is-system-running --wait")?.trim(), "running");
    let status = status_of(scene, "web")?;
    assert_eq!((field(&status, "Seccomp"), field(&status, "NoNewPrivs")), ("2".to_owned(), "0".to_owned()));
    // CAP_SYS_MODULE, CAP_SYS_RAWIO, CAP_SYS_RESOURCE, CAP_SYS_TIME.
    let refused = [16u64, 17, 24, 25].iter().fold(0, |mask, bit| mask | 1 << bit);
    assert_eq!(bounding(&status)? & refused, 0, "{status}");
    let same = scene.must(
        "leader=$(machinectl show web --property=Leader --value); for kind in user mnt pid net ipc uts cgroup; do test $(readlink /proc/$leader/ns/$kind) = $(readlink /proc/1/ns/$kind) && echo $kind; done; cat /proc/$leader/uid_map",
    )?;
    let map: Vec<&str> = same.split_whitespace().collect();
    assert!(map.len() == 3 && map[0] == "0" && map[2] == "65536", "shared with the host: {same}");
    for (what, script) in FORBIDDEN {
        let (code, said) = inside(scene, "web", script)?;
        assert_ne!(code, 0, "it has {what}: {said}");
    }
    let pattern = scene.must("cat /proc/sys/kernel/core_pattern")?;
    assert_ne!(pattern.trim(), "x");
    Ok(())
}

/// The kernel counts what a tenant has as the host root's, of whom all tenants are.
fn one_that_takes_all_disturbs_nobody(scene: &Scene) -> Result<()> {
    let most: usize = scene.must("cat /proc/sys/fs/inotify/max_user_instances")?.trim().parse()?;
    let take = "exec 2>&1; perl -e 'use strict; my $n = 0; while (1) { my $fd = syscall(294, 0); last if $fd < 0; $n++ } print \"$n $!\\n\"; '; cat /proc/sys/user/max_inotify_instances";
    let (_, said) = inside(scene, "web", take)?;
    let taken: usize = said.split_whitespace().next().unwrap_or_default().parse()?;
    assert!(said.contains("Too many open files") && taken < 64 && taken < most, "{said}");
    assert_eq!(said.lines().last(), Some("64"), "{said}");
    // While one holds all that it can have, the host and another tenant have what they need.
    scene
        .host
        .write("/run/hold.sh", "perl -e '$| = 1; while (syscall(294, 0) >= 0) {} print \"full\\n\"; sleep 1000'")?;
    scene.must("systemd-run -M web --unit=hold --quiet sh -c \"$(cat /run/hold.sh)\"; timeout 20 sh -c 'until journalctl -M web -u hold -o cat | grep -q full; do systemctl -M web is-active --quiet hold; done'")?;
    let (code, said) = inside(scene, "db", "perl -e 'exit(syscall(294, 0) >= 0 ? 0 : 1)'")?;
    assert_eq!(code, 0, "{said}");
    scene.must("perl -e 'exit(syscall(294, 0) >= 0 ? 0 : 1)' && bitbuilder sync db --wait")?;
    scene.must("systemctl -M web stop hold").map(drop)
}

fn what_is_asked_for_is_in_effect(scene: &Scene, web: &Repository<'_>) -> Result<()> {
    let asked = json!({
        "capabilities": ["CAP_SYS_TIME"],
        "syscalls": { "allow": ["@clock"], "deny": ["@keyring", "sethostname"] },
        "no_new_privileges": true,
        "selinux_context": "svirt_t",
    });
    commit(web, "web", &asked)?;
    ensure!(scene.sync("web")?.code == 0, "{:#}", scene.status("web")?);
    assert_eq!(scene.must("systemctl -M web is-system-running --wait")?.trim(), "running");
    let status = status_of(scene, "web")?;
    assert_eq!((field(&status, "Seccomp"), field(&status, "NoNewPrivs")), ("2".to_owned(), "1".to_owned()));
    assert_ne!(bounding(&status)? & (1 << 25), 0, "CAP_SYS_TIME was allowed: {status}");
    let (_, said) = inside(scene, "web", "perl -e 'my $name = \"x\"; syscall(170, $name, 1); print \"$!\\n\"'")?;
    assert!(said.contains("not permitted"), "sethostname: {said}");
    assert_eq!(inside(scene, "web", "perl -e 'exit(syscall(39) > 0 ? 0 : 1)'")?.0, 0, "getpid");
    // The test host's kernel has no SELinux.
    assert_eq!(scene.status("web")?["notInEffect"], json!(["security.selinux_context"]));
    Ok(())
}

fn what_may_not_be_asked_for_is_refused(scene: &Scene, web: &Repository<'_>) -> Result<()> {
    for (more, word) in [
        (json!({ "capabilities": ["CAP_SYS_MODULE"] }), "CAP_SYS_MODULE"),
        (json!({ "syscalls": { "allow": ["@module"] } }), "@module"),
        (json!({ "selinux_context": "spc_t" }), "spc_t"),
        (json!({ "apparmor_profile": "unconfined" }), "unconfined"),
        (json!({ "capabilities": ["CAP_OF_TOMORROW"] }), "CAP_OF_TOMORROW"),
        (json!({ "syscalls": { "deny": vec!["read"; 2_000] } }), "2000 system calls"),
    ] {
        commit(web, "web", &more)?;
        let refused = scene.sync("web")?;
        let said = refused.stdout + &refused.stderr;
        assert!(refused.code == 3 && said.contains(word) && said.contains("metadata.json:"), "{word}: {said}");
    }
    Ok(())
}

fn what_cannot_run_goes_back(scene: &Scene, web: &Repository<'_>) -> Result<()> {
    for (deny, says) in [("execve", "denies it system calls: execve"), ("conect", "the system call conect")] {
        commit(web, "web", &json!({ "syscalls": { "deny": [deny] } }))?;
        assert_eq!(scene.sync("web")?.code, 4, "{deny}");
        let status = scene.expect_state("web", "rolled_back")?;
        assert!(status["reason"].as_str().is_some_and(|reason| reason.contains(says)), "{status:#}");
        assert_eq!(scene.must("systemctl -M web is-system-running --wait")?.trim(), "running");
    }
    Ok(())
}
