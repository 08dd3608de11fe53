//! What this machine cannot give, or gave to somebody else, is refused before anything is touched, and `status` says why.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use anyhow::Result;
use integration_tests::{Registration, Scene, manifest};
use serde_json::{Value, json};
use test_host::{Disk, Host};

/// A tenant that may ask for more than any disk has.
fn greedy(name: &str) -> Registration {
    let limits = json!({ "ports": ["8000-8999"], "storage": { "data": "900T", "root": "900T" } });
    Registration { name: name.to_owned(), limits }
}

#[test]
fn an_image_room_a_port_and_an_order_that_cannot_be_had() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    let forward = json!({ "network": { "forward": [{ "host": 8001, "tenant": 80 }] } });
    let mail = scene.repository("mail")?;
    mail.commit("First", &[("metadata.json", &manifest("mail", &[], &forward))])?;
    let web = scene.repository("web")?;
    web.commit("None", &[("metadata.json", &manifest("web", &[], &json!({ "image": "absent" })))])?;
    scene.follow(&[greedy("mail"), greedy("web")])?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 3);
    let started = "systemctl show bitbuilder-container@mail.service -p MainPID -p ActiveEnterTimestampMonotonic";
    let before = scene.must(started)?;
    let refused = |more: &Value, reason: &str, line: &str| -> Result<()> {
        let metadata = manifest("web", &[], more);
        web.commit("Too much", &[("metadata.json", &metadata)])?;
        let planned = scene.host.sh("bitbuilder plan --repository /srv/trees/web --revision HEAD")?;
        assert_eq!(planned.code, 3, "{more}: {}", planned.stdout);
        assert_eq!(scene.sync("web")?.code, 3, "{more}");
        let status = scene.expect_state("web", "refused")?;
        let said = status["reason"].as_str().unwrap();
        let number = metadata.lines().position(|text| text.contains(line)).unwrap() + 1;
        let place = format!("web:metadata.json:{number}:");
        assert!(said.contains(reason) && said.contains(&place), "{more}: {said}\nnot: {reason} at {place}");
        assert!(planned.stdout.contains(said.trim_end()), "the plan said something else: {}", planned.stdout);
        assert_eq!((&status["verified"], &status["generation"]), (&json!(null), &json!(0)), "{more}");
        Ok(())
    };
    refused(&json!({ "image": "absent" }), "this host has no image absent; it has: debian", "\"image\"")?;
    refused(&json!({ "resources": { "storage": { "data": "800T" } } }), "of this host's disk, and", "\"storage\"")?;
    refused(&forward, "the host's tcp port 8001 belongs to another tenant", "\"host\": 8001")?;
    refused(&json!({ "dependsOn": ["nobody"] }), "no tenant nobody is registered on this host", "\"nobody\"")?;
    assert_eq!(scene.must(started)?, before, "the neighbour was touched");
    // The other one waits for it already.
    mail.commit("Waits", &[("metadata.json", &manifest("mail", &[], &json!({ "dependsOn": ["web"] })))])?;
    assert_eq!(scene.sync("mail")?.code, 0);
    refused(&json!({ "dependsOn": ["mail"] }), "tenants would wait for each other: web → mail → web", "\"mail\"")?;
    scene.must("test ! -e /var/lib/tenants/web && ! machinectl --no-legend list | grep -w web")?;

    // What it can give, it gives; and what a root was made for once is not refused when room gets short.
    web.commit("Enough", &[("metadata.json", &manifest("web", &[], &json!({})))])?;
    assert_eq!(scene.sync("web")?.code, 0);
    web.commit(
        "Too late",
        &[("metadata.json", &manifest("web", &[], &json!({ "resources": { "storage": { "data": "800T" } } })))],
    )?;
    assert_eq!(scene.sync("web")?.code, 0, "its volumes are there already");
    scene.expect_state("web", "verified").map(drop)
}

#[test]
fn storage_says_what_there_is() -> Result<()> {
    for (disk, shared) in [(Disk::Btrfs, true), (Disk::Ext4, false)] {
        let scene = Scene::boot(Host::builder("").disk(disk))?;
        let described = scene.call("Storage", "Describe", &json!({}))?;
        assert_eq!(
            (&described["images"][0]["name"], &described["images"][0]["shared"]),
            (&json!("debian"), &json!(shared))
        );
        let free = scene.must("df --output=avail -B1 /var/lib/tenants | tail -1")?;
        let (said, real) = (described["free"].as_f64().unwrap(), free.trim().parse::<f64>()?);
        assert!((said - real).abs() < 64e6, "{said} {real}");
        scene.repository("web")?.commit("First", &[("metadata.json", &manifest("web", &[], &json!({})))])?;
        scene.follow(&[Registration::new("web")])?;
        assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
        let size = scene.call("Storage", "Describe", &json!({}))?["images"][0]["size"].clone();
        assert_eq!(size.as_u64().is_some_and(|bytes| bytes > 10 << 20), !shared, "{size}");
    }
    Ok(())
}
