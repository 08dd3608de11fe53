//! Tenants start at boot by what was written down of them: in order, isolated and reachable, without the orchestrator, without
//! a Git server, and whatever became of a record.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use anyhow::Result;
use integration_tests::{Registration, Scene, manifest, service};
use serde_json::{Value, json};
use test_host::Host;

const FETCH: &str = "curl --silent --show-error --max-time 3 --retry 20 --retry-all-errors --retry-delay 1";
const ABSENT: &str = "bitbuilder-orchestrator.service bitbuilder-orchestrator.socket bitbuilder-git-sync.service bitbuilder-git-sync.socket";
const GENERATOR: &str = "/usr/lib/systemd/system-generators/tenant-generator";

fn unit(scene: &Scene, unit: &str, property: &str) -> Result<String> {
    Ok(scene.must(&format!("systemctl show --property={property} --value '{unit}'"))?.trim().to_owned())
}

fn moment(scene: &Scene, of: &str, property: &str) -> Result<u64> {
    Ok(unit(scene, of, property)?.parse()?)
}

fn container(tenant: &str) -> String {
    format!("bitbuilder-container@{tenant}.service")
}

fn is_active(scene: &Scene, unit: &str) -> Result<bool> {
    Ok(scene.host.sh(&format!("systemctl is-active --quiet '{unit}'"))?.success())
}

/// Nothing of a boot failed, and everything that it began has ended.
fn booted_well(scene: &Scene) -> Result<()> {
    let state = scene.host.sh("timeout 120 systemctl is-system-running --wait")?;
    let failed = scene.must("systemctl --failed --no-legend --plain")?;
    assert!(state.stdout.trim() == "running" && failed.is_empty(), "{}{failed}", state.stdout);
    Ok(())
}

/// Three tenants: web waits for db and has an extension and a port; mail was told to stop.
fn scene() -> Result<Scene> {
    let scene = Scene::boot(Host::builder(""))?;
    booted_well(&scene)?;
    assert!(!is_active(&scene, "bitbuilder-late.service")?, "a host without tenants has nothing to start");
    scene.must(
        "cd $(mktemp -d) && mkdir -p usr/bin usr/lib/extension-release.d && printf '#!/bin/sh\\necho extended\\n' > usr/bin/one && chmod 755 usr/bin/one
         echo ID=_any > usr/lib/extension-release.d/extension-release.one
         mksquashfs . /var/lib/bitbuilder/images/sysext/one.raw -quiet -no-progress -all-root",
    )?;
    let seldom = (".gitops/config.yaml", "version: \"1.0\"\nsync: { interval: 1d }\n");
    let serve = service("busybox httpd -f -p 80 -h /srv/config");
    for (name, more) in [
        ("db", json!({})),
        ("mail", json!({})),
        (
            "web",
            json!({ "dependsOn": ["db"], "extensions": { "sysext": ["one"] }, "network": { "forward": [{ "host": 8080, "tenant": 80 }] } }),
        ),
    ] {
        let metadata = manifest(name, &["web.service"], &more);
        scene.repository(name)?.commit(
            "First",
            &[("metadata.json", &metadata), ("units/web.service", &serve), ("page", &format!("{name}\n")), seldom],
        )?;
    }
    scene.follow(&["db", "mail", "web"].map(Registration::new))?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    let mut off: Value = serde_json::from_str(&manifest("mail", &["web.service"], &json!({})))?;
    off["tenant"]["enabled"] = json!(false);
    scene.open("mail").commit("Off", &[("metadata.json", &off.to_string())])?;
    assert_eq!(scene.sync("mail")?.code, 0);
    Ok(scene)
}

/// What runs without anybody having been asked.
fn runs_alone(scene: &Scene) -> Result<()> {
    booted_well(scene)?;
    for absent in ABSENT.split(' ') {
        assert!(!is_active(scene, absent)?, "{absent} runs");
    }
    assert!(!is_active(scene, "git-daemon.socket")?, "the Git server should be away");
    for unit in ["tenant-web.target", "tenant-db.target", "git-sync@web.timer", "git-sync@system.timer"] {
        assert!(is_active(scene, unit)?, "{unit} is not active");
    }
    assert!(
        !is_active(scene, &container("mail"))? && !is_active(scene, "tenant-mail.target")?,
        "mail was told to stop"
    );
    let db_ready = moment(scene, &container("db"), "ActiveEnterTimestampMonotonic")?;
    let web_begun = moment(scene, &container("web"), "InactiveExitTimestampMonotonic")?;
    assert!(0 < db_ready && db_ready <= web_begun, "web began at {web_begun}, db was ready at {db_ready}");
    assert_eq!(scene.must(&format!("{FETCH} http://127.0.0.1:8080/page"))?, "web\n");
    assert_eq!(scene.must("systemd-run -M web --wait --pipe --quiet one")?, "extended\n");
    let own = |tenant: &str| {
        scene.must(&format!(
            "systemd-run -M {tenant} --wait --pipe --quiet ip -4 -o addr show host0 | grep -o '10\\.88\\.[0-9.]*' | head -n 1"
        ))
    };
    let timer = unit(scene, "git-sync@web.timer", "TimersMonotonic")?;
    assert!(timer.contains("OnUnitInactiveUSec=1d"), "{timer}");
    let (web, db) = (own("web")?, own("db")?);
    let get = |address: &str| {
        scene.host.sh(&format!(
            "systemd-run -M web --wait --pipe --quiet busybox wget -q -T 3 -O - http://{}/page",
            address.trim()
        ))
    };
    assert!(get(&web)?.success(), "its own page");
    assert!(!get(&db)?.success(), "web reached db");
    Ok(())
}

#[test]
fn a_boot_needs_nobody_and_leaves_nothing_to_do() -> Result<()> {
    let scene = scene()?;
    let text = scene.must("cat /run/systemd/system/tenant-web.target")?;
    let order = scene.must("cat /run/systemd/system/bitbuilder-container@web.service.d/50-bitbuilder.conf")?;
    let generation = scene.status("web")?["generation"].clone();
    scene.must(&format!("systemctl disable git-daemon.socket && systemctl mask {ABSENT}"))?;
    scene.host.reboot()?;
    runs_alone(&scene)?;
    assert_eq!(scene.must("cat /run/systemd/generator/tenant-web.target")?, text, "a boot says it in other words");
    assert_eq!(scene.must("cat /run/systemd/generator/bitbuilder-container@web.service.d/50-bitbuilder.conf")?, order);
    scene.host.power_loss()?;
    runs_alone(&scene)?;

    // Who comes later finds everything as it should be.
    let started = |tenant| unit(&scene, &container(tenant), "InvocationID");
    let before = [started("web")?, started("db")?];
    scene.must(&format!("systemctl unmask {ABSENT} && systemctl start bitbuilder-git-sync.socket bitbuilder-orchestrator.socket bitbuilder-orchestrator.service"))?;
    scene.must("timeout 60 bash -c 'until journalctl --boot --quiet --unit=bitbuilder-orchestrator.service --grep=\"looked after what is remembered\" >/dev/null; do sleep 0.2; done'")?;
    for tenant in ["web", "db"] {
        scene.expect_state(tenant, "verified")?;
    }
    assert_eq!(scene.status("web")?["generation"], generation, "something was done about web");
    assert_eq!([started("web")?, started("db")?], before, "a tenant was started again");
    assert!(!is_active(&scene, &container("mail"))?);
    Ok(())
}

#[test]
fn a_target_and_its_tenant_start_and_stop_together() -> Result<()> {
    let scene = scene()?;
    let shown = scene.must("systemctl list-dependencies --all --plain --no-pager tenant-web.target")?;
    for wanted in [&container("web"), &container("db"), "tenant-db.target", "bitbuilder-guest@web.socket"] {
        assert!(shown.contains(wanted), "{wanted}: {shown}");
    }
    assert_eq!(unit(&scene, "tenant-web.target", "ActiveState")?, "active");
    scene.must("systemctl stop bitbuilder-orchestrator.service bitbuilder-orchestrator.socket")?;
    // A tenant that is started anew leaves its target alone, and is not ended by it.
    let since = moment(&scene, "tenant-web.target", "ActiveEnterTimestampMonotonic")?;
    scene.must(&format!("systemctl restart {}", container("web")))?;
    scene.must(&format!("systemctl kill --signal=KILL {0}; timeout 30 bash -c 'until systemctl is-active --quiet {0}; do sleep 0.1; done'", container("web")))?;
    assert_eq!(moment(&scene, "tenant-web.target", "ActiveEnterTimestampMonotonic")?, since);
    scene.must("systemctl stop tenant-web.target")?;
    scene.must(&format!(
        "timeout 30 bash -c 'while systemctl is-active --quiet {}; do sleep 0.1; done'",
        container("web")
    ))?;
    assert!(is_active(&scene, &container("db"))?, "db does not wait for web");
    // What it waits for comes with it; a tenant that was told to stop does not, whoever asks.
    scene.must("systemctl stop tenant-db.target && systemctl start tenant-web.target")?;
    for tenant in ["db", "web"] {
        assert!(is_active(&scene, &container(tenant))?, "{tenant} did not start");
    }
    scene.must(&format!("systemctl start {}", container("mail")))?;
    assert_eq!(unit(&scene, &container("mail"), "ActiveState")?, "inactive");
    Ok(())
}

#[test]
fn a_spoiled_record_is_said_and_the_others_boot() -> Result<()> {
    let scene = scene()?;
    scene.must(&format!("systemctl disable git-daemon.socket && systemctl mask {ABSENT}"))?;
    scene.must(
        "cd /var/lib/bitbuilder/boot && head -c 40 db.json >db.cut && mv db.cut db.json && truncate --size=100M huge.json && mkdir folder.json
         ln -s web.json link.json && cp web.json $'evil\\nExecStart=.json' && mkfifo pipe.json && cp web.json Upper.json && echo '[' >polling",
    )?;
    scene.host.reboot()?;
    booted_well(&scene)?;
    assert!(is_active(&scene, &container("web"))? && !is_active(&scene, &container("db"))?);
    assert_eq!(scene.must(&format!("{FETCH} http://127.0.0.1:8080/page"))?, "web\n");
    assert!(is_active(&scene, "bitbuilder-boot-state.service")?);
    let said =
        scene.must("journalctl --boot --quiet --output=cat --priority=warning --unit=bitbuilder-boot-state.service")?;
    for name in ["db.json", "huge.json: it is too large", "folder.json", "link.json", "Upper.json", "polling"] {
        assert!(said.contains(name), "{name}: {said}");
    }
    let doctor = scene.host.sh("bitbuilder doctor --no-pager")?;
    assert!(doctor.stdout.contains("boot state"), "{}", doctor.stdout);
    let shown = scene.must(&format!("{GENERATOR} --dry-run"))?;
    assert!(
        shown.contains("# tenant-web.target\n")
            && !shown.contains("ExecStart=.json")
            && !shown.contains("tenant-db.target\n[")
    );
    // Units that systemd understands, each time the same.
    scene.must(&format!(
        "mkdir /srv/one /srv/two && {GENERATOR} /srv/one && {GENERATOR} /srv/two /srv/two /srv/two && diff --recursive --no-dereference /srv/one /srv/two
         diff --recursive --no-dereference /srv/one /run/systemd/generator/ | grep -v '^Only in /run' && exit 1
         systemd-analyze verify --man=no /srv/one/*.target /srv/one/*.service"
    ))?;
    // The orchestrator writes anew what was spoiled.
    scene.must(&format!("systemctl unmask {ABSENT} && systemctl start bitbuilder-git-sync.socket bitbuilder-orchestrator.socket bitbuilder-orchestrator.service"))?;
    scene.must(&format!(
        "timeout 60 bash -c 'until systemctl is-active --quiet {}; do sleep 0.2; done'",
        container("db")
    ))?;
    Ok(())
}

#[test]
fn a_state_that_comes_late_is_waited_for() -> Result<()> {
    let scene = scene()?;
    scene.must(&format!("systemctl disable git-daemon.socket && systemctl mask {ABSENT}"))?;
    // The state is on a file system that is mounted when units have long been made.
    scene.host.write(
        "/etc/systemd/system/var-lib-bitbuilder-boot.mount",
        "[Mount]\nWhat=/srv/late\nWhere=/var/lib/bitbuilder/boot\nType=none\nOptions=bind\n[Install]\nWantedBy=local-fs.target\n",
    )?;
    scene.must("systemctl enable var-lib-bitbuilder-boot.mount && systemctl stop tenant-manager.service bitbuilder-tenant-manager.socket && mv /var/lib/bitbuilder/boot /srv/late && sync")?;
    scene.host.power_loss()?;
    scene.must("timeout 90 bash -c 'until systemctl is-active --quiet tenant-web.target; do sleep 0.2; done'")?;
    assert!(is_active(&scene, "bitbuilder-late.service")?);
    runs_alone(&scene)?;
    // The next reload finds the same state where it belongs.
    scene.must("systemctl daemon-reload")?;
    runs_alone(&scene)
}
