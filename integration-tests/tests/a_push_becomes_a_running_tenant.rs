//! The thin line through everything: a push becomes a running tenant, and the next one changes it.

use anyhow::Result;
use integration_tests::{Registration, Scene, manifest, service};
use serde_json::json;
use test_host::{Disk, Host};

fn tenant_runs_and_follows(disk: Disk) -> Result<()> {
    let scene = Scene::boot(Host::builder("").disk(disk))?;
    let web = scene.repository("web")?;
    let first = web.commit(
        "First",
        &[
            (
                "metadata.json",
                &manifest(
                    "web",
                    &["hello.service"],
                    &json!({ "resources": { "memory": { "limit": "256M" }, "cpu": { "cores": 1, "shares": 512 } } }),
                ),
            ),
            (
                "units/hello.service",
                &service("/bin/sh -c 'cat /srv/config/word; echo $$(id -u) > /srv/data/uid; exec sleep infinity'"),
            ),
            ("word", "first-word\n"),
        ],
    )?;
    scene.follow(&[Registration::new("web")])?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    let status = scene.expect_state("web", "verified")?;
    assert_eq!((&status["wanted"], &status["verified"]), (&json!(first), &json!(first)));

    // A real container of systemd's own, in a uid range of its own, ready, and none of its units failed.
    assert!(scene.must("machinectl list --no-legend")?.contains("web"));
    assert_eq!(scene.must("systemctl -M web is-system-running --wait")?.trim(), "running");
    assert!(scene.must("bitbuilder logs web -n 1000")?.contains("first-word"));
    let leader = scene.must("machinectl show web --property=Leader --value")?;
    let uid: u32 = scene.must(&format!("stat -c %u /proc/{}", leader.trim()))?.trim().parse()?;
    assert!(uid >= 0x4000_0000, "the tenant's root is the host's uid {uid}");
    let unit = scene.must(
        "systemctl show bitbuilder-container@web.service -p MemoryMax -p CPUQuotaPerSecUSec -p CPUWeight -p Slice",
    )?;
    for line in ["MemoryMax=268435456", "CPUQuotaPerSecUSec=1s", "CPUWeight=50", "Slice=bitbuilder-tenants.slice"] {
        assert!(unit.contains(line), "{unit}");
    }
    // Inside, its own root owns its files and its data; the configuration is read-only.
    scene.must("systemd-run -M web --wait --pipe --quiet sh -c 'test $(stat -c %u /etc /srv/data/uid | sort -u) = 0 && ! touch /srv/config/x'")?;
    assert_eq!(scene.must("cat /var/lib/tenants/web/data/uid")?.trim(), "0");
    let kind = scene.must("stat -c %i /var/lib/tenants/web/root")?;
    assert_eq!(kind.trim() == "256", disk == Disk::Btrfs, "a subvolume exactly where the file system has them");

    // The next push starts nothing anew but the service that names what changed.
    let reloads = "journalctl -b --no-pager -o cat _PID=1 | grep -c 'Reloading finished' || true";
    let before = scene.must(reloads)?;
    assert_ne!(before, "0\n", "the one for the Git server is not counted");
    let second = web.commit("Second", &[("word", "second-word\n")])?;
    assert_eq!(scene.bitbuilder(&["sync", "web", "--wait"])?.code, 0);
    assert_eq!(scene.status("web")?["verified"], json!(second));
    assert!(scene.must("bitbuilder logs web -n 1000")?.contains("second-word"));
    assert_eq!(scene.must(reloads)?, before, "a change reloaded the service manager");

    // Nothing differs, nothing is done.
    let generation = scene.status("web")?["generation"].clone();
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    assert_eq!(scene.status("web")?["generation"], generation);

    // Off, and on again: data stays.
    web.commit(
        "Off",
        &[(
            "metadata.json",
            &manifest("web", &["hello.service"], &json!({}))
                .replace("\"container\"", "\"container\", \"enabled\": false"),
        )],
    )?;
    assert_eq!(scene.sync("web")?.code, 0);
    scene.expect_state("web", "stopped")?;
    assert!(!scene.must("machinectl list --no-legend")?.contains("web"));
    scene.must("test -e /var/lib/tenants/web/data/uid && ! ip link show type bridge | grep bb-")?;
    web.git("revert --no-edit HEAD && git push --quiet origin HEAD:main")?;
    assert_eq!(scene.sync("web")?.code, 0);
    scene.expect_state("web", "verified")?;
    Ok(())
}

#[test]
fn on_btrfs() -> Result<()> {
    tenant_runs_and_follows(Disk::Btrfs)
}

#[test]
fn on_ext4() -> Result<()> {
    tenant_runs_and_follows(Disk::Ext4)
}

#[test]
fn the_timer_alone_notices_a_push_and_a_tenant_that_leaves() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    let web = scene.repository("web")?;
    web.commit("First", &[("metadata.json", &manifest("web", &[], &json!({})))])?;
    let system = scene.follow(&[Registration::new("web")])?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    let second = web.commit("Second", &[("word", "x")])?;
    scene.await_status(&format!("\"verified\":\"{second}\""))?;
    system.commit("Nobody", &[("tenants/registry.json", &integration_tests::registry(&[]))])?;
    scene.await_status("\"state\":\"leaving\"")?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    scene.expect_state("web", "leaving")?;
    scene.must("test -d /var/lib/tenants/web/data && ! systemctl is-active --quiet git-sync@web.timer")?;
    Ok(())
}
