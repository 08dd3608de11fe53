//! A tenant speaks with its host on its own socket, of itself, and of nobody else.

use anyhow::Result;
use integration_tests::{Registration, Scene, manifest};
use serde_json::{Value, json};
use test_host::Host;

#[test]
fn it_describes_itself_asks_for_a_sync_and_learns_nothing_else() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    let mut pushed = Vec::new();
    for name in ["web", "mail"] {
        let repository = scene.repository(name)?;
        pushed.push((repository.commit("First", &[("metadata.json", &manifest(name, &[], &json!({})))])?, repository));
    }
    scene.follow(&[Registration::new("web"), Registration::new("mail")])?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);

    let inside = |tenant: &str, command: &str| {
        scene.host.sh(&format!("systemd-run -M {tenant} --wait --pipe --quiet {command}"))
    };
    let socket = "/run/bitbuilder/io.bitbuilder.Guest";
    for (tenant, (revision, _)) in ["web", "mail"].iter().zip(&pushed) {
        let described = inside(tenant, &format!("varlinkctl call -j {socket} io.bitbuilder.Guest.Describe {{}}"))?;
        assert!(described.success(), "{}", described.stderr);
        let described: Value = serde_json::from_str(&described.stdout)?;
        assert_eq!(
            (&described["tenant"], &described["state"], &described["verified"]),
            (&json!(tenant), &json!("verified"), &json!(revision))
        );
        // Any user of the tenant may ask, and no other socket of the host is there.
        assert!(
            inside(
                tenant,
                &format!(
                    "setpriv --reuid=1000 --clear-groups varlinkctl call {socket} io.bitbuilder.Guest.Describe {{}}"
                )
            )?
            .success()
        );
        assert_eq!(inside(tenant, "ls /run/bitbuilder")?.stdout, "io.bitbuilder.Guest\n");
    }

    // The other tenant's socket is out of reach; so is everything of the host's for a uid of a tenant.
    let uid: u32 = scene.must("stat -c %u /proc/$(machinectl show mail -p Leader --value)")?.trim().parse()?;
    let as_mail = format!("setpriv --reuid={uid} --regid={uid} --clear-groups");
    for (target, method) in [
        ("guest/web/io.bitbuilder.Guest", "io.bitbuilder.Guest.Describe"),
        ("guest/web/io.bitbuilder.Guest", "io.bitbuilder.Guest.Sync"),
        ("io.bitbuilder.Orchestrator", "io.bitbuilder.Orchestrator.List"),
        ("io.bitbuilder.Tenant", "io.bitbuilder.Tenant.List"),
    ] {
        let refused = scene.host.sh(&format!("{as_mail} varlinkctl call /run/bitbuilder/{target} {method} '{{}}'"))?;
        assert!(
            refused.stderr.contains("Permission denied"),
            "{target} {method}: {}{}",
            refused.stdout,
            refused.stderr
        );
    }
    // The guest service itself may ask about its own tenant only.
    let guest = "setpriv --reuid=$(stat -c %u /proc/$(systemctl show -p MainPID --value bitbuilder-guest@web.service)) --clear-groups";
    inside("web", &format!("varlinkctl call {socket} io.systemd.service.Ping {{}}"))?;
    let own = r#"varlinkctl call /run/bitbuilder/io.bitbuilder.Orchestrator io.bitbuilder.Orchestrator.List '{"tenant":"web"}'"#;
    scene.must(&format!("{guest} {own}"))?;
    for other in [own.replace("web", "mail"), own.replace("{\"tenant\":\"web\"}", "{}")] {
        let refused = scene.host.sh(&format!("{guest} {other}"))?;
        assert!(refused.stderr.contains("Permission denied"), "{other}: {}", refused.stderr);
    }

    // It asks for a sync, and what was pushed is live.
    let second = pushed[0].1.commit("Second", &[("word", "x")])?;
    assert!(inside("web", &format!("varlinkctl call {socket} io.bitbuilder.Guest.Sync {{}}"))?.success());
    scene.await_status(&format!("\"verified\":\"{second}\""))?;
    Ok(())
}
