//! A tenant is reached by its forwarded ports and by nothing else, and reaches nobody else.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use anyhow::Result;
use integration_tests::{Registration, Scene, manifest, service};
use serde_json::json;
use test_host::Host;

#[test]
fn forwards_lead_in_and_nothing_leads_across() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    scene.must("ip link add up0 type veth peer name up1 && ip netns add outside && ip link set up1 netns outside && ip addr add 192.0.2.1/24 dev up0 && ip link set up0 up && ip -n outside addr add 192.0.2.2/24 dev up1 && ip -n outside link set up1 up")?;
    for (name, port) in [("web", 8080), ("mail", 8081)] {
        let forward = json!({ "network": { "forward": [{ "host": port, "tenant": 80 }] } });
        scene.repository(name)?.commit(
            "First",
            &[
                ("metadata.json", &manifest(name, &["web.service"], &forward)),
                ("units/web.service", &service("busybox httpd -f -p 80 -h /srv/config")),
                ("page", &format!("{name}\n")),
            ],
        )?;
    }
    scene.follow(&[Registration::new("web"), Registration::new("mail")])?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    let fetch = "curl --silent --show-error --max-time 3";
    for address in ["127.0.0.1", "192.0.2.1"] {
        assert_eq!(scene.must(&format!("{fetch} --retry 5 --retry-connrefused http://{address}:8080/page"))?, "web\n");
        assert_eq!(scene.must(&format!("{fetch} --retry 5 --retry-connrefused http://{address}:8081/page"))?, "mail\n");
    }
    assert_eq!(scene.must(&format!("ip netns exec outside {fetch} http://192.0.2.1:8080/page"))?, "web\n");

    let web = scene.status("web")?["address"].as_str().unwrap().to_owned();
    let mail = scene.status("mail")?["address"].as_str().unwrap().to_owned();
    assert_ne!(web, mail);
    let shown = scene.must("systemd-run -M web --wait --pipe --quiet ip -4 -o addr show host0")?;
    assert!(shown.contains(&web), "{shown}");

    let inside = |command: &str| scene.host.sh(&format!("systemd-run -M web --wait --pipe --quiet {command}"));
    let get = |address: &str, port: u16| inside(&format!("busybox wget -q -T 3 -O - http://{address}:{port}/page"));
    assert!(get(&web, 80)?.success(), "its own page");
    assert!(!get(&mail, 80)?.success(), "web reached mail");
    // The host's own services: the Git server on loopback, and whatever listens on the bridge's address.
    scene.must("systemd-run --unit=everywhere --quiet busybox httpd -f -p 8888 -h /srv")?;
    let gateway = web.rsplit_once('.').map(|(net, last)| format!("{net}.{}", last.parse::<u8>().unwrap() - 1)).unwrap();
    scene.must(&format!("{fetch} --output /dev/null --retry 5 --retry-connrefused http://{gateway}:8888/"))?;
    assert!(!get(&gateway, 8888)?.success(), "web reached a port of the host");
    // From outside, only forwarded ports lead in, even for those who send to the tenant's address.
    scene.must("ip -n outside route add 10.88.0.0/16 via 192.0.2.1")?;
    assert!(
        !scene.host.sh(&format!("ip netns exec outside {fetch} http://{web}:80/page"))?.success(),
        "outside reached web directly"
    );
    // And out, the tenant goes with the host's address.
    scene.must("ip netns exec outside busybox httpd -p 192.0.2.2:80 -h /srv/trees/web")?;
    assert!(get("192.0.2.2", 80)?.stdout.contains("web"));

    // A forward that leaves the repository leaves the host; the tenant keeps its address, and the other one its forward.
    let without = manifest("web", &["web.service"], &json!({}));
    let revision = scene.open("web").commit("No forward", &[("metadata.json", &without)])?;
    assert_eq!(scene.sync("web")?.code, 0);
    let status = scene.expect_state("web", "verified")?;
    assert_eq!((&status["verified"], &status["address"]), (&json!(revision), &json!(web)));
    for address in ["127.0.0.1", "192.0.2.1"] {
        assert_eq!(scene.host.sh(&format!("{fetch} http://{address}:8080/page"))?.code, 7, "nobody listens any more");
    }
    assert!(!scene.must("nft list map inet bitbuilder forwards")?.contains("8080"));
    assert!(get(&web, 80)?.success(), "the tenant itself serves on");
    assert_eq!(scene.must(&format!("{fetch} http://127.0.0.1:8081/page"))?, "mail\n");
    Ok(())
}
