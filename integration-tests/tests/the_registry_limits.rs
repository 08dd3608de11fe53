//! What the registry allows holds for a tenant whatever its repository asks for, and if it asks for nothing.

use anyhow::Result;
use integration_tests::{Registration, Scene, manifest};
use serde_json::{Value, json};
use test_host::Host;

#[test]
fn a_tenant_that_asks_for_nothing_gets_no_more_than_the_limit() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    let web = scene.repository("web")?;
    let asks = |resources: &Value| manifest("web", &[], &json!({ "resources": resources }));
    let first = web.commit("First", &[("metadata.json", &manifest("web", &[], &json!({})))])?;
    let limits = json!({ "memory": { "limit": "300M" }, "cpu": { "cores": 1 } });
    scene.follow(&[Registration { name: "web".to_owned(), limits }])?;
    let holds = |memory: &str, cpu: &str| -> Result<()> {
        let expected = format!("CPUQuotaPerSecUSec={cpu}\nMemoryMax={memory}\n");
        let unit = "systemctl show bitbuilder-container@web.service -p MemoryMax -p CPUQuotaPerSecUSec | sort";
        assert_eq!(scene.must(unit)?, expected);
        Ok(())
    };
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    holds("314572800", "1s")?;

    // Less is what it asked for; more is refused, and what was runs on.
    let second = web.commit("Less", &[("metadata.json", &asks(&json!({ "memory": { "limit": "200M" } })))])?;
    assert_eq!(scene.sync("web")?.code, 0);
    holds("209715200", "1s")?;
    for more in [json!({ "memory": { "limit": "301M" } }), json!({ "cpu": { "cores": 2 } })] {
        web.commit("More", &[("metadata.json", &asks(&more))])?;
        assert_eq!(scene.sync("web")?.code, 3, "{more}");
        let status = scene.expect_state("web", "refused")?;
        assert_ne!(first, second);
        assert_eq!(status["verified"], json!(second), "{more}");
    }
    holds("209715200", "1s")?;

    // Started anew by the host, it has the same limits.
    web.commit("As before", &[("metadata.json", &manifest("web", &[], &json!({})))])?;
    assert_eq!(scene.sync("web")?.code, 0);
    scene.host.reboot()?;
    assert_eq!(scene.sync("web")?.code, 0);
    holds("314572800", "1s")
}
