//! Pushes within milliseconds, each with somebody who waits for it: nobody is refused, and what runs in the end is the last. The same
//! with what people say at that moment: it ends as if one had come after the other, whichever that was.

use anyhow::{Result, ensure};
use integration_tests::{Belongings, Registration, Scene, manifest, registry};
use serde_json::json;
use test_host::Host;

#[test]
fn two_at_once_ten_times() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    let web = scene.repository("web")?;
    web.commit("First", &[("metadata.json", &manifest("web", &[], &json!({}))), ("word", "0\n")])?;
    scene.follow(&[Registration::new("web")])?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    // No pipeline: it would wait for the stream, which has no end.
    scene.must("bitbuilder status --watch --json=short >/run/states 2>&1 & echo $! >/run/watching")?;
    for round in 1..=10 {
        scene.must(&format!(
            "cd /srv/trees/web
             push() {{ echo $1 >word; git commit --quiet --all --message=$1; git push --quiet origin HEAD:main; }}
             push {round}-first
             bitbuilder sync web --wait >/run/first 2>&1 & first=$!
             push {round}-second
             bitbuilder sync web --wait >/run/second 2>&1 & second=$!
             wait $first || {{ echo first: $? >&2; cat /run/first >&2; exit 1; }}
             wait $second || {{ echo second: $? >&2; cat /run/second >&2; exit 1; }}"
        ))?;
        let last = web.git("rev-parse HEAD")?;
        let status = scene.expect_state("web", "verified")?;
        assert_eq!(status["verified"], json!(last.trim()), "round {round}");
        let word = scene.must("systemd-run -M web --wait --pipe --quiet cat /srv/config/word")?;
        assert_eq!(word, format!("{round}-second\n"));
    }
    let states = scene.must("kill $(cat /run/watching); cat /run/states")?;
    assert!(states.lines().count() > 10, "{states}");
    for never in ["refused", "rolled_back", "failed"] {
        assert!(!states.contains(&format!("\"state\":\"{never}\"")), "{states}");
    }
    Ok(())
}

/// A tenant that leaves at once, and what there is of it.
fn verified(scene: &Scene) -> Result<Belongings> {
    let config = (".gitops/config.yaml", "version: \"1.0\"\nretention: { grace: 0s, data: delete }\n");
    let metadata = manifest("web", &[], &json!({}));
    scene.repository("web")?.commit("First", &[("metadata.json", &metadata), ("word", "0\n"), config])?;
    scene.follow(&[Registration::new("web")])?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    scene.belongings(&["web"])
}

/// Two things at once; whichever comes first, both end.
fn at_once(scene: &Scene, one: &str, other: &str) -> Result<()> {
    scene.must(&format!(
        "timeout 60 {one} >/run/one 2>&1 & one=$!
         timeout 60 {other} >/run/other 2>&1 & other=$!
         for ended in $one $other; do wait $ended && code=0 || code=$?; [ $code != 124 ] || {{ cat /run/one /run/other >&2; exit 1; }}; done"
    ))?;
    Ok(())
}

#[test]
fn a_push_and_what_somebody_says_of_another() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    let before = verified(&scene)?;
    let (web, mut good) = (scene.open("web"), json!(scene.open("web").git("rev-parse HEAD")?.trim()));
    for round in 0..4 {
        for said in ["apply web --try 1h", "reject web", "confirm web", "retry web", "suspend web", "resume web"] {
            let when = format!("round {round}: {said}");
            let pushed = json!(web.commit(&when, &[("word", &format!("{when}\n"))])?);
            let (sync, said) = ("bitbuilder sync web --wait", format!("bitbuilder {said}"));
            let (one, other) = if round % 2 == 0 { (sync, &*said) } else { (&*said, sync) };
            at_once(&scene, one, other)?;
            // Who paused it did so before or after.
            scene.bitbuilder(&["resume", "web"])?;
            scene.sync("web")?;
            let status = scene.status("web")?;
            // It holds, waits for somebody to confirm it, or was taken back by who rejected it.
            match status["state"].as_str() {
                Some("verified") => assert_eq!(status["verified"], pushed, "{when}: {status:#}"),
                Some("confirming") => {
                    assert_eq!((&status["wanted"], &status["verified"]), (&pushed, &good), "{when}: {status:#}")
                }
                Some("rolled_back") if said.contains("reject") => {
                    assert_eq!(status["verified"], good, "{when}: {status:#}")
                }
                _ => anyhow::bail!("{when}: {status:#}"),
            }
            good = status["verified"].clone();
            let again = scene.status("web")?;
            scene.sync("web")?;
            assert_eq!(
                again["generation"],
                scene.status("web")?["generation"],
                "{when}: a second look changes something"
            );
            scene.belongings(&["web"])?.expect(&before, &when)?;
        }
    }
    scene.bitbuilder(&["confirm", "web"])?;
    let last = json!(web.commit("Last", &[("word", "last\n")])?);
    assert_eq!(scene.sync("web")?.code, 0);
    assert_eq!(scene.expect_state("web", "verified")?["verified"], last);
    Ok(())
}

#[test]
fn a_push_and_the_end_of_its_tenant() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    let here = verified(&scene)?;
    let (system, web) = (scene.open("system"), scene.open("web"));
    let tenants = |names: &[&str]| registry(&names.iter().map(|name| Registration::new(name)).collect::<Vec<_>>());
    let mut gone = None;
    for round in 0..4 {
        let when = format!("round {round}");
        web.commit(&when, &[("word", &when)])?;
        system.commit("None", &[("tenants/registry.json", &tenants(&[]))])?;
        let (sync, end) = ("bitbuilder sync web --wait", "bitbuilder sync --wait");
        let (one, other) = if round % 2 == 0 { (sync, end) } else { (end, sync) };
        at_once(&scene, one, other)?;
        if round < 2 {
            // It has left, and nobody who came late has made it again.
            scene.bitbuilder(&["sync", "--wait"])?;
            assert_eq!(scene.bitbuilder(&["status", "web"])?.code, 1, "{when}");
            let left = scene.belongings(&[])?;
            left.expect(gone.get_or_insert(left.clone()), &when)?;
        } else {
            // Somebody takes it back while it is being removed.
            system.commit("Web", &[("tenants/registry.json", &tenants(&["web"]))])?;
            at_once(&scene, "bitbuilder remove web --yes", "bitbuilder sync --wait")?;
        }
        system.commit("Web", &[("tenants/registry.json", &tenants(&["web"]))])?;
        let synced = scene.bitbuilder(&["sync", "--wait"])?;
        ensure!(synced.code == 0, "{when}: {}{}", synced.stdout, synced.stderr);
        scene.expect_state("web", "verified")?;
        scene.belongings(&["web"])?.expect(&here, &when)?;
    }
    Ok(())
}
