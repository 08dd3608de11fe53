//! A tenant whose commits have to be signed, a system repository whose commits have to be, and histories that go back.

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

#[test]
fn a_history_goes_back_only_if_an_operator_says_so() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    keys(&scene)?;
    let web = scene.repository("web")?;
    web.commit("First", &[("metadata.json", &manifest("web", &[], &json!({})))])?;
    let system = scene.follow(&[Registration::new("web")])?;
    let second = web.commit("Second", &[("note", "2")])?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    assert_eq!(scene.expect_state("web", "verified")?["verified"], json!(second));

    web.git("reset --quiet --hard HEAD~1 && git push --quiet --force origin HEAD:main")?;
    assert_eq!(scene.sync("web")?.code, 3);
    let refused = scene.expect_state("web", "refused")?;
    let reason = refused["reason"].as_str().unwrap();
    assert!(reason.contains(&second[..12]) && reason.ends_with("run: bitbuilder accept web"), "{reason}");
    assert_eq!(refused["verified"], json!(second));
    // It is remembered by more than a process.
    scene.must("systemctl kill --signal=KILL bitbuilder-orchestrator && bitbuilder status >/dev/null")?;
    assert_eq!(scene.sync("web")?.code, 3);

    scene.must("bitbuilder accept web")?;
    assert_eq!(scene.sync("web")?.code, 0);
    let first = web.git("rev-parse HEAD")?;
    assert_eq!(scene.expect_state("web", "verified")?["verified"], json!(first.trim()));

    // The same for the host's own repository, which from now on has to be signed.
    let init = "bitbuilder init --repository git://127.0.0.1/system";
    scene.must(&format!("{init} --signers /srv/alice.pub"))?;
    assert_eq!(scene.bitbuilder(&["sync", "system", "--wait"])?.code, 3);
    assert!(!scene.host.sh(init)?.success(), "signatures were given up by leaving them out");
    system.git(&signing("alice"))?;
    system.commit("Signed", &[("note", "1")])?;
    assert_eq!(scene.bitbuilder(&["sync", "system", "--wait"])?.code, 0);
    system.git("reset --quiet --hard HEAD~1 && git commit --quiet --allow-empty --message=Other && git push --quiet --force origin HEAD:main")?;
    assert_eq!(scene.bitbuilder(&["sync", "system", "--wait"])?.code, 3);
    scene.must("bitbuilder accept system")?;
    assert_eq!(scene.bitbuilder(&["sync", "system", "--wait"])?.code, 0);
    Ok(())
}
