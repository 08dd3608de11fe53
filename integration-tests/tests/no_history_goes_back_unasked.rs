//! Forced pushes and replayed states: refused until an operator says otherwise, also after the ledger is lost.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use anyhow::Result;
use integration_tests::{Registration, Scene, manifest, service};
use serde_json::json;
use test_host::Host;

const INIT: &str = "bitbuilder init --repository git://127.0.0.1/system";

/// An SSH key of alice, which `git` on the host signs with.
fn key(scene: &Scene) -> Result<()> {
    scene.must("ssh-keygen -q -t ed25519 -N '' -f /srv/alice").map(drop)
}

/// Has commits signed with it.
const SIGNING: &str =
    "config gpg.format ssh && git config user.signingKey /srv/alice.pub && git config commit.gpgSign true";

#[test]
fn a_history_goes_back_only_if_an_operator_says_so() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    key(&scene)?;
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

    // What is accepted is this one commit: another is judged as ever, and takes the acceptance back.
    let force = "git push --quiet --force /srv/git/web HEAD:main";
    let first = web.git("rev-parse HEAD")?.trim().to_owned();
    scene.must("systemctl stop git-daemon.socket && bitbuilder accept web")?;
    web.git(&format!("commit --quiet --allow-empty --message=Another && {force}"))?;
    scene.must("systemctl start git-daemon.socket")?;
    assert_eq!(scene.sync("web")?.code, 3);
    assert_eq!(scene.expect_state("web", "refused")?["floor"], json!(second));
    web.git(&format!("reset --quiet --hard HEAD~1 && {force}"))?;
    assert_eq!(scene.sync("web")?.code, 3);

    assert!(scene.must("bitbuilder accept web")?.starts_with(&format!("{first} of web may now")));
    assert_eq!(scene.sync("web")?.code, 0);
    assert_eq!(scene.expect_state("web", "verified")?["verified"], json!(first));
    let nothing = scene.bitbuilder(&["accept", "web"])?;
    assert_eq!(nothing.code, 1);
    assert!(nothing.stderr.contains("no commit of web is refused for its history"), "{}", nothing.stderr);

    // The same for the host's own repository, which from now on has to be signed.
    scene.must(&format!("{INIT} --signers /srv/alice.pub"))?;
    assert_eq!(scene.bitbuilder(&["sync", "system", "--wait"])?.code, 3);
    assert!(!scene.host.sh(INIT)?.success(), "signatures were given up by leaving them out");
    system.git(SIGNING)?;
    system.commit("Signed", &[("note", "1")])?;
    assert_eq!(scene.bitbuilder(&["sync", "system", "--wait"])?.code, 0);
    system.git("reset --quiet --hard HEAD~1 && git commit --quiet --allow-empty --message=Other && git push --quiet --force origin HEAD:main")?;
    assert_eq!(scene.bitbuilder(&["sync", "system", "--wait"])?.code, 3);
    let other = system.git("rev-parse HEAD")?.trim().to_owned();
    scene.must(&format!("bitbuilder accept system {}", "0".repeat(40)))?;
    assert_eq!(scene.bitbuilder(&["sync", "system", "--wait"])?.code, 3, "what was accepted is another one");
    scene.must(&format!("bitbuilder accept system {other}"))?;
    assert_eq!(scene.bitbuilder(&["sync", "system", "--wait"])?.code, 0);
    assert!(!scene.host.sh("bitbuilder accept system")?.success());
    Ok(())
}

/// Stops the orchestrator, lets `lose` happen, and starts it without any memory of the host.
fn forget(scene: &Scene, lose: &str) -> Result<()> {
    let units = "bitbuilder-orchestrator.socket bitbuilder-orchestrator.service";
    scene.must(&format!(
        "systemctl stop {units} && rm -r /var/lib/bitbuilder/orchestrator/* && {lose} && systemctl start {units}"
    ))?;
    Ok(())
}

#[test]
fn a_lost_ledger_is_no_way_back() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    let web = scene.repository("web")?;
    let unit = service("sleep infinity");
    let manifest = manifest("web", &["a.service"], &json!({}));
    let first = web.commit("First", &[("metadata.json", &manifest), ("units/a.service", &unit)])?;
    scene.follow(&[Registration::new("web")])?;
    let second = web.commit("Second", &[("note", "2")])?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    assert_eq!(scene.expect_state("web", "verified")?["floor"], json!(second));
    let leader = "machinectl show web --property=Leader --value";
    let running = scene.must(leader)?;

    // The ledger is gone, and the server shows an older state.
    let back = "reset --quiet --hard HEAD~1 && git push --quiet --force origin HEAD:main";
    web.git(back)?;
    forget(&scene, "true")?;
    scene.must(INIT)?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 3);
    let refused = scene.expect_state("web", "refused")?;
    assert!(refused["reason"].as_str().unwrap().ends_with("run: bitbuilder accept web"), "{refused}");
    assert_eq!((&refused["floor"], &refused["floorLost"]), (&json!(second), &json!(false)));
    assert_eq!(scene.must(leader)?, running, "a tenant that the ledger forgot was disturbed");
    scene.must("systemctl --machine=web is-active a.service && test -e /var/lib/tenants/web/config/metadata.json")?;

    // The same of the system repository: nothing is followed that does not go on from what was.
    let system = scene.open("system");
    let refuses_system = || -> Result<bool> {
        scene.bitbuilder(&["sync", "system", "--wait"])?;
        Ok(scene.must("bitbuilder status")?.contains("run: bitbuilder accept system"))
    };
    system.git("commit --quiet --allow-empty --message=Next && git push --quiet origin HEAD:main")?;
    assert!(!refuses_system()?);
    system.git(back)?;
    forget(&scene, "true")?;
    scene.must(INIT)?;
    assert!(refuses_system()?);
    scene.must("bitbuilder accept system")?;
    assert!(!refuses_system()?);

    // Both copies are gone: the host says so until a later commit holds.
    forget(&scene, "rm /var/lib/bitbuilder-floors/*")?;
    scene.must(INIT)?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    let taken = scene.expect_state("web", "verified")?;
    assert_eq!((&taken["verified"], &taken["floorLost"]), (&json!(first), &json!(true)));
    let status = scene.must("bitbuilder status")?;
    assert_eq!(status.matches("this host had forgotten how far its history had come").count(), 2, "{status}");
    let host_lost =
        || Ok::<_, anyhow::Error>(scene.call("Orchestrator", "Describe", &json!({}))?["host"]["floorLost"].take());
    assert_eq!(host_lost()?, json!(true));
    system.commit("Next", &[("note", "1")])?;
    scene.bitbuilder(&["sync", "system", "--wait"])?;
    assert_eq!(host_lost()?, json!(false));
    assert!(scene.must("bitbuilder history web")?.contains("floor lost"));
    web.commit("Third", &[("note", "3")])?;
    assert_eq!(scene.sync("web")?.code, 0);
    assert_eq!(scene.expect_state("web", "verified")?["floorLost"], json!(false));

    // What is there of tenants alone says that there was something to forget.
    forget(
        &scene,
        "rm /var/lib/bitbuilder-floors/* && systemctl stop bitbuilder-git-sync.service && rm -r /var/lib/bitbuilder/git/*",
    )?;
    scene.must(INIT)?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    assert_eq!(host_lost()?, json!(true));

    // A copy that is lost alone is made anew.
    scene.must(
        "rm /var/lib/bitbuilder-floors/* && systemctl restart bitbuilder-orchestrator && bitbuilder sync --wait",
    )?;
    scene.must("test -e /var/lib/bitbuilder-floors/web.json && test -e /var/lib/bitbuilder-floors/system.json")?;
    Ok(())
}

#[test]
fn a_history_belongs_to_its_address_whatever_comes_between() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    let (web, other) = (scene.repository("web")?, scene.repository("other")?);
    let files = [
        ("metadata.json", manifest("web", &["a.service"], &json!({}))),
        ("units/a.service", service("sleep infinity")),
    ];
    let files = files.each_ref().map(|(path, content)| (*path, content.as_str()));
    let first = web.commit("First", &files)?;
    let theirs = other.commit("Theirs", &files)?;
    let system = scene.follow(&[Registration::new("web")])?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    let register = |repository: Option<&str>| -> Result<i32> {
        let at = |name: &str| json!({ "name": "web", "repository": format!("git://127.0.0.1/{name}") });
        let tenants: Vec<_> = repository.into_iter().map(at).collect();
        let registry = json!({ "version": "1.0", "tenants": tenants }).to_string();
        system.commit("Registered otherwise", &[("tenants/registry.json", &registry)])?;
        Ok(scene.bitbuilder(&["sync", "--wait"])?.code)
    };
    let runs = || Ok::<_, anyhow::Error>(scene.host.sh("machinectl show web")?.success());

    // The process ends when it has written down what the registry says now, and nothing else.
    let units = "bitbuilder-orchestrator.socket bitbuilder-orchestrator.service";
    let host = "/var/lib/bitbuilder/orchestrator/host.json";
    scene.must(&format!(
        "systemctl stop {units}
         jq '.registry[0].repository = \"git://127.0.0.1/other\"' {host} > /srv/host.json && cp /srv/host.json {host}
         systemctl start {units}"
    ))?;
    assert_eq!(register(Some("other"))?, 0);
    let moved = scene.expect_state("web", "verified")?;
    assert_eq!((&moved["verified"], &moved["floor"]), (&json!(theirs), &json!(theirs)));

    // Who leaves and comes back as somebody else starts with nothing of the former.
    register(None)?;
    assert!(!runs()?);
    register(Some("absent"))?;
    let pending = scene.expect_state("web", "pending")?;
    assert_eq!((&pending["verified"], &pending["floor"]), (&json!(null), &json!(null)));
    assert!(!runs()?, "the former repository's software was started");
    assert_eq!(register(Some("web"))?, 0);
    assert_eq!(scene.expect_state("web", "verified")?["verified"], json!(first));

    // Neither a detour nor a leave leads back behind what held.
    let second = web.commit("Second", &[("note", "2")])?;
    assert_eq!(scene.sync("web")?.code, 0);
    web.git("reset --quiet --hard HEAD~1 && git push --quiet --force origin HEAD:main")?;
    register(Some("absent"))?;
    register(None)?;
    assert_eq!(register(Some("web"))?, 3);
    assert_eq!(scene.expect_state("web", "refused")?["floor"], json!(second));
    Ok(())
}
