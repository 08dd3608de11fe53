//! Looks at many repositories: a dead server delays nobody else, mirrors are tidied while nothing is pushed, and what looks
//! or tidies may be killed.

use anyhow::{Result, ensure};
use integration_tests::{Registration, Scene, manifest};
use serde_json::{Value, json};
use std::time::Instant;
use test_host::Host;

const DEAD: usize = 100;

/// Takes every connection and never says anything.
const SILENT: &str = r#"
import socket
listener = socket.create_server(("127.0.0.1", 9999), backlog=1000)
held = []
while True:
    held.append(listener.accept())
"#;

/// A tenant that should not run: only Git is at work for it.
fn off(name: &str) -> String {
    manifest(name, &[], &json!({})).replace("\"container\"", "\"container\", \"enabled\": false")
}

/// Pushes a change and has it followed.
fn push(scene: &Scene, word: &str) -> Result<()> {
    let revision = scene.open("web").commit(word, &[("word", word)])?;
    scene.must("bitbuilder sync web --wait")?;
    let status = scene.expect_state("web", "stopped")?;
    ensure!(status["wanted"] == revision.as_str(), "{word}: {status:#}");
    Ok(())
}

/// Waits until a command succeeds.
fn until(scene: &Scene, command: &str) -> Result<()> {
    scene.must(&format!("timeout 30 bash -c 'until {command}; do read -t 0.1 < /dev/zero || :; done'")).map(drop)
}

fn scene(tenants: &[Registration]) -> Result<Scene> {
    let scene = Scene::boot(Host::builder(""))?;
    // Only what a test asks for is looked at.
    scene.must("systemctl mask --runtime --quiet git-sync@.timer")?;
    scene.repository("web")?.commit("First", &[("metadata.json", &off("web"))])?;
    scene.follow(tenants)?;
    scene.must("bitbuilder sync --wait")?;
    scene.expect_state("web", "stopped")?;
    Ok(scene)
}

fn looker(scene: &Scene) -> Result<String> {
    Ok(scene.must("pgrep -u bitbuilder-git -f -- --looker")?.trim().to_owned())
}

#[test]
fn a_dead_server_delays_nobody_else() -> Result<()> {
    let scene = scene(&[Registration::new("web")])?;
    scene.host.write("/run/silent.py", SILENT)?;
    scene.must("systemd-run --quiet --unit=silent --service-type=exec python3 /run/silent.py")?;
    let mut registry: Value = serde_json::from_str(&integration_tests::registry(&[Registration::new("web")]))?;
    let entries = registry["tenants"].as_array_mut();
    entries.into_iter().for_each(|entries| {
        entries.extend((0..DEAD).map(|index| {
            json!({ "name": format!("dead{index}"), "repository": format!("git://127.0.0.1:9999/{index}"), "limits": {} })
        }));
    });
    scene.open("system").commit("A hundred on a dead server", &[("tenants/registry.json", &registry.to_string())])?;
    // It looks at the hundred, which are new.
    scene.must("systemd-run --quiet --unit=look-at-all bitbuilder sync --wait")?;
    until(&scene, "bitbuilder status dead99 --json=short >/dev/null 2>&1")?;
    for word in ["second", "third", "fourth"] {
        let begun = Instant::now();
        push(&scene, word)?;
        let took = begun.elapsed().as_secs();
        ensure!(took < 8, "{word}: web waited {took} s for the dead server");
    }
    // A deadline for all of them, not one each.
    let begun = Instant::now();
    scene.must("while systemctl is-active --quiet look-at-all; do read -t 0.5 < /dev/zero || :; done")?;
    scene.host.sh("bitbuilder sync --wait")?;
    let took = begun.elapsed().as_secs();
    ensure!(took < 90, "a hundred repositories of a dead server took {took} s");
    let status = scene.status("dead42")?;
    ensure!(status["unreachable"].as_str().is_some_and(|reason| reason.contains("answered")), "{status:#}");
    Ok(())
}

#[test]
fn who_looks_may_be_killed() -> Result<()> {
    let scene = scene(&[Registration::new("web")])?;
    for word in ["second", "third"] {
        let before = looker(&scene)?;
        scene.must(&format!("kill -KILL {before}"))?;
        scene.must("bitbuilder sync web --wait")?;
        ensure!(looker(&scene)? != before);
        scene.must(&format!("kill -KILL {}", looker(&scene)?))?;
        push(&scene, word)?;
    }
    Ok(())
}

/// Holds `git repack` up until it is killed.
const SLOW_GIT: &str = "#!/bin/sh\ncase \"$*\" in *repack*) exec sleep 1000;; esac\nexec /usr/bin/git \"$@\"\n";

#[test]
fn a_mirror_is_tidied_while_nothing_is_pushed() -> Result<()> {
    let scene = scene(&[Registration::new("web")])?;
    let packs = || -> Result<usize> {
        let shown = scene.must("ls /var/lib/bitbuilder/git/web/mirror.git/objects/pack/*.pack | wc -l")?;
        Ok(shown.trim().parse()?)
    };
    let sleeps = "pgrep -u bitbuilder-git sleep >/dev/null";
    let says = |words: &str| until(&scene, &format!("journalctl -o cat -u bitbuilder-git-sync | grep -q \"^{words}\""));
    scene.host.write("/usr/sbin/git", SLOW_GIT)?;
    scene.must("chmod 755 /usr/sbin/git")?;
    for index in 0..11 {
        push(&scene, &index.to_string())?;
    }
    ensure!(packs()? > 10);
    // What was let go of after the last push was the last that anybody wanted of it.
    until(&scene, sleeps)?;
    scene.must("pkill -KILL -u bitbuilder-git -f -- --errand")?;
    says("not tidied")?;
    push(&scene, "killed")?;
    until(&scene, sleeps)?;
    // A push ends what goes on instead of waiting for it.
    let begun = Instant::now();
    push(&scene, "meanwhile")?;
    ensure!(begun.elapsed().as_secs() < 8, "a push waited for the tidying");
    scene.must("rm /usr/sbin/git")?;
    push(&scene, "again")?;
    says("tidied repository=web")?;
    ensure!(packs()? < 4, "{} packs are left", packs()?);
    scene.must(&format!("! {sleeps}"))?;
    push(&scene, "afterwards")?;
    scene.expect_state("web", "stopped").map(drop)
}
