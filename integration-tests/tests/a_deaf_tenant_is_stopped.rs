//! A tenant whose first process heeds no signal is stopped all the same, within the time of its unit: that is said, and nothing of
//! it is left, whether it should not run, becomes something else, or leaves.

use anyhow::{Result, ensure};
use integration_tests::{Registration, Scene, manifest, registry};
use serde_json::json;
use std::time::{Duration, Instant};
use test_host::Host;

/// The kernel keeps signals from the first process of a namespace that it has no handler for.
const DEAF: &str = "#!/bin/sh\nexec systemd-notify --no-block --exec --ready \\; /bin/sleep infinity\n";
const SAID: &str = "it did not end in time and was killed";

/// Does something that stops the tenant, which takes what its unit has for that and not much longer.
fn within_its_time<T>(what: impl FnOnce() -> Result<T>) -> Result<T> {
    let begun = Instant::now();
    let done = what()?;
    let took = begun.elapsed();
    ensure!(took >= Duration::from_secs(3) && took < Duration::from_secs(20), "it took {took:?}");
    Ok(done)
}

#[test]
fn however_it_is_stopped() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    scene.must("btrfs --quiet subvolume snapshot /var/lib/machines/debian /var/lib/machines/deaf")?;
    scene.host.write("/var/lib/machines/deaf/usr/lib/systemd/systemd", DEAF)?;
    scene.must(
        "mkdir -p /etc/systemd/system/bitbuilder-container@.service.d
         printf '[Service]\\nTimeoutStopSec=3s\\n' > /etc/systemd/system/bitbuilder-container@.service.d/test.conf
         systemctl daemon-reload",
    )?;
    let asks = |image: &str, enabled: bool| {
        let tenant = json!({ "name": "web", "type": "container", "enabled": enabled });
        manifest("web", &[], &json!({ "image": image, "tenant": tenant }))
    };
    let web = scene.repository("web")?;
    web.commit("First", &[("metadata.json", &asks("deaf", true))])?;
    let system = scene.follow(&[])?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    let never_had_it = scene.belongings(&[])?;
    let registered = registry(&[Registration::new("web")]);
    system.commit("Web", &[("tenants/registry.json", &registered)])?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    scene.expect_state("web", "verified")?;

    // It becomes something else.
    web.commit("Hears", &[("metadata.json", &asks("debian", true))])?;
    assert_eq!(within_its_time(|| scene.sync("web"))?.code, 0);
    scene.expect_state("web", "verified")?;
    let here = scene.belongings(&["web"])?;
    web.commit("Deaf", &[("metadata.json", &asks("deaf", true))])?;
    assert_eq!(scene.sync("web")?.code, 0);
    web.commit("Hears again", &[("metadata.json", &asks("debian", true))])?;
    assert_eq!(within_its_time(|| scene.sync("web"))?.code, 0);
    scene.belongings(&["web"])?.expect(&here, "after it became something else")?;

    // It should not run.
    web.commit("Deaf", &[("metadata.json", &asks("deaf", true))])?;
    assert_eq!(scene.sync("web")?.code, 0);
    web.commit("Off", &[("metadata.json", &asks("deaf", false))])?;
    assert_eq!(within_its_time(|| scene.sync("web"))?.code, 0);
    scene.expect_state("web", "stopped")?;

    // It leaves.
    let config = "version: \"1.0\"\nretention: { grace: 0s, data: delete }\n";
    web.commit("On", &[("metadata.json", &asks("deaf", true)), (".gitops/config.yaml", config)])?;
    assert_eq!(scene.sync("web")?.code, 0);
    system.commit("None", &[("tenants/registry.json", &registry(&[]))])?;
    assert_eq!(within_its_time(|| scene.bitbuilder(&["sync", "--wait"]))?.code, 0);
    scene.belongings(&[])?.expect(&never_had_it, "after it left")?;
    scene.await_said("tenant-manager.service", SAID, 4)
}

/// The kernel drops what is told to a first process that has only just begun.
#[test]
fn one_that_does_not_hear_yet_is_told_again() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    scene.repository("web")?.commit("First", &[("metadata.json", &manifest("web", &[], &json!({})))])?;
    scene.follow(&[Registration::new("web")])?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    let generation = scene.expect_state("web", "verified")?["generation"].clone();
    let named = json!({ "tenant": "web", "generation": generation });
    let stop = format!("varlinkctl call /run/bitbuilder/io.bitbuilder.Tenant io.bitbuilder.Tenant.Stop '{named}'");
    scene.host.write("/run/stop", format!("exec {stop}\n"))?;
    for round in 0..5 {
        let restart = "systemctl restart bitbuilder-container@web.service";
        let begun = Instant::now();
        scene.kill_when("", "Starting bitbuilder-container@web", restart, "bash /run/stop")?;
        ensure!(begun.elapsed() < Duration::from_secs(20), "in round {round} it took {:?}", begun.elapsed());
        scene.call("Tenant", "Start", &named)?;
    }
    Ok(())
}
