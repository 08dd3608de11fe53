//! Many tenants are new at once: each comes, in the order in which they depend on each other, and those that cannot come
//! hold up only those that depend on them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use anyhow::Result;
use integration_tests::{Registration, Scene, manifest, service};
use serde_json::{Value, json};
use test_host::Host;

/// Each has six of the inotify instances that this machine's root may have, which all hosts on it share.
const PLAIN: usize = 6;

fn commit(scene: &Scene, name: &str, command: Option<&str>, depends_on: &[&str]) -> Result<()> {
    let unit = format!("{name}.service");
    let services: &[&str] = if command.is_some() { &[&unit] } else { &[] };
    let metadata = manifest(name, services, &json!({ "dependsOn": depends_on }));
    let shipped = service(command.unwrap_or_default());
    let path = format!("units/{unit}");
    let mut files = vec![("metadata.json", metadata.as_str())];
    files.extend(command.map(|_| (path.as_str(), shipped.as_str())));
    scene.repository(name)?.commit("First", &files).map(drop)
}

fn moment(scene: &Scene, tenant: &str, property: &str) -> Result<u64> {
    let shown = scene.must(&format!("systemctl show -p {property} --value bitbuilder-container@{tenant}.service"))?;
    Ok(shown.trim().parse()?)
}

fn unconverged(status: &Value) -> &str {
    status["unconverged"].as_str().unwrap_or_default()
}

#[test]
fn in_order_and_without_holding_each_other_up() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    let plain: Vec<String> = (0..PLAIN).map(|number| format!("plain{number}")).collect();
    for name in &plain {
        commit(&scene, name, None, &[])?;
    }
    // Named so that no order of names is the right one.
    commit(&scene, "a-page", None, &["m-database", "z-cache"])?;
    commit(&scene, "m-database", Some("sleep infinity"), &["z-cache"])?;
    commit(&scene, "z-cache", None, &[])?;
    // One that ends at once, one whose repository is empty, and who depends on them.
    commit(&scene, "broken", Some("/bin/false"), &[])?;
    commit(&scene, "on-broken", None, &["broken"])?;
    commit(&scene, "on-both", None, &["plain0", "on-broken"])?;
    scene.repository("empty")?;
    commit(&scene, "on-empty", None, &["empty"])?;
    let others = ["a-page", "m-database", "z-cache", "broken", "on-broken", "on-both", "empty", "on-empty"];
    let all = plain.iter().map(String::as_str).chain(others);
    let registrations: Vec<Registration> = all.map(Registration::new).collect();
    scene.follow(&registrations)?;
    assert_ne!(scene.bitbuilder(&["sync", "--wait"])?.code, 0, "some cannot come");

    for name in plain.iter().map(String::as_str).chain(["a-page", "m-database", "z-cache"]) {
        scene.expect_state(name, "verified")?;
    }
    let ready = |tenant: &str| moment(&scene, tenant, "ActiveEnterTimestampMonotonic");
    let begun = |tenant: &str| moment(&scene, tenant, "InactiveExitTimestampMonotonic");
    assert!(ready("z-cache")? < begun("m-database")?);
    assert!(ready("m-database")? < begun("a-page")?);
    let last = plain.iter().map(|name| ready(name)).collect::<Result<Vec<_>>>()?.into_iter().max().unwrap();
    println!("the last of {PLAIN} was ready {} ms after the first of them began", (last - begun("plain0")?) / 1000);

    scene.expect_state("broken", "failed")?;
    for (name, why) in [
        ("on-broken", "it waits for broken, which did not hold"),
        ("on-both", "it waits for on-broken, which waits for another"),
        ("on-empty", "it waits for empty, which cannot be fetched"),
    ] {
        let status = scene.status(name)?;
        assert_eq!(unconverged(&status), why, "{status}");
        assert_eq!(begun(name)?, 0, "{name} was started");
    }

    // Who waited begins where the others hold, without being asked.
    scene.open("broken").commit("Mended", &[("units/broken.service", &service("sleep infinity"))])?;
    assert_eq!(scene.sync("broken")?.code, 0);
    commit_first(&scene, "empty")?;
    assert_eq!(scene.sync("empty")?.code, 0);
    for name in ["on-broken", "on-both", "on-empty"] {
        scene.await_status(&format!("\"tenant\":\"{name}\",\"state\":\"verified\""))?;
    }
    assert!(ready("broken")? < begun("on-broken")? && ready("on-broken")? < begun("on-both")?);

    // What runs is not stopped because another is.
    let before = ready("a-page")?;
    let off = json!({ "tenant": { "name": "z-cache", "type": "container", "enabled": false } });
    scene.open("z-cache").commit("Off", &[("metadata.json", &manifest("z-cache", &[], &off))])?;
    assert_eq!(scene.sync("z-cache")?.code, 0);
    scene.expect_state("z-cache", "stopped")?;
    scene.expect_state("a-page", "verified")?;
    assert_eq!(ready("a-page")?, before);
    Ok(())
}

fn commit_first(scene: &Scene, name: &str) -> Result<()> {
    scene.open(name).commit("First", &[("metadata.json", &manifest(name, &[], &json!({})))]).map(drop)
}
