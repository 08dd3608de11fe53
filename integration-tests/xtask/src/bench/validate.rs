//! What an owner's CI waits for: `bitbuilder validate` of a repository, from exec to exit, beside Git's own look at it.

use anyhow::{Context as _, Result};
use integration_tests::Scene;

use super::Figure;

const RUNS: usize = 40;

pub(super) fn measure(scene: &Scene) -> Result<Vec<Figure>> {
    scene.must(
        "rm -rf /srv/bench && cp -a /usr/share/doc/bitbuilder/examples /srv/bench && cd /srv/bench/tenant-web
         git init --quiet && git add --all && git -c user.name=T -c user.email=t@example.org commit --quiet -m First",
    )?;
    let ours = time(scene, "bitbuilder validate --system ../system")?;
    let peer = time(scene, "git fsck --strict")?;
    Ok(vec![Figure {
        name: "validate".to_owned(),
        ours,
        peer,
        peer_name: "git fsck of the same repository",
        unit: "ms",
        goal: Some(50.0 / peer),
    }])
}

/// The median of many runs, in milliseconds, each a process of its own.
fn time(scene: &Scene, command: &str) -> Result<f64> {
    let printed = scene.must(&format!(
        "cd /srv/bench/tenant-web
         for run in $(seq {RUNS}); do
             begun=$EPOCHREALTIME; {command} >/dev/null 2>&1; ended=$EPOCHREALTIME
             echo $(( ${{ended/[.,]/}} - ${{begun/[.,]/}} ))
         done"
    ))?;
    let took: Result<Vec<f64>, _> = printed.lines().map(str::parse).collect();
    Ok(super::median(took.with_context(|| format!("not numbers: {printed}"))?) / 1000.0)
}
