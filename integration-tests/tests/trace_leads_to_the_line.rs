//! Whatever somebody meets on the host leads to the line of the commit that asks for it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use anyhow::Result;
use integration_tests::{Registration, Scene, manifest, service};
use serde_json::{Value, json};
use test_host::Host;

#[test]
fn from_a_port_an_address_a_link_a_uid_a_unit_and_a_commit() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    let web = scene.repository("web")?;
    let forward = json!({ "network": { "forward": [{ "host": 8001, "tenant": 80 }] } });
    let metadata = manifest("web", &["hello.service"], &forward);
    let unit = service("sleep infinity");
    let first = web.commit("First", &[("metadata.json", &metadata), ("units/hello.service", &unit)])?;
    scene.repository("mail")?.commit("First", &[("metadata.json", &manifest("mail", &[], &json!({})))])?;
    let system = scene.follow(&[Registration::new("mail"), Registration::new("web")])?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);

    let line = |what: &str| metadata.lines().position(|line| line.contains(what)).unwrap() + 1;
    let at = |what: &str| format!("web:metadata.json:{}", line(what));
    let address = scene.status("web")?["address"].as_str().unwrap().to_owned();
    let link = scene.must("networkctl --no-legend list 'bb-*' | wc -l")?;
    assert_eq!(link.trim(), "2");
    let bridge = scene.must(&format!("ip -br address show to {address}/29 | cut -d' ' -f1"))?;
    // A process of the tenant's, as the host sees it.
    let uid = scene.must("stat -c %u /proc/$(machinectl show web -p Leader --value)")?;
    for (what, place) in [
        ("8001", at("\"host\": 8001")),
        ("8001/tcp", at("\"host\": 8001")),
        (&format!("{address}:80"), at("\"host\": 8001")),
        (&address, at("\"network\"")),
        (bridge.trim(), at("\"network\"")),
        (uid.trim(), at("\"name\": \"web\"")),
        ("web", at("\"name\": \"web\"")),
        ("bitbuilder-container@web.service", at("\"name\": \"web\"")),
        ("git-sync@web.service", at("\"name\": \"web\"")),
        ("hello.service", at("\"hello.service\"")),
        (&first[..7], at("\"name\": \"web\"")),
    ] {
        let traced: Value = serde_json::from_str(&scene.must(&format!("bitbuilder trace {what} --json=short"))?)?;
        let origin = &traced["origins"][0];
        assert_eq!((&origin["tenant"], &origin["place"]), (&json!("web"), &json!(place)), "{what}: {traced:#}");
        assert_eq!((&origin["repository"], &origin["revision"]), (&json!("git://127.0.0.1/web"), &json!(first)));
        assert_eq!(origin["systemRevision"], json!(system.git("rev-parse HEAD")?.trim()));
        let registered = origin["registered"].as_str().unwrap();
        let number: usize = registered.rsplit(':').next().unwrap().parse()?;
        let registry = system.git("show HEAD:tenants/registry.json")?;
        let named = |name: &str| registry.lines().position(|line| line.contains(name)).unwrap() + 1;
        let between = (named("\"name\": \"mail\"")..named("\"name\": \"web\"")).contains(&number);
        assert!(registered.starts_with("system:tenants/registry.json:") && between, "{registered}: {registry}");
    }
    let text = scene.must("bitbuilder trace hello.service")?;
    assert!(text.contains("web:units/hello.service:1") && text.contains(&first), "{text}");
    for nobody in ["8002", "8001/udp", "10.88.255.250", "bb-00000000", "nobody", "absent.service", "'$(id)'", "fffffff"]
    {
        let absent = scene.host.sh(&format!("bitbuilder trace {nobody}"))?;
        assert!(
            absent.code == 1 && absent.stderr.contains("nothing on this host"),
            "{nobody}: {}{}",
            absent.stdout,
            absent.stderr
        );
    }
    Ok(())
}
