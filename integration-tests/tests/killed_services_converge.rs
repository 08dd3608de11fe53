//! Whatever is killed, and whenever: afterwards the host is what Git says, and a second look changes nothing.

use anyhow::Result;
use integration_tests::{Registration, Scene, manifest, service};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use test_host::Host;

const UNITS: [&str; 7] = [
    "bitbuilder-orchestrator.service",
    "tenant-manager.service",
    "bitbuilder-git-sync.service",
    "bitbuilder-storage.service",
    "bitbuilder-network.service",
    "bitbuilder-extension.service",
    "bitbuilder-notification.service",
];

/// A change of the tenant's repository that needs a certain service, and when to kill it.
struct Round {
    unit: &'static str,
    when: &'static str,
    begin: &'static str,
    more: Value,
}

const SYNC: &str = "bitbuilder sync web --wait";
const STATUS: &str = "bitbuilder status web --json=short";

fn round(unit: &'static str, when: &'static str, more: Value) -> Round {
    Round { unit, when, begin: SYNC, more }
}

/// A tenant with a forward and a service, verified.
fn scene() -> Result<Scene> {
    let scene = Scene::boot(Host::builder(""))?;
    scene.repository("web")?.commit(
        "First",
        &[
            ("metadata.json", &manifest("web", &["hello.service"], &asks(8100, &json!({})))),
            ("units/hello.service", &service("sleep infinity")),
        ],
    )?;
    scene.follow(&[Registration::new("web")])?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    Ok(scene)
}

fn asks(port: u16, more: &Value) -> Value {
    let mut asked = json!({ "network": { "forward": [{ "host": port, "tenant": 80 }] } });
    if let (Some(asked), Some(more)) = (asked.as_object_mut(), more.as_object()) {
        asked.extend(more.clone());
    }
    asked
}

fn each(scene: &Scene, rounds: &[Round]) -> Result<()> {
    let mut port = 8100;
    for (number, round) in rounds.iter().enumerate() {
        if round.unit == "bitbuilder-network.service" {
            port += 1;
        }
        let unit = format!("{} in round {number}", round.unit);
        let content = manifest("web", &["hello.service"], &asks(port, &round.more));
        let sleeps = service(&format!("sleep {}", 1_000_000 + number));
        let files = [("metadata.json", &*content), ("units/hello.service", &*sleeps)];
        let revision = scene.open("web").commit(&unit, &files)?;
        let status: Value = serde_json::from_str(&scene.kill_when(round.unit, round.when, round.begin, STATUS)?)?;
        assert_ne!(status["verified"], json!(revision), "{unit} was killed too late: {status:#}");
        scene.must("if [ -e /run/gate ]; then exec 8<>/run/gate; rm /run/gate; fi")?;
        scene.await_status(&format!("\"verified\":\"{revision}\""))?;
        assert_eq!(scene.sync("web")?.code, 0, "{unit}");
        let generation = scene.expect_state("web", "verified")?["generation"].clone();
        assert_eq!(scene.sync("web")?.code, 0, "{unit}");
        assert_eq!(scene.status("web")?["generation"], generation, "a second look after {unit} changed something");
        let layers = round.more.pointer("/extensions/sysext/0").and_then(Value::as_str).unwrap_or_default();
        nothing_is_left(scene, &unit, &revision, port, layers)?;
        let runs = scene.must("ps -eo args= | grep '^sleep 10000'")?;
        assert_eq!(format!("[Service]\nExecStart={runs}"), sleeps, "{unit}: another process runs");
    }
    Ok(())
}

/// What there is belongs to the one commit that runs.
fn nothing_is_left(scene: &Scene, unit: &str, revision: &str, port: u16, layer: &str) -> Result<()> {
    let mounted = if layer.is_empty() { String::new() } else { format!("/run/bitbuilder/extensions/{layer}\n") };
    for (command, expected) in [
        ("ip -o link show type bridge | grep -c bb-", "1\n"),
        ("nft list map inet bitbuilder forwards | grep -o '81[0-9][0-9]'", &*format!("{port}\n")),
        ("nft list tables | grep -c bitbuilder", "1\n"),
        ("ls /run/systemd/network | grep -c bitbuilder", "2\n"),
        ("ls /var/lib/bitbuilder/git/web/checkouts", &*format!("{revision}\n")),
        ("ls -A /var/lib/bitbuilder/git/web | tr '\\n' ' '", "checkouts git.config lock mirror.git record.json "),
        ("ls -A /var/lib/tenants", "web\n"),
        ("ls -A /var/lib/tenants/web | tr '\\n' ' '", ".#root.lck config data extensions root runtime services "),
        ("findmnt -rn -o TARGET | grep /run/bitbuilder/extensions/ | sed s/-[0-9a-f]*$// || true", &*mounted),
        ("machinectl list --no-legend | wc -l", "1\n"),
        ("systemctl list-units --state=failed --plain --no-legend 'bitbuilder-*' tenant-manager.service", ""),
        ("systemctl -M web is-active hello.service", "active\n"),
    ] {
        assert_eq!(scene.must(command)?, expected, "{unit}: {command}");
    }
    Ok(())
}

#[test]
fn kill_9_of_who_lays_the_ground() -> Result<()> {
    let scene = scene()?;
    let image = "/var/lib/bitbuilder/images/sysext/one.raw";
    scene.must(&format!(
        "btrfs subvolume snapshot /var/lib/machines/debian /var/lib/machines/other
         cd $(mktemp -d) && mkdir -p usr/lib/extension-release.d && echo ID=_any >usr/lib/extension-release.d/extension-release.one
         mksquashfs . {image} -quiet -no-progress -all-root"
    ))?;
    each(
        &scene,
        &[
            round("bitbuilder-storage.service", "step=.*ensure storage", json!({ "image": "other" })),
            round("bitbuilder-network.service", "step=.*ensure network", json!({ "image": "other" })),
            round(
                "bitbuilder-extension.service",
                "step=.*ensure extensions",
                json!({ "image": "other", "extensions": { "sysext": ["one"] } }),
            ),
            round("bitbuilder-extension.service", "step=.*ensure no extensions", json!({ "image": "other" })),
            round("bitbuilder-storage.service", "step=.*ensure storage", json!({})),
        ],
    )
}

#[test]
fn kill_9_of_who_decides_fetches_and_starts() -> Result<()> {
    let scene = scene()?;
    // While the gate is there, the Git server has been called and says nothing.
    scene.host.write(
        "/etc/systemd/system/git-daemon@.service.d/gate.conf",
        "[Service]\nExecStartPre=/bin/sh -c 'while [ -e /run/gate ]; do read line </run/gate || true; done'\n",
    )?;
    scene.must("systemctl daemon-reload")?;
    let through_the_gate = "mkfifo /run/gate; bitbuilder sync web --wait";
    each(
        &scene,
        &[
            Round {
                begin: through_the_gate,
                ..round("bitbuilder-git-sync.service", "Starting git-daemon@", json!({}))
            },
            round("bitbuilder-git-sync.service", "^fetched .*repository=web", json!({})),
            round("tenant-manager.service", "step=.*write down commit", json!({})),
            round("tenant-manager.service", "step=.*restart hello.service", json!({})),
            round("bitbuilder-orchestrator.service", "^admitted tenant=web", json!({})),
            round("bitbuilder-orchestrator.service", "step=.*restart hello.service", json!({})),
            Round {
                begin: "mkfifo /run/gate; systemd-run -M web --wait --quiet varlinkctl call /run/bitbuilder/io.bitbuilder.Guest io.bitbuilder.Guest.Sync {}",
                ..round("bitbuilder-guest@web.service", "Starting git-daemon@", json!({}))
            },
        ],
    )
}

#[test]
fn a_reboot_in_the_middle_of_a_convergence() -> Result<()> {
    let scene = scene()?;
    for number in 0..2 {
        let revision = scene.open("web").commit("Next", &[("number", &format!("{number}"))])?;
        scene.kill_when("", "step=.*write down commit", SYNC, "")?;
        if number == 0 {
            scene.host.reboot()?
        } else {
            scene.host.power_loss()?
        }
        scene.await_status(&format!("\"verified\":\"{revision}\""))?;
        let status = scene.expect_state("web", "verified")?;
        assert_eq!(status["reason"], json!(null), "{status:#}");
        let history =
            scene.must("journalctl -o cat -u bitbuilder-orchestrator.service | grep 'did not hold' || true")?;
        assert_eq!(history, "", "a reboot was taken for the commit's fault");
        nothing_is_left(&scene, "a reboot", &revision, 8100, "")?;
    }
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
    // Who is killed often is back as soon as at first.
    for round in 0..8 {
        for unit in ["tenant-manager.service", "bitbuilder-orchestrator.service"] {
            scene.must(&format!("systemctl kill --kill-whom=main --signal=KILL {unit}"))?;
        }
        let begun = Instant::now();
        scene.call("Tenant", "List", &json!({ "tenant": "web" }))?;
        scene.status("web")?;
        assert!(begun.elapsed() < Duration::from_secs(5), "in round {round}: {:?}", begun.elapsed());
    }
    Ok(())
}

/// Connections to it are kept, and broken ones made anew.
#[test]
fn a_restart_of_the_bus_is_nothing_that_a_push_notices() -> Result<()> {
    let scene = scene()?;
    for number in 0..2 {
        scene.must("systemctl restart dbus.service")?;
        let revision = scene.open("web").commit("Next", &[("number", &format!("{number}"))])?;
        assert_eq!(scene.sync("web")?.code, 0, "after restart {number}");
        assert_eq!(scene.expect_state("web", "verified")?["verified"], json!(revision));
    }
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
