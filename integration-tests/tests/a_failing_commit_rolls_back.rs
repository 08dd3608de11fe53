//! A commit that was applied and does not hold is taken back by itself, with its reason, and not tried again.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use anyhow::Result;
use integration_tests::{Registration, Scene, manifest, service};
use serde_json::{Value, json};
use test_host::Host;

/// A commit that fails: what is wrong, the file that says it, and what the host says of it.
type Failure<'a> = (&'a str, &'a str, String, &'a str);

fn goes_back_each_time(failures: &[Failure<'_>]) -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    let unit = service("/bin/sh -c 'cat /srv/config/word; exec sleep infinity'");
    let web = scene.repository("web")?;
    let mut good = web
        .commit("First", &[("metadata.json", &hello()), ("units/hello.service", &unit), ("word", "the good one\n")])?;
    scene.follow(&[Registration::new("web")])?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    scene.expect_state("web", "verified")?;
    for (what, path, content, reason) in failures {
        let bad = web.commit(what, &[(path, content)])?;
        let synced = scene.sync("web")?;
        let status = scene.expect_state("web", "rolled_back")?;
        let said = status["reason"].as_str().unwrap_or_default();
        assert!(said.contains(reason), "{what}: {said}");
        assert_eq!((synced.code, &status["wanted"], &status["verified"]), (4, &json!(bad), &json!(good)), "{what}");
        assert_eq!(scene.must("systemctl -M web is-active hello.service")?.trim(), "active", "{what}");
        scene.must("systemd-run -M web --wait --pipe --quiet grep -q good /srv/config/word")?;
        // It is not tried again, however often somebody looks.
        let generation = status["generation"].clone();
        assert_eq!(scene.sync("web")?.code, 4);
        assert_eq!(scene.status("web")?["generation"], generation, "{what} was tried again");
        web.git("revert --no-edit HEAD && git push --quiet origin HEAD:main")?;
        assert_eq!(scene.sync("web")?.code, 0, "{what}: the revert");
        good = web.git("rev-parse HEAD")?.trim().to_owned();
        assert_eq!(scene.expect_state("web", "verified")?["verified"], json!(good));
    }
    Ok(())
}

fn hello() -> String {
    manifest("web", &["hello.service"], &json!({}))
}

#[test]
fn a_service_that_does_not_hold() -> Result<()> {
    let path = "units/hello.service";
    goes_back_each_time(&[
        ("a service that fails at once", path, service("/bin/false"), "hello.service failed"),
        ("a service that ends after a moment", path, service("sleep 2"), "hello.service did not stay active for 5 s"),
        (
            "a service that starts over and over",
            path,
            "[Service]\nExecStart=/bin/false\nRestart=always\nRestartSec=1\nStartLimitIntervalSec=0\n".to_owned(),
            "hello.service did not stay active",
        ),
    ])
}

#[test]
fn an_extension_that_is_not_there() -> Result<()> {
    let path = "metadata.json";
    let with = "{ \"extensions\": { \"sysext\": [\"absent\"] },";
    goes_back_each_time(&[(
        "an extension that is not there",
        path,
        hello().replacen('{', with, 1),
        "no extension image absent",
    )])
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
    let failed = scene.expect_state("web", "failed")?;
    assert!(failed["reason"].as_str().unwrap().contains("hello.service failed"));
    for look in 1..=3 {
        assert_eq!(scene.sync("web")?.code, 1);
        let again = scene.expect_state("web", "failed")?;
        let same = |status: &Value| (status["generation"].clone(), status["reason"].clone());
        assert_eq!(same(&again), same(&failed), "look {look} tried it again");
    }
    web.commit("Second", &[("units/hello.service", &service("sleep infinity"))])?;
    assert_eq!(scene.sync("web")?.code, 0);
    scene.expect_state("web", "verified")?;
    Ok(())
}
