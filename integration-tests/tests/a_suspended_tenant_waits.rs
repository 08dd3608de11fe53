//! A suspended tenant is left alone, by pushes, by the timer and by drift, over restarts and boots; a resumed one is followed
//! at once. What was given up is tried again when somebody asks.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use anyhow::Result;
use integration_tests::{Registration, Scene, manifest, service};
use serde_json::{Value, json};
use test_host::Host;

#[test]
fn until_it_is_resumed() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    let web = scene.repository("web")?;
    let metadata = manifest("web", &[], &json!({}));
    let first = web.commit("First", &[("metadata.json", &metadata)])?;
    scene.repository("mail")?.commit("First", &[("metadata.json", &manifest("mail", &[], &json!({})))])?;
    scene.follow(&[Registration::new("web"), Registration::new("mail")])?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);

    assert_eq!(scene.call("Orchestrator", "Suspend", &json!({ "tenant": "web" }))?, json!({ "changed": true }));
    assert_eq!(scene.bitbuilder(&["suspend", "web"])?.code, 0);
    let since = scene.status("web")?["suspendedSinceUSec"].clone();
    assert!(since.as_u64().is_some_and(|since| since > 0), "{since}");
    let second = web.commit("Second", &[("word", "x\n")])?;
    let synced = scene.sync("web")?;
    assert!(synced.code == 5 && synced.stdout.contains("bitbuilder resume web"), "{} {}", synced.code, synced.stdout);
    assert_eq!(scene.bitbuilder(&["sync", "web"])?.code, 5);
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0, "the others are what they should be");
    assert_eq!(scene.status("web")?["wanted"], json!(first), "its repository was looked at");
    assert_eq!(scene.bitbuilder(&["retry", "web"])?.code, 5);

    // Neither a killed orchestrator nor drift changes anything; a boot starts what was verified.
    scene.must("systemctl kill --signal=KILL bitbuilder-orchestrator.service")?;
    scene.must("systemctl stop bitbuilder-container@web.service")?;
    assert_eq!(scene.sync("web")?.code, 5);
    assert!(!scene.host.sh("systemctl is-active --quiet bitbuilder-container@web.service")?.success());
    assert!(scene.must("bitbuilder plan web")?.contains("is suspended"));
    scene.host.reboot()?;
    scene.must(
        "timeout 60 bash -c 'until systemctl is-active --quiet bitbuilder-container@web.service; do sleep 0.1; done'",
    )?;
    let status = scene.status("web")?;
    assert_eq!((&status["suspendedSinceUSec"], &status["verified"]), (&since, &json!(first)), "{status:#}");
    let shown = scene.must("bitbuilder status web")?;
    assert!(shown.contains("suspended") && shown.contains("next       bitbuilder resume web"), "{shown}");

    assert_eq!(scene.bitbuilder(&["resume", "web"])?.code, 0);
    scene.await_status(&format!("\"verified\":\"{second}\""))?;
    assert_eq!(scene.sync("web")?.code, 0);
    assert_eq!(scene.status("web")?["suspendedSinceUSec"], json!(null));
    let history = scene.must("bitbuilder history web")?;
    for event in ["registered", "admitted", "planned", "verified", "suspended", "resumed"] {
        assert!(history.contains(event), "{event}: {history}");
    }
    for verb in ["suspend", "resume", "retry"] {
        let absent = scene.bitbuilder(&[verb, "nobody"])?;
        assert!(absent.code == 1 && absent.stderr.contains("no tenant nobody"), "{}", absent.stderr);
    }
    Ok(())
}

#[test]
fn what_was_given_up_is_tried_again() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    let web = scene.repository("web")?;
    // It depends on something outside its repository.
    let unit = service("/bin/sh -c 'test -e /srv/data/ready && exec sleep infinity'");
    let metadata = manifest("web", &["hello.service"], &json!({}));
    let first = web.commit("First", &[("metadata.json", &metadata), ("units/hello.service", &unit)])?;
    scene.follow(&[Registration::new("web")])?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 1);
    scene.expect_state("web", "failed")?;
    assert!(scene.must("bitbuilder status web")?.contains("bitbuilder retry web"));
    scene.must("touch /var/lib/tenants/web/data/ready")?;
    assert_eq!(scene.sync("web")?.code, 1, "nobody asked for another try");
    assert_eq!(scene.bitbuilder(&["retry", "web"])?.code, 0);
    scene.await_status(&format!("\"verified\":\"{first}\""))?;

    scene.must("rm /var/lib/tenants/web/data/ready")?;
    let again = format!("{unit}Environment=AGAIN=yes\n");
    let second = web.commit("Second", &[("units/hello.service", &again)])?;
    // The verified commit would not hold now either: it is there again before it is started.
    let synced = scene.sync("web")?;
    assert!([1, 4].contains(&synced.code), "{}", synced.stdout);
    scene.must("touch /var/lib/tenants/web/data/ready")?;
    assert_eq!(scene.bitbuilder(&["retry", "web"])?.code, 0);
    scene.await_status(&format!("\"verified\":\"{second}\""))?;
    let history = scene.call("Orchestrator", "History", &json!({ "tenant": "web" }))?;
    let told = |kind: &str, revision: &str| {
        let is = |event: &&Value| event["kind"] == kind && event["revision"] == revision;
        history["events"].as_array().unwrap().iter().filter(is).count()
    };
    assert_eq!(
        (told("failed", &first) >= 1, told("retried", &first), told("verified", &first)),
        (true, 1, 1),
        "{history:#}"
    );
    assert_eq!(
        (told("failed", &second), told("retried", &second), told("verified", &second)),
        (1, 1, 1),
        "{history:#}"
    );
    assert!(scene.must("bitbuilder retry web")?.contains("No commit"), "there is nothing left to be tried");
    Ok(())
}
