//! How long it takes to say what would be done: for one commit of a tenant that runs, and for a thousand tenants at once.

use anyhow::{Context as _, Result};
use integration_tests::{Registration, Scene, manifest};
use serde_json::{Value, json};

use super::{Figure, median, varlink::TOOL};

const TENANTS: usize = 1000;

pub(super) fn measure(scene: &Scene) -> Result<Vec<Figure>> {
    let metadata = manifest("planned", &[], &json!({}));
    scene.repository("planned")?.commit("First", &[("metadata.json", &metadata)])?;
    let off = manifest("off", &[], &json!({})).replace("\"container\"", "\"container\", \"enabled\": false");
    scene.repository("off")?.commit("First", &[("metadata.json", &off)])?;
    let tenants = [Registration::new("planned"), Registration::new("off")];
    // Another figure may have made the host follow something before.
    if scene.host.sh("test -d /srv/git/system")?.success() {
        let registry = integration_tests::registry(&tenants);
        scene.open("system").commit("Planned", &[("tenants/registry.json", &registry)])?;
    } else {
        scene.follow(&tenants)?;
    }
    scene.bitbuilder(&["sync", "--wait"])?;
    scene.must("systemctl stop 'git-sync@*.timer'")?;

    let one = json!({ "request": { "metadata": metadata, "files": [], "revision": "1".repeat(40) } });
    let one = call(scene, "io.bitbuilder.Orchestrator", "Plan", &one, 200)?;
    let peer = call(scene, "io.bitbuilder.Tenant", "List", &json!({}), 200)?;

    // A thousand repositories would only measure Git: what is remembered of the one that should not run is remembered of
    // as many, each with a slot of its own.
    scene.host.write("/run/multiply.py", MULTIPLY.replace("TENANTS", &TENANTS.to_string()))?;
    scene.must(
        "systemctl mask --runtime --quiet git-sync@.timer bitbuilder-git-sync.socket bitbuilder-git-sync.service
         systemctl stop bitbuilder-git-sync.socket bitbuilder-git-sync.service bitbuilder-orchestrator.socket bitbuilder-orchestrator.service
         python3 /run/multiply.py
         systemctl start bitbuilder-orchestrator.socket bitbuilder-orchestrator.service
         bitbuilder sync --wait >/dev/null || true",
    )?;
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

/// Writes the ledger of the tenant `off` down for as many others, and registers them.
const MULTIPLY: &str = r#"
import json, os, shutil
ledger = "/var/lib/bitbuilder/orchestrator"
one = json.load(open(f"{ledger}/tenants/off.json"))
host = json.load(open(f"{ledger}/host.json"))
entry = next(entry for entry in host["registry"] if entry["name"] == "off")
for number in range(TENANTS):
    name = f"t{number}"
    held = dict(one, slot=number + 1000)
    for target in ("target", "verified"):
        held[target] = dict(one[target], name=name)
    host["registry"].append(dict(entry, name=name))
    path = f"{ledger}/tenants/{name}.json"
    json.dump(held, open(path, "w"))
    shutil.chown(path, "bitbuilder", "bitbuilder")
json.dump(host, open(f"{ledger}/host.json", "w"))
"#;

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
