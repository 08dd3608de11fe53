//! Push mirrors behind a real sshd: what holds arrives there, what is refused does not, and nothing waits for a server that
//! is away.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use anyhow::Result;
use integration_tests::{Scene, manifest};
use serde_json::json;
use test_host::Host;

/// An SSH server with a repository and a key for each of two.
const SERVER: &str = r#"
set -e
mkdir -p /srv/ssh /srv/copy /run/sshd && cd /srv/ssh && ssh-keygen -q -t ed25519 -N '' -f host
for name in web system; do
    git init --quiet --bare --initial-branch=main /srv/copy/$name
    ssh-keygen -q -t ed25519 -N '' -f $name
    echo "restrict,command=\"git-receive-pack '/srv/copy/$name'\" $(cat $name.pub)" >> authorized
done
chmod 600 authorized
cat > /etc/systemd/system/ssh-server.service <<'UNIT'
[Service]
Type=exec
ExecStart=/usr/sbin/sshd -D -e -p 2222 -h /srv/ssh/host -o ListenAddress=127.0.0.1 -o AuthorizedKeysFile=/srv/ssh/authorized -o StrictModes=no -o UsePAM=no -o PasswordAuthentication=no
UNIT
systemctl daemon-reload && systemctl start ssh-server
until ssh-keyscan -p 2222 127.0.0.1 > /srv/ssh/known 2>/dev/null && test -s /srv/ssh/known; do read -t 0.1 < /dev/zero || :; done
"#;

fn mirror(name: &str) -> String {
    format!("ssh://root@127.0.0.1:2222/srv/copy/{name}")
}

/// Waits until a command succeeds.
fn until(scene: &Scene, command: &str) -> Result<()> {
    scene.host.write("/run/until", format!("until {command}; do read -t 0.2 < /dev/zero || :; done"))?;
    let came = scene.host.sh("timeout 90 bash /run/until")?;
    anyhow::ensure!(came.success(), "{command}\n{}", scene.must("bitbuilder status; bitbuilder status web")?);
    Ok(())
}

/// Waits until the mirror names a commit.
fn arrives(scene: &Scene, name: &str, revision: &str) -> Result<()> {
    let named = format!("git --git-dir=/srv/copy/{name} rev-parse --verify --quiet refs/heads/main");
    until(scene, &format!("[ \"$({named})\" = {revision} ]"))
}

#[test]
fn what_holds_arrives_and_nothing_else_does() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    scene.must(SERVER)?;
    let web = scene.repository("web")?;
    let good = manifest("web", &[], &json!({}));
    let first = web.commit("First", &[("metadata.json", &good)])?;
    let entry = json!({ "name": "web", "repository": "git://127.0.0.1/web", "pushMirror": mirror("web") });
    let registry = json!({ "version": "1.0", "tenants": [entry] }).to_string();
    let system = scene.repository("system")?;
    let followed = system.commit("The tenants", &[("tenants/registry.json", &registry)])?;
    scene.must(&format!("bitbuilder init --repository git://127.0.0.1/system --push-mirror {}", mirror("system")))?;

    // Without a key nothing arrives, and nothing else is the worse for that.
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    let behind = |hint: &str| -> Result<()> {
        until(&scene, &format!("bitbuilder status web | grep --quiet '{hint}'"))?;
        assert!(scene.expect_state("web", "verified")?["pushMirror"]["behindSinceUSec"].is_u64());
        Ok(())
    };
    behind("bitbuilder.ssh-known-hosts.web")?;
    scene.must(
        "mkdir -p -m 700 /etc/credstore && cd /etc/credstore && umask 077
         cp /srv/ssh/web bitbuilder.push-key.web && cp /srv/ssh/system bitbuilder.push-key.system@127.0.0.1+2222
         cp /srv/ssh/known bitbuilder.ssh-known-hosts && systemctl stop bitbuilder-git-sync",
    )?;
    arrives(&scene, "web", &first)?;
    arrives(&scene, "system", &followed)?;

    // A commit that is refused does not, not even when the host begins anew.
    let in_step = |revision: &str| -> Result<()> {
        let shown = format!(r#""revision":"{revision}","behindSinceUSec":null,"reason":null}}"#);
        until(&scene, &format!("bitbuilder status web --json=short | grep --quiet --fixed-strings '{shown}'"))?;
        arrives(&scene, "web", revision)
    };
    in_step(&first)?;
    web.commit("Bad", &[("metadata.json", "{")])?;
    assert_eq!(scene.sync("web")?.code, 3);
    scene.must("systemctl restart bitbuilder-orchestrator")?;
    assert_eq!(scene.sync("web")?.code, 3);
    in_step(&first)?;
    let second = web.commit("Second", &[("metadata.json", &good)])?;
    assert_eq!(scene.sync("web")?.code, 0);
    in_step(&second)?;

    // The server is away, and comes back.
    scene.must("systemctl stop ssh-server")?;
    let third = web.commit("Third", &[("note", "3")])?;
    assert_eq!(scene.sync("web")?.code, 0);
    assert_eq!(scene.expect_state("web", "verified")?["verified"], json!(third));
    behind("refused")?;
    scene.must("systemctl start ssh-server")?;
    in_step(&third)?;

    // Another history that was accepted replaces what was pushed from here,
    web.git("reset --quiet --hard HEAD~1 && git push --quiet --force origin HEAD:main")?;
    assert_eq!(scene.sync("web")?.code, 3);
    in_step(&third)?;
    scene.must("bitbuilder accept web")?;
    assert_eq!(scene.sync("web")?.code, 0);
    in_step(&second)?;
    // and never what somebody else put there.
    scene.must(
        "git clone --quiet /srv/copy/web /srv/trees/other 2>/dev/null && cd /srv/trees/other
         git -c user.name=Eve -c user.email=eve@example.org commit --quiet --allow-empty --message=Other && git push --quiet origin HEAD:main",
    )?;
    let fourth = web.commit("Fourth", &[("note", "4")])?;
    assert_eq!(scene.sync("web")?.code, 0);
    behind("it has commits that are not from here")?;
    assert_ne!(scene.must("git --git-dir=/srv/copy/web rev-parse main")?.trim(), fourth);

    let told = scene.must(
        "word=$(sed -n 3p /srv/ssh/web) && test ${#word} -gt 40
         journalctl --output=export | grep --text --count --fixed-strings \"$word\" || true",
    )?;
    assert_eq!(told.trim(), "0", "a key was told");
    Ok(())
}
