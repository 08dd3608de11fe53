//! How long somebody waits whose connection wakes a tenant, beside the start of the tenant that this brings.

use anyhow::{Context as _, Result};
use integration_tests::{Scene, manifest};
use serde_json::json;

use super::{Figure, median};

const ROUNDS: usize = 15;
/// What waking may take beyond the start, in milliseconds.
const BEYOND: f64 = 50.0;
const UNIT: &str = "bitbuilder-container@sleeper.service";

pub(super) fn measure(scene: &Scene) -> Result<Vec<Figure>> {
    let asks = json!({
        "tenant": { "name": "sleeper", "type": "container", "activation": "on-demand", "sleepAfter": "1h" },
        "network": { "forward": [{ "host": 8700, "tenant": 80 }] }
    });
    scene.repository("sleeper")?.commit(
        "First",
        &[
            ("metadata.json", &manifest("sleeper", &["page.service"], &asks)),
            (".gitops/config.yaml", "version: \"1.0\"\nsync: { interval: 1d }\nverify: { healthy: 1s }\n"),
            ("units/page.service", "[Service]\nExecStart=busybox httpd -f -p 80 -h /srv/config\n"),
            ("page", "here\n"),
        ],
    )?;
    super::register(scene, "sleeper")?;
    scene.bitbuilder(&["sync", "--wait"])?;
    scene.expect_state("sleeper", "verified")?;
    let (mut wakes, mut starts) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        // Starts that were asked for by hand are no failures.
        scene.must(&format!("systemctl stop {UNIT}; systemctl reset-failed {UNIT}"))?;
        let waited = scene.must(
            "curl --silent --max-time 30 --output /dev/null --write-out '%{time_total}' http://127.0.0.1:8700/page",
        )?;
        wakes.push(number(&waited)? * 1000.0);
        let shown =
            scene.must(&format!("systemctl show -p InactiveExitTimestampMonotonic --value {UNIT}; systemctl show -p ActiveEnterTimestampMonotonic --value {UNIT}"))?;
        let (begun, ready) = shown.trim().split_once('\n').context("not two moments")?;
        starts.push((number(ready)? - number(begun)?) / 1000.0);
    }
    let beyond = wakes.iter().zip(&starts).map(|(wake, start)| wake - start).collect();
    let figure = |name: &str, ours, peer, peer_name, goal| Figure {
        name: name.to_owned(),
        ours,
        peer,
        peer_name,
        unit: "ms",
        goal,
    };
    Ok(vec![
        figure("wake-beyond-start", median(beyond), BEYOND, "the goal", Some(1.0)),
        figure("wake", median(wakes), median(starts), "the start of its unit meanwhile", None),
    ])
}

fn number(text: &str) -> Result<f64> {
    text.trim().parse().with_context(|| format!("not a number: {text}"))
}
