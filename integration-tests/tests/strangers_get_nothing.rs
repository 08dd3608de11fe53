//! Every socket on a real host: introspected from outside, refused to strangers, and none the worse for bad clients.

use anyhow::Result;
use integration_tests::{Registration, Scene, manifest};
use interfaces::contract::{Contract, More};
use serde_json::json;
use test_host::Host;

const AS_STRANGER: &str = "setpriv --reuid=65534 --regid=65534 --clear-groups";

/// The service behind a socket says the contract that is written down, and does nothing for a stranger.
fn serves_its_contract(scene: &Scene, contract: &Contract, socket: &str) -> Result<()> {
    let name = contract.name;
    scene.must(&format!("varlinkctl validate-idl /usr/share/bitbuilder/interfaces/{name}.varlink"))?;
    let shown = scene.must(&format!("varlinkctl introspect {socket} {name}"))?;
    let served = Contract::new(name, Box::leak(shown.into_boxed_str()), &[], Vec::new).describe()?;
    let written = contract.describe()?;
    assert_eq!(served.parameters, written.parameters, "{name}");
    assert_eq!(served.replies, written.replies, "{name}");
    assert_eq!(served.errors, written.errors, "{name}");
    scene.must(&format!("{AS_STRANGER} varlinkctl info {socket} && {AS_STRANGER} varlinkctl call {socket} io.systemd.service.Ping '{{}}'"))?;
    for method in contract.methods {
        let more = if method.more == More::Required { "--more" } else { "" };
        let refused =
            scene.host.sh(&format!("{AS_STRANGER} varlinkctl call {more} {socket} {name}.{} '{{}}'", method.name))?;
        assert!(
            !refused.success() && refused.stderr.contains("Permission denied"),
            "{name}.{}: {}",
            method.name,
            refused.stderr
        );
    }
    let unknown = scene.host.sh(&format!(
        "varlinkctl call --graceful=org.varlink.service.MethodNotFound -j {socket} {name}.Nothing '{{}}'"
    ))?;
    assert!(unknown.stdout.contains("Nothing"), "{}{}", unknown.stdout, unknown.stderr);
    Ok(())
}

#[test]
fn each_contract_is_what_the_running_service_serves_and_strangers_are_refused() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    scene.repository("web")?.commit("First", &[("metadata.json", &manifest("web", &[], &json!({})))])?;
    scene.follow(&[Registration::new("web")])?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    for contract in interfaces::ALL {
        let name = contract.name;
        if name == "io.bitbuilder.Guest" {
            serves_its_contract(&scene, contract, &format!("/run/bitbuilder/guest/web/{name}"))?;
        } else {
            serves_its_contract(&scene, contract, &format!("/run/bitbuilder/{name}"))?;
            scene.must(&format!("test -S /run/varlink/registry/{name}"))?;
        }
    }
    // A reader looks and changes nothing.
    scene.must("useradd --system --groups bitbuilder looker")?;
    scene.must("runuser -u looker -- bitbuilder status && runuser -u looker -- bitbuilder list")?;
    assert_eq!(scene.host.sh("runuser -u looker -- bitbuilder init --repository git://127.0.0.1/x")?.code, 1);
    assert_eq!(scene.host.sh("runuser -u looker -- bitbuilder sync")?.code, 1);
    Ok(())
}

#[test]
fn lists_stream_and_wrong_parameters_are_named() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    for name in ["web", "mail"] {
        scene.repository(name)?.commit("First", &[("metadata.json", &manifest(name, &[], &json!({})))])?;
    }
    scene.follow(&[Registration::new("web"), Registration::new("mail")])?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    for (interface, field) in [
        ("GitSync", "repositories"),
        ("Tenant", "instances"),
        ("Network", "attachments"),
        ("Storage", "volumes"),
        ("Orchestrator", "tenants"),
    ] {
        let all = scene.call(interface, "List", &json!({}))?;
        let count = all[field].as_array().map_or(0, Vec::len);
        assert!(count >= 2, "{interface}: {all}");
        let streamed = scene.must(&format!("varlinkctl call -j --more /run/bitbuilder/io.bitbuilder.{interface} io.bitbuilder.{interface}.List '{{}}' | grep -c {field}"))?;
        assert_eq!(streamed.trim(), count.to_string(), "{interface}");
    }
    for (method, parameters, wrong) in [
        ("Start", r#"{"tenant":"web"}"#, "generation"),
        ("Start", r#"{"tenant":"../x","generation":1}"#, "tenant"),
        ("Start", r#"{"tenant":"web","generation":1,"surprise":1}"#, "surprise"),
        ("Start", r#"{"tenant":7,"generation":1}"#, "tenant"),
    ] {
        let refused = scene.host.sh(&format!(
            "varlinkctl call --graceful=org.varlink.service.InvalidParameter -j /run/bitbuilder/io.bitbuilder.Tenant io.bitbuilder.Tenant.{method} '{parameters}'"
        ))?;
        assert!(refused.stdout.contains(&format!("\"parameter\":\"{wrong}\"")), "{parameters}: {}", refused.stderr);
    }
    let stale = scene.host.sh(r#"varlinkctl call /run/bitbuilder/io.bitbuilder.Tenant io.bitbuilder.Tenant.Stop '{"tenant":"web","generation":0}'"#)?;
    assert!(stale.stderr.contains("StaleGeneration"), "{}", stale.stderr);
    scene.expect_state("web", "verified")?;
    Ok(())
}

#[test]
fn bad_clients_hurt_nobody_else() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    let socket = "/run/bitbuilder/io.bitbuilder.Orchestrator";
    let ping = format!("varlinkctl call {socket} io.systemd.service.Ping '{{}}'");
    scene.must(&ping)?;
    let pid = "systemctl show -p MainPID --value bitbuilder-orchestrator.service";
    let before = scene.must(pid)?;
    // 1 GiB without an end, no UTF-8, no JSON.
    scene.host.sh(&format!("head -c 1G /dev/zero | tr '\\0' a | timeout 60 socat -u - UNIX-CONNECT:{socket}"))?;
    scene.host.sh(&format!("printf '{{\"method\":\"\\377\"}}\\0' | timeout 10 socat - UNIX-CONNECT:{socket}"))?;
    scene.host.sh(&format!("printf 'nonsense\\0' | timeout 10 socat - UNIX-CONNECT:{socket}"))?;
    scene.must(&ping)?;
    // 5,000 connections of one uid, held open, while another uid is served.
    scene.host.write(
        "/tmp/flood.py",
        "import socket, os\nos.setuid(65534)\nheld = []\nfor _ in range(5000):\n    s = socket.socket(socket.AF_UNIX)\n    s.settimeout(5)\n    try:\n        s.connect('/run/bitbuilder/io.bitbuilder.Orchestrator'); held.append(s)\n    except OSError: pass\nprint('held', len(held), flush=True)\nimport sys; sys.stdin.read()\n",
    )?;
    scene.must(&format!(
        "ulimit -n 8192; mkfifo /tmp/end /tmp/said; python3 /tmp/flood.py </tmp/end >/tmp/said & exec 9>/tmp/end
         read -r -t 60 said </tmp/said; test ${{said#held }} -ge 128
         timeout 10 {ping}; timeout 10 bitbuilder status; exec 9>&-; wait"
    ))?;
    let peak: u64 = scene.must("systemctl show -p MainPID --value bitbuilder-orchestrator.service | xargs -I{} awk '/VmHWM/{print $2}' /proc/{}/status")?.trim().parse()?;
    assert!(peak < 64 * 1024, "the orchestrator grew to {peak} KiB");
    assert_eq!(scene.must(pid)?, before, "the orchestrator did not survive");
    Ok(())
}

#[test]
fn services_run_confined_and_leave_when_idle() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    let start = |interface: &str| {
        scene.must(&format!("varlinkctl call /run/bitbuilder/io.bitbuilder.{interface} io.systemd.service.Ping '{{}}'"))
    };
    let units = [
        ("GitSync", "bitbuilder-git-sync"),
        ("Storage", "bitbuilder-storage"),
        ("Network", "bitbuilder-network"),
        ("Extension", "bitbuilder-extension"),
        ("Secret", "bitbuilder-secret"),
        ("Notification", "bitbuilder-notification"),
    ];
    for (interface, _) in units {
        start(interface)?;
    }
    let capabilities = |unit: &str| {
        scene.must(&format!("grep CapBnd /proc/$(systemctl show -p MainPID --value {unit})/status | cut -f2"))
    };
    let user = |unit: &str| scene.must(&format!("stat -c %U /proc/$(systemctl show -p MainPID --value {unit})"));
    assert_eq!(
        (user("bitbuilder-git-sync")?.trim(), capabilities("bitbuilder-git-sync")?.trim()),
        ("bitbuilder-git", "0000000000000000")
    );
    assert_eq!(
        (user("bitbuilder-orchestrator")?.trim(), capabilities("bitbuilder-orchestrator")?.trim()),
        ("bitbuilder", "0000000000000000")
    );
    assert_eq!(
        (user("bitbuilder-notification")?.trim(), capabilities("bitbuilder-notification")?.trim()),
        ("bitbuilder-notification", "0000000000000000")
    );
    // CAP_NET_ADMIN is bit 12 (capabilities(7)).
    assert_eq!(
        (user("bitbuilder-network")?.trim(), capabilities("bitbuilder-network")?.trim()),
        ("root", "0000000000001000")
    );
    // In tenths, as systemd-analyze(1) counts exposure: what each needs for its work and no more.
    for (unit, exposure) in [
        ("bitbuilder-orchestrator", 10),
        ("bitbuilder-git-sync", 15),
        ("bitbuilder-notification", 15),
        ("bitbuilder-network", 15),
        ("bitbuilder-extension", 15),
        ("bitbuilder-storage", 25),
        ("bitbuilder-guest@web", 10),
        ("bitbuilder-secret", 10),
        ("tenant-manager", 35),
    ] {
        scene.must(&format!("systemd-analyze security --no-pager --threshold={exposure} {unit}.service"))?;
    }
    // Idle for 30 s: the activated ones are gone, the resident ones are not. The service manager says when.
    let activated = units.map(|(_, unit)| format!("{unit}.service")).join(" ");
    scene.must(&format!(
        "exec 3< <(exec timeout 60 busctl monitor org.freedesktop.systemd1 2>&1)
         read -r -u 3 begun
         while systemctl is-active --quiet {activated}; do read -r -u 3 message || exit 1; done"
    ))?;
    scene.must(
        "systemctl is-active bitbuilder-orchestrator tenant-manager && ! systemctl is-failed --quiet 'bitbuilder-*'",
    )?;
    start("Storage")?;
    Ok(())
}
