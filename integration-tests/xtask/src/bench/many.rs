//! A thousand repositories and nothing new in any of them: what it costs to look, beside Git's own commands, how much memory
//! it takes, and how long it is until a thousand tenants are known to be what they should.

use anyhow::{Context as _, Result, ensure};
use integration_tests::Scene;
use serde_json::{Value, json};

use super::{Figure, median};

const TENANTS: usize = 1000;
/// Looks at a time: as many as we have with one server (`host::lanes`).
const PARALLEL: usize = 8;
const ROUNDS: usize = 3;

/// Processor time of the looks, beside as many `git ls-remote` and `git fetch`.
pub(super) fn looks(scene: &Scene) -> Result<Vec<Figure>> {
    prepare(scene)?;
    let measured = tool(scene, "noop", &format!("{ROUNDS} {PARALLEL} {TENANTS}"))?;
    let figure = |name: &str, ours: &str, peer: &str, peer_name, goal| -> Result<Figure> {
        let (ours, peer) = (number(&measured, ours)?, number(&measured, peer)?);
        Ok(Figure { name: name.to_owned(), ours, peer, peer_name, unit: "ms", goal })
    };
    Ok(vec![
        figure("git-noop", "ours", "ls-remote", "processor time of git ls-remote", Some(0.33))?,
        figure("git-noop-beside-fetch", "ours", "fetch", "processor time of git fetch", Some(0.33))?,
        figure("git-noop-duration", "duration", "ls-remote-duration", "git ls-remote, 8 at a time", None)?,
    ])
}

/// What the service and its children have together at most while they look; and for one large file.
pub(super) fn memory(scene: &Scene) -> Result<Vec<Figure>> {
    prepare(scene)?;
    let looking = number(&tool(scene, "memory", "bitbuilder sync --wait")?, "peak")?;
    scene.must(LARGE)?;
    let url = "git://127.0.0.1:9419/large.git";
    let fetch =
        json!({ "repository": "large", "url": url, "reference": "refs/heads/main", "trust": null, "floor": null });
    let call = format!("varlinkctl call /run/bitbuilder/io.bitbuilder.GitSync io.bitbuilder.GitSync.Fetch '{fetch}'");
    let fetching = tool(scene, "memory", &call)?;
    ensure!(fetching["code"] == 0, "the large file was not fetched: {fetching}");
    let fetching = number(&fetching, "child")?;
    let figure = |name: &str, ours, peer| Figure {
        name: name.to_owned(),
        ours,
        peer,
        peer_name: "the goal",
        unit: "MiB",
        goal: Some(1.0),
    };
    Ok(vec![figure("git-sync-memory", looking, 64.0), figure("git-sync-memory/large-file", fetching, 256.0)])
}

/// From the orchestrator's look at what it remembers until nothing is left to be done, without any Git server.
pub(super) fn reconcile(scene: &Scene) -> Result<Vec<Figure>> {
    prepare(scene)?;
    scene.must("systemctl stop many-repositories.service git-daemon.socket")?;
    let rounds = (0..5).map(|_| tool(scene, "reconcile", &TENANTS.to_string())).collect::<Result<Vec<Value>>>()?;
    scene.must("systemctl start git-daemon.socket")?;
    scene.must(SERVER)?;
    let middle =
        |key| -> Result<f64> { Ok(median(rounds.iter().map(|round| number(round, key)).collect::<Result<Vec<_>>>()?)) };
    let figure = |name: &str, ours, goal| Figure {
        name: name.to_owned(),
        ours,
        peer: 50.0,
        peer_name: "the goal",
        unit: "ms",
        goal,
    };
    Ok(vec![
        figure("reconcile-1000", middle("took")?, Some(1.0)),
        figure("reconcile-1000-from-start", middle("from-start")?, None),
    ])
}

/// A thousand repositories of tenants that should not run, each fetched and checked out once.
fn prepare(scene: &Scene) -> Result<()> {
    if scene.host.sh("test -e /run/many-prepared")?.success() {
        return Ok(());
    }
    scene.host.write("/run/many.py", include_str!("many.py"))?;
    // A thousand timers would measure the service manager.
    scene.must("systemctl mask --runtime --quiet git-sync@.timer")?;
    let registry = scene.must(&format!("python3 /run/many.py make {TENANTS}"))?;
    scene.must(SERVER)?;
    if scene.host.sh("test -d /srv/git/system")?.success() {
        scene.open("system").commit("Many", &[("tenants/registry.json", &registry)])?;
    } else {
        scene.follow(&[])?.commit("Many", &[("tenants/registry.json", &registry)])?;
    }
    scene.bitbuilder(&["sync", "--wait"])?;
    let held = scene.call("GitSync", "List", &json!({}))?;
    let held = held["repositories"].as_array().map_or(0, |all| {
        all.iter().filter(|one| one["checkouts"].as_array().is_some_and(|checkouts| !checkouts.is_empty())).count()
    });
    ensure!(held > TENANTS, "only {held} repositories were fetched");
    scene.must("touch /run/many-prepared").map(drop)
}

/// One server for all of them, whose own processor time counts for nobody.
const SERVER: &str =
    "systemd-run --quiet --unit=many-repositories --service-type=exec git daemon --reuseaddr --export-all \
     --max-connections=0 --listen=127.0.0.1 --port=9419 --base-path=/srv/many
     until git ls-remote git://127.0.0.1:9419/r0.git >/dev/null 2>&1; do read -t 0.05 < /dev/zero || :; done";

/// Two versions of a file of 64 MiB that does not shrink, one stored as a difference to the other.
const LARGE: &str = "set -e
     git init --quiet --bare --initial-branch=main /srv/many/large.git && cd /srv/many/large.git
     git config user.name T && git config user.email t@example.org
     head -c 67108864 /dev/urandom > /srv/large
     before=$(git hash-object -w /srv/large); printf x | dd of=/srv/large bs=1 seek=1000000 conv=notrunc status=none
     after=$(git hash-object -w /srv/large)
     tree=$(printf '100644 blob %s\\tbefore\\n100644 blob %s\\tafter\\n' $before $after | git mktree)
     git update-ref refs/heads/main $(git commit-tree -m Large $tree) && git repack -a -d -q && rm /srv/large";

fn tool(scene: &Scene, what: &str, words: &str) -> Result<Value> {
    let printed = scene.must(&format!("python3 /run/many.py {what} {words}"))?;
    serde_json::from_str(&printed).with_context(|| format!("not JSON: {printed}"))
}

fn number(measured: &Value, key: &str) -> Result<f64> {
    measured[key].as_f64().with_context(|| format!("no {key} in {measured}"))
}
