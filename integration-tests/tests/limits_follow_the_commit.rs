//! Every limit of a tenant is a property of its unit, changes while the tenant runs, is there again after a boot, and is no
//! more than its policy allows. What a unit has no such property for, each process of the tenant has from the first one.

use anyhow::{Result, ensure};
use integration_tests::{Registration, Repository, Scene, manifest};
use serde_json::{Value, json};
use test_host::Host;

const PROPERTIES: &str = "-p AllowedCPUs -p AllowedMemoryNodes -p CPUWeight -p IOReadBandwidthMax -p IOReadIOPSMax -p IOWeight -p IOWriteBandwidthMax -p IOWriteIOPSMax -p ManagedOOMMemoryPressure -p TasksMax";

/// Of each process of the tenant: how it reads and writes, and what the policy of its memory is. One may end meanwhile.
const INHERITED: &str =
    "cd /sys/fs/cgroup/bitbuilder.slice/bitbuilder-tenants.slice/bitbuilder-container@db.service/payload
for pid in $(find . -name cgroup.procs -exec cat {} +); do
    maps=$(head -n1 /proc/$pid/numa_maps 2>/dev/null | cut -d' ' -f2) && test -n \"$maps\" || continue
    class=$(ionice -p $pid 2>/dev/null) && echo \"$class, $maps\"
done | sort | uniq -c";
const OOM_GROUP: &str =
    "/sys/fs/cgroup/bitbuilder.slice/bitbuilder-tenants.slice/bitbuilder-container@db.service/payload/memory.oom.group";

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

fn commit(db: &Repository<'_>, resources: &Value) -> Result<String> {
    db.commit("Resources", &[("metadata.json", &manifest("db", &[], &json!({ "resources": resources })))])
}

/// What all processes of the tenant have, of which there are several.
fn inherited(scene: &Scene) -> Result<String> {
    let found = scene.must(INHERITED)?;
    let (count, what) = found.trim().split_once(' ').unwrap_or_default();
    ensure!(found.lines().count() == 1 && count.parse::<u32>()? > 3, "not one for all: {found}");
    Ok(what.to_owned())
}

#[test]
fn processes_have_what_the_first_one_was_started_with() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    let db = scene.repository("db")?;
    commit(&db, &json!({}))?;
    scene.follow(&[Registration { name: "db".to_owned(), limits: json!({}) }])?;
    ensure!(scene.bitbuilder(&["sync", "--wait"])?.code == 0, "{:#}", scene.status("db")?);
    let leader = || scene.must("machinectl show db --property=Leader --value");
    // Why the first process sets them: systemd sets none of these on a unit that is loaded.
    for property in ["IOSchedulingClass=idle", "NUMAPolicy=local", "OOMPolicy=kill"] {
        let set = ["systemctl", "set-property", "--runtime", "bitbuilder-container@db.service", property];
        assert_ne!(scene.host.run(&set)?.code, 0, "{property}");
    }
    let plain = inherited(&scene)?;
    assert_eq!(plain, "none: prio 0, default");
    let before = leader()?;

    let idle = json!({
        "io": { "class": "idle" },
        "memory": { "limit": "512M", "numaPolicy": "interleave", "numaMask": "0", "oomPolicy": "kill" },
    });
    commit(&db, &idle)?;
    ensure!(scene.sync("db")?.code == 0, "{:#}", scene.status("db")?);
    assert_eq!(inherited(&scene)?, "idle, interleave:0");
    let started = leader()?;
    assert_ne!(started, before, "a process cannot have it but from its start");
    let said = scene.must("bitbuilder history db")?;
    assert!(said.contains("what its processes are started with changes"), "{said}");
    // The machine of a test may have no memory controller; then the tenant runs all the same, and it is said.
    let counts = scene.host.sh(&format!("test -e {OOM_GROUP}"))?.success();
    let together = || if counts { scene.must(&format!("cat {OOM_GROUP}")) } else { Ok("1\n".to_owned()) };
    assert_eq!(together()?, "1\n");
    let journal = scene.must("journalctl -u bitbuilder-container@db -o cat")?;
    assert_eq!(journal.contains("oomPolicy has no effect"), !counts, "{journal}");

    // A limit beside it changes while the tenant runs, and takes nothing of it away.
    let mut roomy = idle;
    roomy["memory"]["limit"] = json!("768M");
    commit(&db, &roomy)?;
    ensure!(scene.sync("db")?.code == 0, "{:#}", scene.status("db")?);
    assert_eq!((leader()?, together()?), (started, "1\n".to_owned()));

    // Nodes that the policy lists and the machine has not: it goes back to what held.
    commit(&db, &json!({ "memory": { "numaPolicy": "bind", "numaMask": "4000" } }))?;
    assert_eq!(scene.sync("db")?.code, 4);
    let status = scene.expect_state("db", "rolled_back")?;
    assert!(status["reason"].as_str().is_some_and(|reason| reason.contains("the memory nodes 4000")), "{status:#}");
    assert_eq!(inherited(&scene)?, "idle, interleave:0");

    commit(&db, &json!({ "io": { "priority": 2 }, "memory": { "numaPolicy": "local", "oomPolicy": "continue" } }))?;
    ensure!(scene.sync("db")?.code == 0, "{:#}", scene.status("db")?);
    assert_eq!(inherited(&scene)?, "best-effort: prio 2, local");
    assert!(!counts || together()? == "0\n", "it lingers");

    // And also after a boot, without anybody.
    scene.host.reboot()?;
    scene.must("timeout 60 sh -c 'until systemctl is-active --quiet bitbuilder-container@db; do systemctl is-system-running --wait >/dev/null; done'")?;
    assert_eq!(inherited(&scene)?, "best-effort: prio 2, local");

    commit(&db, &json!({}))?;
    ensure!(scene.sync("db")?.code == 0, "{:#}", scene.status("db")?);
    assert_eq!(inherited(&scene)?, plain);
    Ok(())
}
