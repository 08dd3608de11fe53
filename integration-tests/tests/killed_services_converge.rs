//! Whatever is killed, and whenever: afterwards the host is what Git says, and a second look changes nothing.

use anyhow::Result;
use integration_tests::{Registration, Scene, manifest, service};
use serde_json::json;
use test_host::Host;

const UNITS: [&str; 6] = [
    "bitbuilder-orchestrator.service",
    "tenant-manager.service",
    "bitbuilder-git-sync.service",
    "bitbuilder-storage.service",
    "bitbuilder-network.service",
    "bitbuilder-extension.service",
];

/// Waits for the stream of states to show the commit as verified; the stream itself is begun anew when its server dies.
fn await_verified(scene: &Scene, tenant: &str, revision: &str) -> Result<()> {
    scene.must(&format!(
        "timeout 120 sh -c 'until bitbuilder sync {tenant} --wait >/dev/null && bitbuilder status {tenant} --json=short | grep -q \"state.:.verified.*verified.:.{revision}\"; do :; done'"
    ))?;
    Ok(())
}

#[test]
fn kill_9_of_each_service_in_the_middle_of_a_convergence() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    let web = scene.repository("web")?;
    web.commit(
        "First",
        &[
            ("metadata.json", &manifest("web", &["hello.service"], &json!({}))),
            ("units/hello.service", &service("sleep infinity")),
        ],
    )?;
    scene.follow(&[Registration::new("web")])?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    for (round, unit) in UNITS.iter().enumerate() {
        let forward = json!({ "network": { "forward": [{ "host": 8100 + round, "tenant": 80 }] } });
        let revision = web.commit(unit, &[("metadata.json", &manifest("web", &["hello.service"], &forward))])?;
        // Killed as soon as the convergence is under way, and twice more while it lasts.
        scene.must(&format!(
            "bitbuilder sync web --wait >/dev/null 2>&1 &
             for try in 1 2 3; do systemctl kill --signal=KILL {unit} 2>/dev/null; sleep 0.$((try * 2)); done; wait || true"
        ))?;
        await_verified(&scene, "web", &revision)?;
        let generation = scene.status("web")?["generation"].clone();
        assert_eq!(scene.sync("web")?.code, 0);
        assert_eq!(scene.status("web")?["generation"], generation, "a second look after {unit} changed something");
        assert_eq!(scene.must("ip -o link show type bridge | grep -c bb-")?.trim(), "1");
        assert_eq!(scene.must("nft list table inet bitbuilder | grep -c '81[0-9][0-9]'")?.trim(), "1", "{unit}");
    }
    assert_eq!(scene.must("ls /var/lib/bitbuilder/git/web/checkouts | wc -l")?.trim(), "1", "old checkouts were left");
    Ok(())
}

#[test]
fn the_tenants_do_not_notice_that_our_services_are_killed() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    let web = scene.repository("web")?;
    web.commit("First", &[("metadata.json", &manifest("web", &[], &json!({})))])?;
    scene.follow(&[Registration::new("web")])?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    let show = "systemctl show bitbuilder-container@web.service -p MainPID -p InvocationID";
    let before = scene.must(show)?;
    for unit in UNITS {
        scene.host.sh(&format!("systemctl kill --signal=KILL {unit}"))?;
    }
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    assert_eq!(scene.must(show)?, before);
    Ok(())
}

#[test]
fn what_somebody_changed_by_hand_is_mended() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    let web = scene.repository("web")?;
    let forward = json!({ "network": { "forward": [{ "host": 8080, "tenant": 80 }] } });
    web.commit(
        "First",
        &[
            ("metadata.json", &manifest("web", &["web.service"], &forward)),
            ("units/web.service", &service("busybox httpd -f -p 80 -h /srv/config")),
            ("page", "here\n"),
        ],
    )?;
    scene.follow(&[Registration::new("web")])?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    let curl = "curl --silent --max-time 5 --retry 5 --retry-connrefused http://127.0.0.1:8080/page";
    assert_eq!(scene.must(curl)?, "here\n");
    for damage in [
        "nft delete table inet bitbuilder",
        "rm -rf /run/systemd/network/50-bitbuilder-*",
        "machinectl terminate web",
        "systemctl kill -s KILL bitbuilder-container@web.service",
    ] {
        scene.must(damage)?;
        assert_eq!(scene.sync("web")?.code, 0, "{damage}");
        scene.expect_state("web", "verified")?;
        assert_eq!(scene.must(curl)?, "here\n", "{damage}");
    }
    Ok(())
}
