//! What is held of repositories is what is needed: the system repository's checkouts, and nothing of tenants who are gone.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use anyhow::Result;
use integration_tests::{Registration, Scene, manifest, registry};
use serde_json::json;
use test_host::Host;

const GIT: &str = "/var/lib/bitbuilder/git";

#[test]
fn checkouts_and_mirrors_go_and_no_history_goes_back() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    let web = scene.repository("web")?;
    web.commit("First", &[("metadata.json", &manifest("web", &[], &json!({})))])?;
    let second = web.commit("Second", &[("note", "2")])?;
    scene.repository("bad")?.commit("Refused", &[("metadata.json", "{}")])?;
    let system = scene.follow(&[Registration::new("web"), Registration::new("bad")])?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 3);
    let held = |path: &str| -> Result<Vec<String>> {
        Ok(scene.must(&format!("ls {GIT}/{path}"))?.lines().map(str::to_owned).collect())
    };
    let mut last = String::new();
    for count in 0..3 {
        last = system.commit("Nothing new", &[("note", &count.to_string())])?;
        scene.bitbuilder(&["sync", "system", "--wait"])?;
    }
    assert_eq!(held("system/checkouts")?, [last.clone()]);
    let refused = system.commit("Refused", &[("tenants/registry.json", "[]")])?;
    scene.bitbuilder(&["sync", "system", "--wait"])?;
    let mut both = [last, refused];
    both.sort();
    assert_eq!(held("system/checkouts")?, both);

    // Nothing was ever made of one, and the other has its data.
    let register = |tenants: &[Registration]| -> Result<i32> {
        system.commit("Others", &[("tenants/registry.json", &registry(tenants))])?;
        Ok(scene.bitbuilder(&["sync", "--wait"])?.code)
    };
    assert_eq!(register(&[])?, 0);
    assert_eq!(held("")?, ["system", "web"]);
    scene.must("test -d /var/lib/tenants/web/data && rm -r /var/lib/tenants/web")?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    assert_eq!(held("")?, ["system"]);

    // Who comes back comes back from where he was.
    web.git("reset --quiet --hard HEAD~1 && git push --quiet --force origin HEAD:main")?;
    assert_eq!(register(&[Registration::new("web")])?, 3);
    assert_eq!(scene.expect_state("web", "refused")?["floor"], json!(second));
    web.git(&format!("reset --quiet --hard {second} && git push --quiet origin HEAD:main"))?;
    assert_eq!(scene.sync("web")?.code, 0);
    assert_eq!(scene.expect_state("web", "verified")?["verified"], json!(second));
    Ok(())
}
