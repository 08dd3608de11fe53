//! The post-receive hook on a plain Git server: a push runs without a poll, and a hook that fails fails no push.

use anyhow::Result;
use integration_tests::{Repository, Scene};
use test_host::Host;

const SECRET: &str = "a secret of more than sixty-four bytes, which are digested before they are a key";

#[test]
fn a_push_runs_without_a_poll() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    scene.follow_seldom(&["web"])?;
    let web = scene.open("web");
    scene.must("ln -s /usr/share/bitbuilder/post-receive /srv/git/web/hooks/post-receive")?;
    let runs = |message: &str| -> Result<()> {
        let commit = web.commit(message, &[])?;
        scene.await_status(&format!("\"verified\":\"{commit}\""))
    };
    // On the host itself, by who may.
    runs("By the command")?;

    // By HTTP, with each length of secret that is handled differently.
    scene.must("mkdir -p -m 700 /etc/credstore && systemctl start bitbuilder-webhook.socket")?;
    scene.must("cd /srv/git/web && git config bitbuilder.url http://127.0.0.1:9419/ && git config bitbuilder.secretFile /srv/secret")?;
    for secret in ["sixteen letters!", &"x".repeat(64), &"x".repeat(65), SECRET, "non-ASCII: äöü and % \\ ' \" $(x)"]
    {
        scene.host.write("/srv/secret", format!("{secret}\n"))?;
        scene.must(
            "cp /srv/secret /etc/credstore/bitbuilder.webhook-secret.web; systemctl stop bitbuilder-webhook.service",
        )?;
        runs("By HTTP")?;
    }
    refuses_nothing(&scene, &web)?;

    // By HTTPS, under another name than the directory's, as somebody who may do nothing on the host.
    scene.must(
        "mkdir -p /srv/tls && cd /srv/tls && echo '127.0.0.1 hooks.test' >>/etc/hosts
         openssl req -quiet -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=hooks.test -addext subjectAltName=DNS:hooks.test -keyout key -out certificate 2>/dev/null
         cp certificate /etc/credstore/bitbuilder.webhook-certificate && cp key /etc/credstore/bitbuilder.webhook-key
         systemctl stop bitbuilder-webhook.service
         cd /srv/git && useradd --system git && mkdir /srv/git/other.git && cp -r web/. other.git && chown -R git other.git /srv/secret
         git -C other.git config bitbuilder.url https://hooks.test:9419 && git -C other.git config bitbuilder.name web
         git -C other.git config bitbuilder.ca /srv/tls/certificate
         rm -r web && ln -s other.git web",
    )?;
    scene.must("cd /srv/trees/web && chown -R git . && echo 'By HTTPS' >word && runuser -u git -- git add word && runuser -u git -- git commit --quiet -m 'By HTTPS' && runuser -u git -- git push --quiet origin HEAD:main")?;
    let commit = web.git("rev-parse HEAD")?;
    scene.await_status(&format!("\"verified\":\"{}\"", commit.trim()))?;
    assert_eq!(scene.must("journalctl --output=export --boot | grep --text -c 'sixty-four bytes' || true")?, "0\n");
    Ok(())
}

/// Whatever is wrong with the hook, the push is done.
fn refuses_nothing(scene: &Scene, web: &Repository<'_>) -> Result<()> {
    for (key, value) in [
        ("bitbuilder.secretFile", "/nonexistent"),
        ("bitbuilder.url", "http://127.0.0.1:1"),
        ("bitbuilder.url", "file:///etc/passwd"),
        ("bitbuilder.name", "../x"),
        ("bitbuilder.name", "nobody"),
    ] {
        let held = scene.must(&format!("cd /srv/git/web && git config {key} || true"))?;
        scene.must(&format!("cd /srv/git/web && git config {key} '{value}'"))?;
        let said = web.git("commit --quiet --allow-empty --message=Next && git push origin HEAD:main 2>&1")?;
        assert!(said.contains("remote: bitbuilder: ") && said.contains("it will notice by itself"), "{said}");
        let back = if held.is_empty() { format!("--unset {key}") } else { format!("{key} '{}'", held.trim()) };
        scene.must(&format!("cd /srv/git/web && git config {back}"))?;
    }
    Ok(())
}
