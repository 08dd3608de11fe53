//! Every limit of a tenant is a property of its unit, changes while the tenant runs, is there again after a boot, and is no
//! more than its policy allows.

use anyhow::{Result, ensure};
use integration_tests::{Registration, Scene, manifest};
use serde_json::json;
use test_host::Host;

const PROPERTIES: &str = "-p AllowedCPUs -p AllowedMemoryNodes -p CPUWeight -p IOReadBandwidthMax -p IOReadIOPSMax -p IOWeight -p IOWriteBandwidthMax -p IOWriteIOPSMax -p ManagedOOMMemoryPressure -p TasksMax";

#[test]
fn limits_follow_the_commit() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    let web = scene.repository("web")?;
    let asks = |resources| manifest("web", &[], &json!({ "resources": resources }));
    web.commit("Plain", &[("metadata.json", &asks(json!({})))])?;
    let limits = json!({
        "cpu": { "cores": 2, "allowed": "0-1" },
        "memory": { "limit": "1G", "nodes": "0" },
        "io": { "read": "64M", "write": "64M", "reads": 1000 },
        "tasks": 2000,
    });
    scene.follow(&[Registration { name: "web".to_owned(), limits }])?;
    ensure!(scene.bitbuilder(&["sync", "--wait"])?.code == 0, "{:#}", scene.status("web")?);
    let shown = || scene.must(&format!("systemctl show bitbuilder-container@web.service {PROPERTIES} | sort"));
    let leader = || scene.must("machinectl show web --property=Leader --value");
    let tree = "/var/lib/tenants/web/root";
    // Who asks for nothing has what the policy allows.
    let plain = format!(
        "AllowedCPUs=0-1\nAllowedMemoryNodes=0\nCPUWeight=[not set]\nIOReadBandwidthMax={tree} 67108864\nIOReadIOPSMax={tree} 1000\nIOWeight=[not set]\nIOWriteBandwidthMax={tree} 67108864\nManagedOOMMemoryPressure=auto\nTasksMax=2000\n"
    );
    assert_eq!(shown()?, plain);
    let before = leader()?;

    let asked = json!({
        "cpu": { "shares": 2048, "allowedCpus": "1" },
        "memory": { "managedOomMemoryPressure": "kill" },
        "io": { "weight": 50, "readBandwidthMax": "8M", "writeBandwidthMax": "4M", "readIopsMax": 100, "writeIopsMax": 50 },
        "tasks": 500,
    });
    web.commit("Narrow", &[("metadata.json", &asks(asked))])?;
    ensure!(scene.sync("web")?.code == 0, "{:#}", scene.status("web")?);
    let narrow = format!(
        "AllowedCPUs=1\nAllowedMemoryNodes=0\nCPUWeight=200\nIOReadBandwidthMax={tree} 8388608\nIOReadIOPSMax={tree} 100\nIOWeight=50\nIOWriteBandwidthMax={tree} 4194304\nIOWriteIOPSMax={tree} 50\nManagedOOMMemoryPressure=kill\nTasksMax=500\n"
    );
    assert_eq!(shown()?, narrow);
    assert_eq!(leader()?, before, "limits alone started the tenant anew");

    // More than the policy allows is refused at its place, and what was runs on.
    for (more, word) in [
        (json!({ "cpu": { "allowedCpus": "0-2" } }), "0-2"),
        (json!({ "memory": { "allowedMemoryNodes": "0-1" } }), "0-1"),
        (json!({ "tasks": 2001 }), "2001"),
        (json!({ "io": { "readIopsMax": 1001 } }), "1001"),
    ] {
        web.commit("More", &[("metadata.json", &asks(more))])?;
        let refused = scene.sync("web")?;
        let said = refused.stdout + &refused.stderr;
        assert!(refused.code == 3 && said.contains(word) && said.contains("tenants/registry.json:"), "{word}: {said}");
    }
    assert_eq!(shown()?, narrow);

    scene.host.reboot()?;
    scene.must("timeout 60 sh -c 'until systemctl is-active --quiet bitbuilder-container@web; do systemctl is-system-running --wait >/dev/null; done'")?;
    assert_eq!(shown()?, narrow);

    // What is not said any more does not linger.
    web.commit("Plain again", &[("metadata.json", &asks(json!({})))])?;
    ensure!(scene.sync("web")?.code == 0, "{:#}", scene.status("web")?);
    assert_eq!(shown()?, plain);
    Ok(())
}
