//! The host is rebooted, in order or by the plug: the tenants come back as they were last verified, without a Git server.

use anyhow::Result;
use integration_tests::{Registration, Scene, manifest, service};
use serde_json::json;
use test_host::Host;

const CURL: &str =
    "curl --silent --max-time 5 --retry 20 --retry-all-errors --retry-delay 1 http://127.0.0.1:8080/page";

#[test]
fn in_order_and_by_the_plug() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    let web = scene.repository("web")?;
    let forward = json!({ "network": { "forward": [{ "host": 8080, "tenant": 80 }] } });
    web.commit(
        "First",
        &[
            ("metadata.json", &manifest("web", &["web.service"], &forward)),
            ("units/web.service", &service("busybox httpd -f -p 80 -h /srv/config")),
            ("page", "here\n"),
        ],
    )?;
    scene.follow(&[Registration::new("web")])?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    assert_eq!(scene.must(CURL)?, "here\n");
    let before = scene.status("web")?;
    scene.must("machinectl show web -p Leader >/dev/null && echo kept > /var/lib/tenants/web/data/file && systemctl disable git-daemon.socket")?;

    let comes_back = || -> Result<()> {
        assert!(!scene.host.sh("systemctl is-active git-daemon.socket")?.success(), "the Git server should be away");
        assert_eq!(scene.must(CURL)?, "here\n");
        let status = scene.status("web")?;
        assert_eq!((&status["verified"], &status["address"]), (&before["verified"], &before["address"]));
        assert_eq!(scene.must("cat /var/lib/tenants/web/data/file")?, "kept\n");
        Ok(())
    };
    scene.host.reboot()?;
    comes_back()?;
    scene.host.power_loss()?;
    comes_back()?;

    // A commit that was pushed while the host was down is applied when it is up.
    let second = web.commit("Second", &[("page", "changed\n")])?;
    scene.must("systemctl enable git-daemon.socket")?;
    scene.host.reboot()?;
    scene.await_status(&format!("\"verified\":\"{second}\""))?;
    assert_eq!(scene.must(CURL)?, "changed\n");
    Ok(())
}
