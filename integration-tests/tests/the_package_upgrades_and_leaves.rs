//! The package on a host where tenants run: an upgrade touches none of them, a removal leaves nothing that runs, and what was
//! removed comes back with its state.

use anyhow::{Context as _, Result};
use integration_tests::{Registration, Scene, manifest, service};
use serde_json::json;
use test_host::{Host, PACKAGE_VARIABLE};

const SERVICES: [&str; 8] = [
    "bitbuilder-orchestrator",
    "tenant-manager",
    "bitbuilder-git-sync",
    "bitbuilder-storage",
    "bitbuilder-network",
    "bitbuilder-extension",
    "bitbuilder-notification",
    "bitbuilder-guest@web",
];

/// All that is ours and not at rest, but for slices.
const OURS: &str = "systemctl list-units --plain --no-legend --state=active,activating,deactivating,reloading,failed 'bitbuilder-*' 'git-sync@*' 'tenant-*' 'run-bitbuilder-*' | grep -v '[.]slice ' || true";

/// Unpacks the package, changes it as an upgrade does, and packs it again.
const NEWER: &str = r"
cd /srv && dpkg-deb -R old.deb tree && cd tree
sed -i 's/^Version: .*/Version: 99.0-1/' DEBIAN/control
rm -f DEBIAN/md5sums
for binary in usr/lib/bitbuilder/*; do echo >>$binary; done
printf '[Socket]\nListenStream=/run/bitbuilder/new\nAccept=yes\n[Install]\nWantedBy=sockets.target\n' >usr/lib/systemd/system/bitbuilder-new.socket
printf '[Service]\nExecStart=/bin/true\n' >usr/lib/systemd/system/bitbuilder-new@.service
echo 'enable bitbuilder-new.socket' >>usr/lib/systemd/system-preset/50-bitbuilder.preset
dpkg-deb --root-owner-group -Znone -b . /srv/new.deb";

fn scene() -> Result<(Scene, String)> {
    let package = std::env::var_os(PACKAGE_VARIABLE).context("no package")?;
    let scene = Scene::boot(Host::builder("").bind(package, "/srv/old.deb"))?;
    let forward = json!({ "network": { "forward": [{ "host": 8080, "tenant": 80 }] } });
    let commit = scene.repository("web")?.commit(
        "First",
        &[
            ("metadata.json", &manifest("web", &["web.service"], &forward)),
            ("units/web.service", &service("busybox httpd -f -p 80 -h /srv/data")),
        ],
    )?;
    scene.follow(&[Registration::new("web")])?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    scene.must("echo kept >/var/lib/tenants/web/data/page")?;
    Ok((scene, commit))
}

fn serves(scene: &Scene) -> Result<()> {
    for contract in interfaces::ALL {
        let below = if contract.name == "io.bitbuilder.Guest" { "guest/web/" } else { "" };
        let socket = format!("/run/bitbuilder/{below}{}", contract.name);
        scene.must(&format!("timeout 20 varlinkctl call {socket} io.systemd.service.Ping '{{}}'"))?;
    }
    let failed = scene.must("systemctl --failed --plain --no-legend")?;
    assert_eq!(failed, "", "failed units");
    Ok(())
}

fn converged(scene: &Scene, commit: &str) -> Result<()> {
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    let status = scene.expect_state("web", "verified")?;
    assert_eq!(status["verified"], json!(commit));
    let page = scene.must("curl --silent --max-time 5 --retry 5 --retry-connrefused http://127.0.0.1:8080/page")?;
    assert_eq!(page, "kept\n", "the tenant's data");
    serves(scene)
}

fn main_pid(scene: &Scene, unit: &str) -> Result<String> {
    scene.must(&format!("systemctl show -p MainPID --value {unit}.service"))
}

#[test]
fn an_upgrade_restarts_services_and_no_tenant() -> Result<()> {
    let (scene, commit) = scene()?;
    serves(&scene)?;
    scene.must(NEWER)?;
    // What an administrator decided is not decided again.
    scene.must("systemctl disable --quiet bitbuilder-storage.socket")?;
    // Who was idle for long has ended.
    serves(&scene)?;
    let before = SERVICES.map(|unit| main_pid(&scene, unit));
    let untouched = "systemctl show -p InvocationID -p MainPID bitbuilder-container@web systemd-networkd bitbuilder-tenant-manager.socket bitbuilder-guest@web.socket; systemd-run -M web --wait --pipe --quiet systemctl show -p InvocationID web.service";
    let left_alone = scene.must(untouched)?;
    for package in ["/srv/new.deb", "/srv/old.deb", "/srv/new.deb"] {
        let upgraded = scene.host.sh(&format!("dpkg -i {package}"))?;
        assert!(upgraded.success(), "{}", upgraded.stderr);
        assert!(
            ["refusing", "Failed", "failed"].iter().all(|word| !upgraded.stderr.contains(word)),
            "{}",
            upgraded.stderr
        );
    }
    assert_eq!(scene.must(untouched)?, left_alone, "the upgrade touched what is not its own");
    serves(&scene)?;
    for (unit, before) in SERVICES.iter().zip(before) {
        assert_ne!(before?.trim(), "0", "{unit} did not run");
        scene.must(&format!(
            "pid=$(systemctl show -p MainPID --value {unit}.service); cmp /proc/$pid/exe /srv/tree/usr/lib/bitbuilder/$(basename $(readlink /proc/$pid/exe))"
        ))?;
    }
    scene.must("systemctl is-enabled bitbuilder-new.socket && systemctl is-active bitbuilder-new.socket")?;
    assert_eq!(scene.host.sh("systemctl is-enabled bitbuilder-storage.socket")?.stdout, "disabled\n");
    converged(&scene, &commit)
}

#[test]
fn a_removal_leaves_nothing_that_runs_and_all_that_is_kept() -> Result<()> {
    let (scene, commit) = scene()?;
    let slot = scene.status("web")?["address"].clone();
    scene.must("systemctl disable --quiet bitbuilder-storage.socket")?;
    for (gone, disabled) in [("--remove", "disabled\n"), ("--purge", "enabled\n")] {
        scene.must(&format!("dpkg {gone} bitbuilder"))?;
        assert_eq!(scene.must(OURS)?, "", "after {gone}");
        let processes = scene.host.sh("ps -eo args= | grep -e '^/usr/lib/bitbuilder/' -e '[s]ystemd-nspawn'")?;
        assert_eq!(processes.stdout, "", "after {gone}");
        let network = scene.must("ip -br link | grep bb- || true; nft list tables | grep bitbuilder || true; ls /run/systemd/network | grep bitbuilder || true")?;
        assert_eq!(network, "", "after {gone}");
        assert!(!scene.host.sh("curl --silent --max-time 3 http://127.0.0.1:8080/page")?.success());
        scene.must("test ! -e /run/bitbuilder && grep -q kept /var/lib/tenants/web/data/page")?;
        scene.must("dpkg -i /srv/old.deb")?;
        converged(&scene, &commit)?;
        assert_eq!(scene.status("web")?["address"], slot, "after {gone}");
        assert_eq!(scene.host.sh("systemctl is-enabled bitbuilder-storage.socket")?.stdout, disabled, "after {gone}");
    }
    // A removal that is given up: what the package's scripts stopped runs again.
    scene.must("/var/lib/dpkg/info/bitbuilder.prerm remove && test ! -e /run/bitbuilder && /var/lib/dpkg/info/bitbuilder.postinst abort-remove")?;
    converged(&scene, &commit)?;
    // It boots, too.
    scene.host.reboot()?;
    converged(&scene, &commit)
}
