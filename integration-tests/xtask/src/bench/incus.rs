//! How long a new tenant takes until it is ready, beside `incus launch` of the same root file system. Incus is on a host that has
//! it for this figure alone.

use anyhow::Result;
use integration_tests::Scene;

use super::{Figure, median, provision};

/// Incus for containers, and what gives leases on its bridge.
pub(super) const PACKAGES: &[&str] = &["incus-base", "dnsmasq-base"];
const ROUNDS: usize = 5;

pub(super) fn measure(scene: &Scene) -> Result<Vec<Figure>> {
    let tenants: Vec<String> = (0..ROUNDS).map(|round| format!("beside-incus-{round}")).collect();
    provision::follow(scene, &tenants)?;
    scene.host.write("/run/incus.py", include_str!("incus.py"))?;
    scene.must("python3 /run/incus.py prepare")?;
    // The first launch unpacks the image, which ours is spared too.
    launch(scene, "first")?;
    let (mut ours, mut peer) = (Vec::new(), Vec::new());
    for tenant in &tenants {
        ours.push(provision::ours(scene, std::slice::from_ref(tenant))?);
        peer.push(launch(scene, tenant)?);
    }
    Ok(vec![Figure {
        name: "incus-launch".to_owned(),
        ours: median(ours),
        peer: median(peer),
        peer_name: "incus launch of the same root file system",
        unit: "ms",
        goal: None,
    }])
}

fn launch(scene: &Scene, name: &str) -> Result<f64> {
    Ok(scene.must(&format!("python3 /run/incus.py launch {name}"))?.trim().parse()?)
}
