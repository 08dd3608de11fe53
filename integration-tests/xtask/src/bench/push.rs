//! How long from asking for a sync until the tenant says that it is ready, beside the same tree booted by hand.

use anyhow::{Context as _, Result};
use integration_tests::{Registration, Scene, manifest};
use serde_json::json;

use super::{Figure, median};

const ROUNDS: usize = 9;

pub(super) fn measure(scene: &Scene) -> Result<Vec<Figure>> {
    let names: Vec<String> = (0..ROUNDS).map(|round| format!("bench{round}")).collect();
    let tenants: Vec<Registration> = names.iter().map(|name| Registration::new(name)).collect();
    let repositories = names.iter().map(|name| scene.repository(name)).collect::<Result<Vec<_>>>()?;
    scene.follow(&tenants)?;
    scene.bitbuilder(&["sync", "--wait"])?;
    scene.must("systemctl stop 'git-sync@*.timer'")?;

    scene.must(
        "cd $(mktemp -d) && mkdir -p usr/lib/extension-release.d && echo ID=_any >usr/lib/extension-release.d/extension-release.bench \
         && mksquashfs . /var/lib/bitbuilder/images/sysext/bench.raw -quiet -no-progress -all-root",
    )?;
    let (mut first, mut next, mut by_hand, mut again_by_hand) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (name, repository) in names.iter().zip(&repositories) {
        let forward = json!({ "network": { "forward": [{ "host": 8000 + first.len(), "tenant": 80 }] } });
        repository.commit("First", &[("metadata.json", &manifest(name, &[], &forward))])?;
        first.push(ready_after_sync(scene, name)?);
        // What only a restart of the whole tenant brings.
        let layered = json!({ "extensions": { "sysext": ["bench"] } });
        repository.commit("Second", &[("metadata.json", &manifest(name, &[], &layered))])?;
        next.push(ready_after_sync(scene, name)?);
        scene.must("btrfs --quiet subvolume snapshot /var/lib/machines/debian /var/lib/machines/by-hand")?;
        by_hand.push(until_ready(scene, BY_HAND, "by-hand")?);
        again_by_hand.push(until_ready(scene, "systemctl restart by-hand.service", "by-hand")?);
        scene.must(
            "systemctl stop by-hand.service; btrfs --quiet subvolume delete --recursive /var/lib/machines/by-hand",
        )?;
    }
    let figure = |name: &str, ours: Vec<f64>, peer: Vec<f64>, peer_name| Figure {
        name: name.to_owned(),
        ours: median(ours),
        peer: median(peer),
        peer_name,
        unit: "ms",
        goal: Some(1.5),
    };
    Ok(vec![
        figure("push-ready", first, by_hand, "systemd-nspawn --boot of the same image by hand"),
        figure("push-ready-again", next, again_by_hand, "systemctl restart of that"),
    ])
}

/// What a person would type to boot the image, with uids and a link of its own.
const BY_HAND: &str = "systemd-run --quiet --unit=by-hand --property=Type=notify --property=Delegate=yes --property=NotifyAccess=all \
     --property=KillMode=mixed systemd-nspawn --quiet --keep-unit --settings=no --machine=by-hand \
     --directory=/var/lib/machines/by-hand --private-users=1879048192:65536 --private-users-ownership=map --network-veth \
     --link-journal=no --boot --notify-ready=yes";

/// Milliseconds from the call to the moment at which the service manager saw READY.
fn ready_after_sync(scene: &Scene, tenant: &str) -> Result<f64> {
    let took = until_ready(
        scene,
        &format!("bitbuilder sync {tenant} --wait >/dev/null"),
        &format!("bitbuilder-container@{tenant}"),
    )?;
    scene.expect_state(tenant, "verified")?;
    Ok(took)
}

/// Milliseconds from the beginning of `command` until `unit` was ready. CLOCK_MONOTONIC is the service manager's clock too.
fn until_ready(scene: &Scene, command: &str, unit: &str) -> Result<f64> {
    let printed = scene.must(&format!(
        "python3 -c 'import time; print(time.monotonic_ns() / 1000)' && {command} && systemctl show -p ActiveEnterTimestampMonotonic --value {unit}.service"
    ))?;
    let moments = printed.lines().map(number).collect::<Result<Vec<_>>>()?;
    let [asked, ready] = moments[..] else { anyhow::bail!("not two moments: {printed}") };
    Ok((ready - asked) / 1000.0)
}

fn number(text: &str) -> Result<f64> {
    text.trim().parse().with_context(|| format!("not a number: {text}"))
}
