//! Disaster recovery: a host is exported to one file that plain Git reads, loses everything, and starts from that file
//! without any Git server; hostile files change nothing.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use anyhow::Result;
use integration_tests::{Registration, Scene, manifest, service};
use serde_json::{Value, json};
use test_host::Host;

/// Takes away all that we remember and hold, and the tenants.
const LOSE: &str = "
systemctl stop 'bitbuilder-*.socket' 'bitbuilder-*.service' tenant-manager.service 'git-sync@*' 2>/dev/null || true
machinectl terminate web 2>/dev/null || true
rm -rf /var/lib/bitbuilder/orchestrator/* /var/lib/bitbuilder-floors/* /var/lib/bitbuilder/boot/*
find /var/lib/bitbuilder/git -mindepth 1 -maxdepth 1 -exec chmod -R u+w {} + -exec rm -rf {} +
systemctl reset-failed; systemctl start bitbuilder-orchestrator.socket bitbuilder-git-sync.socket bitbuilder-storage.socket \
    bitbuilder-network.socket bitbuilder-extension.socket tenant-manager.service bitbuilder-orchestrator.service";

#[test]
fn a_host_that_lost_everything_starts_from_one_file() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    scene.must("ssh-keygen -q -t ed25519 -N '' -f /srv/alice")?;
    let signing =
        "config gpg.format ssh && git config user.signingKey /srv/alice.pub && git config commit.gpgSign true";
    let web = scene.repository("web")?;
    let unit = service("sleep infinity");
    web.commit(
        "First",
        &[("metadata.json", &manifest("web", &["a.service"], &json!({}))), ("units/a.service", &unit)],
    )?;
    let system = scene.repository("system")?;
    system.git(signing)?;
    system.commit(
        "The tenants",
        &[("tenants/registry.json", &integration_tests::registry(&[Registration::new("web")]))],
    )?;
    assert_ne!(scene.bitbuilder(&["export", "/root/host.bundle"])?.code, 0, "a host that follows nothing was exported");
    scene.must("bitbuilder init --repository git://127.0.0.1/system --signers /srv/alice.pub --mirror git://127.0.0.1:9/system")?;
    let second = web.commit("Second", &[("note", "2")])?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    // What was pushed and refused is not exported.
    web.commit("Bad", &[("metadata.json", "{")])?;
    assert_eq!(scene.sync("web")?.code, 3);

    scene.must("bitbuilder export /root/host.bundle && bitbuilder export - > /root/piped.bundle")?;
    assert_eq!(scene.must("stat --format=%a%u /root/host.bundle")?.trim(), "6000");
    let heads = scene.must("git init --quiet /root/empty && cd /root/empty && git bundle verify ../host.bundle >&2 && git bundle verify ../piped.bundle >&2 && git bundle list-heads ../host.bundle")?;
    assert!(heads.contains(&format!("{second} refs/bitbuilder/export/web")), "{heads}");
    let said: Value = serde_json::from_str(
        &scene.must("git clone --quiet /root/host.bundle /root/export && cat /root/export/export.json")?,
    )?;
    assert_eq!(said["repositories"][0]["mirrors"], json!(["git://127.0.0.1:9/system"]));
    assert!(said["trust"]["signers"][0]["ssh"][0].as_str().unwrap().starts_with("ssh-ed25519 "), "{said}");
    assert_eq!((&said["repositories"][1]["name"], &said["repositories"][1]["floor"]), (&json!("web"), &json!(second)));
    // Only root may have it.
    let nobody = scene.host.sh("setpriv --reuid=65534 --clear-groups bitbuilder export - > /dev/null")?;
    assert!(nobody.stderr.contains("PermissionDenied") || nobody.stderr.contains("refused"), "{}", nobody.stderr);
    let again = scene.host.sh("bitbuilder init --bundle /root/host.bundle")?;
    assert!(!again.success() && again.stderr.contains("follows git://127.0.0.1/system already"), "{}", again.stderr);

    // Everything is lost, and there is no Git server.
    scene.must("systemctl stop git-daemon.socket")?;
    scene.must(LOSE)?;
    let refuse = |script: &str| -> Result<String> {
        let refused = scene.host.sh(&format!("cd /root && {script} && bitbuilder init --bundle bad.bundle"))?;
        assert!(!refused.success(), "{script}: {}", refused.stdout);
        let followed = scene.call("Orchestrator", "Describe", &json!({}))?;
        assert_eq!(followed["host"]["url"], Value::Null);
        assert_eq!(scene.must("ls -A /var/lib/bitbuilder/git")?, "", "{script}");
        Ok(refused.stderr)
    };
    assert!(refuse("head --bytes=200 host.bundle > bad.bundle")?.contains("the bundle is refused"));
    assert!(refuse("head --bytes=-30 host.bundle > bad.bundle")?.contains("its pack is damaged"));
    assert!(refuse("sed 's,export/web,export/db,' host.bundle > bad.bundle")?.contains("names web"));
    assert!(refuse("mkfifo fifo && ln -sf fifo bad.bundle && (sleep 5 > fifo &)")?.contains("no regular file"));
    scene.must("rm /root/bad.bundle")?;
    // Of somebody else's making, who wants no signatures: those count that were given, and nothing of it runs.
    let evil = scene.must(
        "cd /root/export && git config user.name Eve && git config user.email eve@example.org && git fetch --quiet /root/host.bundle 'refs/bitbuilder/export/*:refs/bitbuilder/export/*'
         git checkout --quiet --detach refs/bitbuilder/export/system && git commit --quiet --allow-empty --message=Evil && git rev-parse HEAD",
    )?;
    let mut lies = said;
    (lies["trust"], lies["repositories"][0]["revision"]) = (Value::Null, json!(evil.trim()));
    scene.must(&format!(
        "cd /root/export && git update-ref refs/bitbuilder/export/system {evil} git checkout --quiet export
         cat > export.json <<'LIES'\n{lies}\nLIES
         git commit --quiet --all --message=Evil
         git bundle create --quiet /root/evil.bundle export refs/bitbuilder/export/system refs/bitbuilder/export/web",
    ))?;
    scene.must("bitbuilder init --bundle /root/evil.bundle --signers /srv/alice.pub")?;
    assert_eq!(scene.bitbuilder(&["sync", "system", "--wait"])?.code, 3);
    let refused = scene.must("bitbuilder status")?;
    assert!(refused.contains("not signed"), "{refused}");
    assert_eq!(scene.must("bitbuilder list")?, "");

    // The true one takes its place.
    let followed = scene.must("bitbuilder init --bundle /root/host.bundle --force")?;
    assert!(followed.contains("a signature of alice, whose keys the file names"), "{followed}");
    scene.await_status(&format!("\"verified\":\"{second}\""))?;
    let status = scene.expect_state("web", "verified")?;
    assert_eq!((&status["floor"], &status["remotes"][0]["state"]), (&json!(second), &json!("away")));
    scene.must("systemctl --machine=web is-active a.service")?;

    // The servers are back: they are followed, from where the file left off.
    scene.must("systemctl start git-daemon.socket")?;
    web.git("reset --quiet --hard HEAD~2 && git push --quiet --force origin HEAD:main")?;
    let back = scene.sync("web")?;
    assert!(back.code != 0 || scene.status("web")?["verified"] == json!(second), "a floor was lost");
    web.git(&format!("reset --quiet --hard {second}"))?;
    let third = web.commit("Third", &[("note", "3")])?;
    scene.await_status(&format!("\"verified\":\"{third}\""))?;
    scene.must("bitbuilder sync system --wait")?;
    scene.must("test ! -e /var/lib/bitbuilder/git/.seed")?;
    let host = scene.call("Orchestrator", "Describe", &json!({}))?;
    assert_eq!(host["host"]["remotes"][1]["url"], json!("git://127.0.0.1:9/system"));
    Ok(())
}
