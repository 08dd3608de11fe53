//! How long a push takes until a running tenant has what it changes: a file, as a process in the tenant sees it, and a service
//! that is restarted, beside the same restart by hand.

use anyhow::{Context as _, Result};
use integration_tests::{Repository, Scene, manifest};
use serde_json::json;

use super::{Figure, median};

const ROUNDS: usize = 20;
/// What a push may take until it is seen, in milliseconds.
const GOAL: f64 = 300.0;
/// Notes when it first reads each word. It is named by its unit; what it reads is not.
const WATCH: &str = "#!/bin/bash\nmkfifo /run/never 2>/dev/null\nexec 3<>/run/never\nlast=\nwhile :; do\n  read -r word </srv/config/word\n  \
    if [ \"$word\" != \"$last\" ]; then echo \"$word $EPOCHREALTIME\" >>/srv/data/seen; last=$word; fi\n  read -r -t 0.002 -u 3\ndone\n";
/// Notes when it began, and does what the package's hook does.
const HOOK: &str = "#!/bin/bash\necho $EPOCHREALTIME >/run/pushed\nexec /usr/share/bitbuilder/post-receive\n";

fn tenant<'a>(scene: &'a Scene, name: &str) -> Result<Repository<'a>> {
    let repository = scene.repository(name)?;
    scene.host.write(&format!("/srv/trees/{name}/watch"), WATCH)?;
    scene.must(&format!("chmod 755 /srv/trees/{name}/watch"))?;
    repository.commit(
        "First",
        &[
            ("metadata.json", &manifest(name, &["watch.service", "other.service"], &json!({}))),
            (".gitops/config.yaml", "version: \"1.0\"\nsync: { interval: 1d }\nverify: { healthy: 1s }\n"),
            ("units/watch.service", "[Service]\nExecStart=/srv/config/watch\n"),
            ("units/other.service", &other(0)),
            ("word", "0\n"),
        ],
    )?;
    super::register(scene, name)?;
    scene.bitbuilder(&["sync", "--wait"])?;
    scene.expect_state(name, "verified")?;
    Ok(repository)
}

fn other(round: usize) -> String {
    format!("[Unit]\nStartLimitIntervalSec=0\n[Service]\nEnvironment=ROUND={round}\nExecStart=sleep infinity\n")
}

pub(super) fn change(scene: &Scene) -> Result<Vec<Figure>> {
    let repository = tenant(scene, "hot")?;
    scene.host.write("/srv/git/hot/hooks/post-receive", HOOK)?;
    scene.must("chmod 755 /srv/git/hot/hooks/post-receive")?;
    let mut took = Vec::new();
    for round in 1..=ROUNDS {
        let commit = repository.commit("Word", &[("word", &format!("{round}\n"))])?;
        scene.await_status(&format!("\"verified\":\"{commit}\""))?;
        let seen = scene
            .must(&format!("cat /run/pushed; grep '^{round} ' /var/lib/tenants/hot/data/seen | cut -d ' ' -f 2"))?;
        let [pushed, seen] = moments(&seen)?[..] else { anyhow::bail!("not two moments: {seen}") };
        took.push((seen - pushed) * 1000.0);
    }
    scene.must("rm /srv/git/hot/hooks/post-receive")?;
    took.sort_by(f64::total_cmp);
    let ours = took.get(ROUNDS * 95 / 100 - 1).copied().unwrap_or(f64::NAN);
    let figure = |name: &str, ours, goal| Figure {
        name: name.to_owned(),
        ours,
        peer: GOAL,
        peer_name: "the goal",
        unit: "ms",
        goal,
    };
    Ok(vec![figure("hot-change", ours, Some(1.0)), figure("hot-change-median", median(took), None)])
}

pub(super) fn restart(scene: &Scene) -> Result<Vec<Figure>> {
    let repository = tenant(scene, "again")?;
    let (mut ours, mut by_hand, mut away, mut away_by_hand) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut whole = Vec::new();
    for round in 1..=ROUNDS {
        repository.commit("Unit", &[("units/other.service", &other(round))])?;
        scene.must("bitbuilder sync again --wait")?;
        // The step as who does it says when it begins and when it has ended.
        let said = scene.must(
            "journalctl --no-pager --output=short-unix --unit=bitbuilder-orchestrator.service --unit=tenant-manager.service \
             | grep -e 'tenant-manager write down' -e 'restart other.service' -e 'services restarted' | tail -n 3 | cut -d ' ' -f 1",
        )?;
        let [first, begun, done] = moments(&said)?[..] else { anyhow::bail!("not three moments: {said}") };
        ours.push((done - begun) * 1000.0);
        whole.push((done - first) * 1000.0);
        away.push(absence(scene)?);
        let said =
            scene.must("echo $EPOCHREALTIME; systemctl --machine=again restart other.service; echo $EPOCHREALTIME")?;
        let [begun, done] = moments(&said)?[..] else { anyhow::bail!("not two moments: {said}") };
        by_hand.push((done - begun) * 1000.0);
        away_by_hand.push(absence(scene)?);
    }
    let figure = |name: &str, ours, peer: &[f64], goal| Figure {
        name: name.to_owned(),
        ours: median(ours),
        peer: median(peer.to_vec()),
        peer_name: "systemctl --machine= restart by hand",
        unit: "ms",
        goal,
    };
    Ok(vec![
        figure("restart-class", ours, &by_hand, Some(1.2)),
        figure("restart-class-absence", away, &away_by_hand, Some(1.2)),
        figure("restart-class-whole", whole, &by_hand, None),
    ])
}

/// Milliseconds for which the service was not active, when it was restarted last.
fn absence(scene: &Scene) -> Result<f64> {
    let shown = scene.must(
        "systemctl --machine=again show -p ActiveExitTimestampMonotonic --value other.service; \
         systemctl --machine=again show -p ActiveEnterTimestampMonotonic --value other.service",
    )?;
    let [left, entered] = moments(&shown)?[..] else { anyhow::bail!("not two moments: {shown}") };
    Ok((entered - left) / 1000.0)
}

fn moments(text: &str) -> Result<Vec<f64>> {
    text.lines().map(|line| line.trim().parse().with_context(|| format!("not a number: {line}"))).collect()
}
