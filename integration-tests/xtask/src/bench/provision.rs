//! How long from asking for a sync until one new tenant, or the last of twenty, says that it is ready, beside the same trees
//! booted by hand.

use anyhow::Result;
use integration_tests::{Registration, Scene, manifest};
use serde_json::json;

use super::{Figure, median};

const ROUNDS: usize = 5;

pub(super) fn measure(scene: &Scene) -> Result<Vec<Figure>> {
    let rounds = [(1, "provision-1"), (20, "provision-20")];
    let sets: Vec<(&str, Vec<Vec<String>>)> = rounds.iter().map(|(count, name)| (*name, names(name, *count))).collect();
    let all: Vec<String> = sets.iter().flat_map(|(_, rounds)| rounds.concat()).collect();
    follow(scene, &all)?;
    sets.iter().map(|(name, rounds)| figure(scene, name, rounds)).collect()
}

/// Makes the host follow tenants whose repositories are still empty, and look at them only when it is asked to.
pub(super) fn follow(scene: &Scene, tenants: &[String]) -> Result<()> {
    let registrations: Vec<Registration> = tenants.iter().map(|name| Registration::new(name)).collect();
    for registration in &registrations {
        scene.repository(&registration.name)?;
    }
    scene.must("systemctl mask --runtime --quiet git-sync@.timer")?;
    scene.follow(&registrations)?;
    scene.bitbuilder(&["sync", "--wait"])?;
    scene.host.write("/run/provision.py", include_str!("provision.py"))
}

fn names(figure: &str, count: usize) -> Vec<Vec<String>> {
    (0..ROUNDS).map(|round| (0..count).map(|number| format!("{figure}-{round}-{number}")).collect()).collect()
}

fn figure(scene: &Scene, name: &str, rounds: &[Vec<String>]) -> Result<Figure> {
    let (mut ours, mut peer) = (Vec::new(), Vec::new());
    for tenants in rounds {
        ours.push(self::ours(scene, tenants)?);
        peer.push(milliseconds(scene, "by-hand", tenants)?);
    }
    Ok(Figure {
        name: name.to_owned(),
        ours: median(ours),
        peer: median(peer),
        peer_name: "systemd-nspawn --boot of the same image by hand",
        unit: "ms",
        goal: Some(1.25),
    })
}

/// The milliseconds until the last of these tenants is ready, of which only repositories were there. Afterwards none of them runs.
pub(super) fn ours(scene: &Scene, tenants: &[String]) -> Result<f64> {
    for tenant in tenants {
        scene.open(tenant).commit("First", &[("metadata.json", &manifest(tenant, &[], &json!({})))])?;
    }
    let taken = milliseconds(scene, "ours", tenants)?;
    for tenant in tenants {
        scene.expect_state(tenant, "verified")?;
        let off = json!({ "tenant": { "name": tenant, "type": "container", "enabled": false } });
        scene.open(tenant).commit("Off", &[("metadata.json", &manifest(tenant, &[], &off))])?;
    }
    scene.bitbuilder(&["sync", "--wait"])?;
    Ok(taken)
}

fn milliseconds(scene: &Scene, what: &str, tenants: &[String]) -> Result<f64> {
    Ok(scene.must(&format!("python3 /run/provision.py {what} {}", tenants.join(" ")))?.trim().parse()?)
}
