//! Pushes within milliseconds, each with somebody who waits for it: nobody is refused, and what runs in the end is the last.

use anyhow::Result;
use integration_tests::{Registration, Scene, manifest};
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
