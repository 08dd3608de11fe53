//! A commit that was applied and does not hold is taken back by itself, with its reason, and not tried again.

use anyhow::Result;
use integration_tests::{Registration, Scene, manifest, service};
use serde_json::json;
use test_host::Host;

#[test]
fn each_way_to_fail_goes_back_to_the_last_verified_commit() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    let good = manifest("web", &["hello.service"], &json!({}));
    let unit = service("/bin/sh -c 'cat /srv/config/word; exec sleep infinity'");
    let web = scene.repository("web")?;
    let first =
        web.commit("First", &[("metadata.json", &good), ("units/hello.service", &unit), ("word", "the good one\n")])?;
    scene.follow(&[Registration::new("web")])?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    scene.expect_state("web", "verified")?;

    let failures = [
        ("a service that fails at once", "units/hello.service", service("/bin/false"), "hello.service failed"),
        (
            "a service that ends after a moment",
            "units/hello.service",
            service("sleep 2"),
            "hello.service did not stay active for 5 s",
        ),
        (
            "a service that starts over and over",
            "units/hello.service",
            "[Service]\nExecStart=/bin/false\nRestart=always\nRestartSec=1\nStartLimitIntervalSec=0\n".to_owned(),
            "hello.service did not stay active",
        ),
        (
            "an image that is not there",
            "metadata.json",
            good.replace("\"debian\"", "\"absent\""),
            "no base image absent",
        ),
        (
            "an extension that is not there",
            "metadata.json",
            good.replacen('{', "{ \"extensions\": { \"sysext\": [\"absent\"] },", 1),
            "no extension image absent",
        ),
    ];
    for (what, path, content, reason) in failures {
        let bad = web.commit(what, &[(path, &content)])?;
        let synced = scene.sync("web")?;
        let status = scene.expect_state("web", "rolled_back")?;
        let said = status["reason"].as_str().unwrap_or_default();
        assert!(said.contains(reason), "{what}: {said}");
        assert_eq!((synced.code, &status["wanted"], &status["verified"]), (4, &json!(bad), &json!(first)), "{what}");
        assert_eq!(scene.must("systemctl -M web is-active hello.service")?.trim(), "active", "{what}");
        scene.must("systemd-run -M web --wait --pipe --quiet grep -q good /srv/config/word")?;
        // It is not tried again, however often somebody looks.
        let generation = status["generation"].clone();
        assert_eq!(scene.sync("web")?.code, 4);
        assert_eq!(scene.status("web")?["generation"], generation, "{what} was tried again");
        web.git("revert --no-edit HEAD && git push --quiet origin HEAD:main")?;
        assert_eq!(scene.sync("web")?.code, 0, "{what}: the revert");
        scene.expect_state("web", "verified")?;
        web.git(&format!("reset --quiet --hard {first} && git push --quiet --force origin HEAD:main"))?;
        assert_eq!(scene.sync("web")?.code, 0);
    }
    Ok(())
}

#[test]
fn a_first_commit_that_fails_says_so_and_the_next_one_mends_it() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    let web = scene.repository("web")?;
    web.commit(
        "First",
        &[
            ("metadata.json", &manifest("web", &["hello.service"], &json!({}))),
            ("units/hello.service", &service("/bin/false")),
        ],
    )?;
    scene.follow(&[Registration::new("web")])?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 1);
    assert!(scene.expect_state("web", "failed")?["reason"].as_str().unwrap().contains("hello.service failed"));
    web.commit("Second", &[("units/hello.service", &service("sleep infinity"))])?;
    assert_eq!(scene.sync("web")?.code, 0);
    scene.expect_state("web", "verified")?;
    Ok(())
}
