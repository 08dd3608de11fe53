//! Resident memory of each service when nobody calls it, beside systemd's own machined.

use anyhow::{Context as _, Result};
use integration_tests::Scene;

use super::Figure;

const UNITS: [&str; 7] = [
    "bitbuilder-orchestrator",
    "tenant-manager",
    "bitbuilder-git-sync",
    "bitbuilder-storage",
    "bitbuilder-network",
    "bitbuilder-extension",
    "bitbuilder-guest@bench0",
];

pub(super) fn measure(scene: &Scene) -> Result<Vec<Figure>> {
    scene.must("systemctl stop 'git-sync@*.timer'; machinectl list >/dev/null")?;
    // Idle services leave after 30 s; the service manager says when the last of them has.
    let activated = &UNITS[2..].iter().map(|unit| format!("{unit}.service")).collect::<Vec<_>>().join(" ");
    scene.must(&format!(
        "exec 3< <(timeout 60 busctl monitor org.freedesktop.systemd1 2>/dev/null)
         while systemctl is-active --quiet {activated}; do read -r -u 3 _ || exit 1; done"
    ))?;
    let peer = resident(scene, "systemd-machined")?;
    UNITS
        .iter()
        .map(|unit| {
            Ok(Figure {
                name: format!("idle-memory/{unit}"),
                ours: resident(scene, unit)?,
                peer,
                peer_name: "systemd-machined",
                unit: "MiB",
                goal: None,
            })
        })
        .collect()
}

/// VmRSS in MiB; 0 for a service that does not run.
fn resident(scene: &Scene, unit: &str) -> Result<f64> {
    let shown = scene.must(&format!(
        "pid=$(systemctl show -p MainPID --value {unit}.service); [ $pid = 0 ] && echo 0 || awk '/^VmRSS/{{print $2}}' /proc/$pid/status"
    ))?;
    let kibibytes: f64 = shown.trim().parse().with_context(|| format!("not a number: {shown}"))?;
    Ok(kibibytes / 1024.0)
}
