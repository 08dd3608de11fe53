//! A commit on trial is confirmed, rejected, or goes back by itself when its time is over, also across a boot and a kill.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use anyhow::Result;
use integration_tests::{Registration, Repository, Scene, manifest, service};
use serde_json::{Value, json};
use test_host::Host;

const RUNS: &str = "systemd-run -M web --wait --pipe --quiet cat /srv/config/word";
const CONFIRM: &str = "version: \"1.0\"\nverify: { healthy: 1s, confirm: 10s }\n";

fn first(scene: &Scene, config: &str) -> Result<String> {
    scene.repository("web")?.commit(
        "First",
        &[
            ("metadata.json", &manifest("web", &["hello.service"], &json!({}))),
            ("units/hello.service", &service("sleep infinity")),
            (".gitops/config.yaml", config),
            ("word", "first"),
        ],
    )
}

fn says(web: &Repository<'_>, word: &str) -> Result<String> {
    web.commit(word, &[("word", word)])
}

/// The last verified commit runs again, for this reason.
fn went_back(scene: &Scene, to: &str, runs: &str, why: &str) -> Result<Value> {
    let status = scene.expect_state("web", "rolled_back")?;
    let reason = status["reason"].as_str().unwrap_or_default();
    assert!(reason.contains(why), "{reason}");
    assert_eq!((&status["verified"], &status["floor"]), (&json!(to), &json!(to)), "{status:#}");
    assert_eq!((scene.must(RUNS)?.as_str(), &status["confirmUntilUSec"]), (runs, &json!(null)));
    assert_eq!(scene.sync("web")?.code, 4, "it is tried again although nobody asked");
    assert_eq!(scene.must(RUNS)?, runs);
    Ok(status)
}

#[test]
fn by_whom_somebody_asks_for_it() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    let one = first(&scene, "version: \"1.0\"\nverify: { healthy: 1s }\n")?;
    scene.follow(&[Registration::new("web")])?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    let web = scene.open("web");
    let absent = scene.bitbuilder(&["confirm", "web"])?;
    assert!(absent.code == 1 && absent.stderr.contains("waits to be confirmed"), "{}", absent.stderr);

    let two = says(&web, "two")?;
    let applied = scene.bitbuilder(&["apply", "web", "--try", "5min"])?;
    assert!(applied.code == 0 && applied.stdout.contains("bitbuilder confirm web"), "{}", applied.stdout);
    let status = scene.expect_state("web", "confirming")?;
    assert_eq!((&status["verified"], &status["floor"], scene.must(RUNS)?.as_str()), (&json!(one), &json!(one), "two"));
    assert!(status["confirmUntilUSec"].as_u64().unwrap() > status["sinceUSec"].as_u64().unwrap());
    let other = json!({ "tenant": "web", "revision": one });
    assert!(
        scene.call("Orchestrator", "Confirm", &other).is_err(),
        "another commit than the one on trial was confirmed"
    );
    assert_eq!(scene.bitbuilder(&["confirm", "web", &two])?.code, 0);
    let status = scene.expect_state("web", "verified")?;
    assert_eq!((&status["verified"], &status["floor"]), (&json!(two), &json!(two)));

    // Nobody says anything, and the one who decides is killed meanwhile.
    let three = says(&web, "three")?;
    assert_eq!(scene.bitbuilder(&["apply", "web", "--try", "6s"])?.code, 0);
    scene.expect_state("web", "confirming")?;
    scene.must("systemctl kill --signal=KILL bitbuilder-orchestrator.service")?;
    scene.await_status("\"state\":\"rolled_back\"")?;
    let status = went_back(&scene, &two, "two", "nobody confirmed it within 6s")?;
    assert_eq!(status["wanted"], json!(three));

    // The same once more, also as another program says it.
    let time = json!({ "tenant": "web", "time": "1h" });
    assert_eq!(scene.call("Orchestrator", "Try", &time)?, json!({ "changed": true }));
    assert!(scene.call("Orchestrator", "Try", &json!({ "tenant": "web", "time": "2d" })).is_err());
    scene.await_status("\"state\":\"confirming\"")?;
    assert_eq!(scene.must(RUNS)?, "three");
    assert_eq!(scene.call("Orchestrator", "Reject", &json!({ "tenant": "web" }))?, json!({ "changed": true }));
    scene.await_status("\"state\":\"rolled_back\"")?;
    went_back(&scene, &two, "two", "somebody rejected it")?;
    let history = scene.must("bitbuilder history web")?;
    for event in ["confirming", "confirmed", "nobody confirmed it within 6s", "rolled back"] {
        assert!(history.contains(event), "{event}: {history}");
    }
    Ok(())
}

#[test]
fn by_the_repository_and_no_boot_is_a_confirmation() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    first(&scene, CONFIRM)?;
    scene.follow(&[Registration::new("web")])?;
    // There is nothing to go back to from the first one.
    scene.bitbuilder(&["sync", "--wait"])?;
    scene.await_status("\"state\":\"failed\"")?;
    let failed = scene.status("web")?;
    assert!(failed["reason"].as_str().unwrap().contains("nobody confirmed it within 10s"), "{failed:#}");
    scene.bitbuilder(&["sync", "--wait"])?;
    assert!(!scene.host.sh("systemctl is-active --quiet bitbuilder-container@web.service")?.success(), "it still runs");
    let web = scene.open("web");
    let longer = CONFIRM.replace("10s", "1h");
    let one = web.commit("one", &[("word", "one"), (".gitops/config.yaml", &longer)])?;
    assert_eq!(scene.sync("web")?.code, 0);
    assert_eq!(scene.bitbuilder(&["confirm", "web"])?.code, 0);
    assert_eq!(scene.expect_state("web", "verified")?["verified"], json!(one));

    for (number, orderly) in [true, false].into_iter().enumerate() {
        let next = says(&web, &format!("next {number}"))?;
        assert_eq!(scene.sync("web")?.code, 0);
        assert_eq!(scene.expect_state("web", "confirming")?["wanted"], json!(next));
        if orderly {
            scene.host.reboot()?
        } else {
            scene.host.power_loss()?
        }
        scene.await_status("\"state\":\"rolled_back\"")?;
        went_back(&scene, &one, "one", "the host was booted before anybody confirmed it")?;
    }
    // What goes back is mended by another commit, which waits again.
    says(&web, "mended")?;
    assert_eq!(scene.sync("web")?.code, 0);
    scene.expect_state("web", "confirming")?;
    Ok(())
}
