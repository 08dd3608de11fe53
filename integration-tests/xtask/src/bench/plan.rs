//! How long it takes to say what would be done: for one commit of a tenant that runs, and for a thousand tenants at once.

use anyhow::{Context as _, Result};
use integration_tests::{Registration, Scene, manifest};
use serde_json::{Value, json};

use super::{Figure, median, varlink::TOOL};

const TENANTS: usize = 1000;

pub(super) fn measure(scene: &Scene) -> Result<Vec<Figure>> {
    let metadata = manifest("planned", &[], &json!({}));
    scene.repository("planned")?.commit("First", &[("metadata.json", &metadata)])?;
    // A thousand repositories would only measure Git: one, with a branch for each tenant that is registered and should
    // not run.
    scene.repository("many")?;
    let mut branches = String::new();
    for number in 0..TENANTS {
        let text = manifest(&format!("t{number}"), &[], &json!({}))
            .replace("\"container\"", "\"container\", \"enabled\": false");
        branches.push_str(&format!(
            "commit refs/heads/t{number}\ncommitter T <t@example.org> 0 +0000\ndata 0\nM 100644 inline metadata.json\ndata {}\n{text}\n",
            text.len()
        ));
    }
    scene.host.write("/run/branches", &branches)?;
    scene.must("git -C /srv/git/many fast-import --quiet </run/branches")?;
    // Another figure may have made the host follow something before.
    if scene.host.sh("test -d /srv/git/system")?.success() {
        let registry = integration_tests::registry(&[Registration::new("planned")]);
        scene.open("system").commit("Planned", &[("tenants/registry.json", &registry)])?;
    } else {
        scene.follow(&[Registration::new("planned")])?;
    }
    scene.bitbuilder(&["sync", "--wait"])?;
    scene.must("systemctl stop 'git-sync@*.timer'")?;

    let one = json!({ "request": { "metadata": metadata, "files": [], "revision": "1".repeat(40) } });
    let one = call(scene, "io.bitbuilder.Orchestrator", "Plan", &one, 200)?;
    let peer = call(scene, "io.bitbuilder.Tenant", "List", &json!({}), 200)?;

    let entries: Vec<Value> = (0..TENANTS)
        .map(|number| json!({ "name": format!("t{number}"), "repository": "git://127.0.0.1/many", "reference": format!("refs/heads/t{number}") }))
        .collect();
    let registry = json!({ "version": "1.0", "tenants": entries }).to_string();
    scene.open("system").commit("Many", &[("tenants/registry.json", &registry)])?;
    scene.must("systemctl stop git-sync@system.timer; bitbuilder sync system --wait >/dev/null || true; systemctl stop 'git-sync@*.timer'; bitbuilder sync --wait >/dev/null; systemctl stop 'git-sync@*.timer'")?;
    let planned = scene.call("Orchestrator", "Plan", &json!({}))?;
    let known =
        planned["plans"].as_array().map_or(0, |plans| plans.iter().filter(|plan| !plan["revision"].is_null()).count());
    anyhow::ensure!(known >= TENANTS, "only {known} of {TENANTS} tenants were admitted");
    let all = call(scene, "io.bitbuilder.Orchestrator", "Plan", &json!({}), 20)?;
    let list = call(scene, "io.bitbuilder.Orchestrator", "List", &json!({}), 20)?;
    let goal = |name: &str, ours, peer| Figure {
        name: name.to_owned(),
        ours,
        peer,
        peer_name: "the goal",
        unit: "ms",
        goal: Some(1.0),
    };
    let beside = |name: &str, ours, peer, peer_name| Figure { peer_name, goal: None, ..goal(name, ours, peer) };
    Ok(vec![
        goal("plan-one", one, 20.0),
        beside("plan-one-beside-list", one, peer, "io.bitbuilder.Tenant.List, one of the four that it asks"),
        goal("plan-1000", all, 500.0),
        beside("plan-1000-beside-list", all, list, "io.bitbuilder.Orchestrator.List of the same tenants"),
    ])
}

/// Milliseconds that a call takes, from the middle of as many.
fn call(scene: &Scene, interface: &str, method: &str, parameters: &Value, calls: usize) -> Result<f64> {
    let socket = format!("/run/bitbuilder/{interface}");
    scene.host.write("/run/parameters", parameters.to_string())?;
    let rounds: Vec<f64> = (0..3)
        .map(|_| -> Result<f64> {
            let printed = scene.must(&format!(
                "{TOOL} bench-client {socket} {interface}.{method} --parameters \"$(cat /run/parameters)\" --calls {calls}"
            ))?;
            printed.trim().parse().with_context(|| format!("not a number: {printed}"))
        })
        .collect::<Result<_>>()?;
    Ok(median(rounds) / 1000.0)
}
