//! A tenant whose commits have to be signed, and a system repository whose commits have to be.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use anyhow::Result;
use integration_tests::{Registration, Scene, manifest, registry, service};
use serde_json::json;
use test_host::Host;

/// SSH keys of alice and mallory, which `git` on the host signs with.
fn keys(scene: &Scene) -> Result<String> {
    scene.must("cd /srv && for who in alice mallory; do ssh-keygen -q -t ed25519 -N '' -f $who; done")?;
    scene.must("cat /srv/alice.pub")
}

fn signing(who: &str) -> String {
    format!("config gpg.format ssh && git config user.signingKey /srv/{who}.pub && git config commit.gpgSign true")
}

#[test]
fn a_commit_runs_only_if_somebody_signed_it_who_may() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    let key = keys(&scene)?;
    let system = scene.follow(&[Registration::new("web"), Registration::new("other")])?;
    let web = scene.repository("web")?;
    let other = scene.repository("other")?;
    let files = |text: &str| {
        [
            ("metadata.json".to_owned(), manifest("web", &["a.service"], &json!({}))),
            ("units/a.service".to_owned(), service("sleep infinity")),
            ("note".to_owned(), text.to_owned()),
        ]
    };
    let push = |text: &str| {
        let files = files(text);
        let files: Vec<(&str, &str)> = files.iter().map(|(path, content)| (path.as_str(), content.as_str())).collect();
        web.commit(text, &files)
    };
    other.commit("First", &[("metadata.json", &manifest("other", &[], &json!({})))])?;
    let registry = registry(&[Registration::new("web"), Registration::new("other")]);
    let signed = registry.replacen("\"limits\": {", "\"limits\": { \"signers\": [\"alice\"],", 1);
    system.commit("Web is signed", &[("tenants/registry.json", &signed), ("signers/alice.pub", &key)])?;

    push("Unsigned")?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 3);
    let refused = scene.expect_state("web", "refused")?;
    assert_eq!(refused["reason"], "it is not signed; allowed signers: alice");
    scene.expect_state("other", "verified")?;

    web.git(&signing("alice"))?;
    let good = push("Signed")?;
    assert_eq!(scene.sync("web")?.code, 0);
    assert_eq!(scene.expect_state("web", "verified")?["verified"], json!(good));

    web.git(&signing("mallory"))?;
    push("By another")?;
    assert_eq!(scene.sync("web")?.code, 3);
    let refused = scene.expect_state("web", "refused")?;
    assert!(refused["reason"].as_str().unwrap().contains("belongs to nobody who may"), "{refused}");
    assert_eq!(refused["verified"], json!(good), "what ran before does not run on");

    web.git(&signing("alice"))?;
    push("Signed again")?;
    assert_eq!(scene.sync("web")?.code, 0);
    system.commit("Lost", &[("signers/revoked.pub", &key)])?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 3);
    let refused = scene.expect_state("web", "refused")?;
    assert!(refused["reason"].as_str().unwrap().ends_with("of alice that signed it is revoked"), "{refused}");
    Ok(())
}
