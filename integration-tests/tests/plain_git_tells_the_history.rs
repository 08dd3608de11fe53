//! What became of commits, by `bitbuilder history` and by plain Git in the mirror.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use anyhow::Result;
use integration_tests::{Registration, Scene, manifest, service};
use serde_json::json;
use test_host::Host;

/// Waits until the note on a commit ends in `last`. Nothing tells when Git's own files change.
fn note(scene: &Scene, repository: &str, commit: &str, last: &str) -> Result<String> {
    let show = format!("git -C /var/lib/bitbuilder/git/{repository}/mirror.git notes --ref=bitbuilder show {commit}");
    scene.must(&format!(
        "timeout 20 sh -c 'until {show} 2>/dev/null | grep -v \"^ \" | tail -n 1 | grep -q \" {last}$\"; do sleep 0.1; done' && {show}"
    ))
}

#[test]
fn applied_refused_and_taken_back() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    let web = scene.repository("web")?;
    let metadata = manifest("web", &["a.service"], &json!({}));
    let good = web.commit("Good", &[("metadata.json", &metadata), ("units/a.service", &service("sleep infinity"))])?;
    let system = scene.follow(&[Registration::new("web")])?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    let told = note(&scene, "web", &good, "verified")?;
    let kinds: Vec<&str> = told.lines().filter(|line| !line.starts_with(' ')).map(|line| &line[28..]).collect();
    assert_eq!(kinds, ["admitted", "planned", "verified"], "{told}");
    assert!(told.contains("    hot"), "the steps are not told: {told}");

    let bad = web.commit("Fails", &[("units/a.service", &service("/bin/false"))])?;
    assert_eq!(scene.sync("web")?.code, 4);
    let told = note(&scene, "web", &bad, "failed")?;
    assert!(told.contains("    a.service failed"), "{told}");
    let refused = web.commit("Refused", &[("metadata.json", "{}")])?;
    assert_eq!(scene.sync("web")?.code, 3);
    let told = note(&scene, "web", &refused, "refused")?;
    assert!(told.contains("web:metadata.json"), "{told}");
    note(&scene, "web", &good, "rolled back")?;

    let mirror = "git -C /var/lib/bitbuilder/git/web/mirror.git";
    let named =
        scene.must(&format!("{mirror} for-each-ref --format='%(refname:lstrip=2) %(objectname)' refs/bitbuilder/"))?;
    assert_eq!(named, format!("target {good}\nverified {good}\nwanted {refused}\n"));
    let log = scene.must(&format!("{mirror} log --notes=bitbuilder refs/bitbuilder/wanted"))?;
    assert!(log.contains("Notes (bitbuilder):") && log.contains("rolled back"), "{log}");

    // The registry's own commits.
    let wrong = system.commit("Wrong", &[("tenants/registry.json", "[]")])?;
    assert_eq!(scene.bitbuilder(&["sync", "system", "--wait"])?.code, 3);
    note(&scene, "system", &wrong, "refused")?;
    let history = scene.must("bitbuilder history system")?;
    assert!(history.contains("verified") && history.contains(&format!("refused      {}", &wrong[..12])), "{history}");

    // Notes are an addition: the mirror is whole, and one that is lost is made anew with the next event.
    scene.must(&format!("{mirror} fsck --strict && rm -r /var/lib/bitbuilder/git/web"))?;
    web.git("revert --no-edit HEAD HEAD~1 && git push --quiet origin HEAD:main")?;
    assert_eq!(scene.sync("web")?.code, 3, "the registry is still refused");
    scene.expect_state("web", "verified")?;
    let last = web.git("rev-parse HEAD")?;
    note(&scene, "web", last.trim(), "verified")?;
    note(&scene, "web", &bad, "failed")?;

    // What could not be written is written later, however much it is, also if the process that saw it is gone.
    let git_sync = "bitbuilder-git-sync.socket bitbuilder-git-sync.service";
    scene.must(&format!(
        "systemctl stop {git_sync}
         for count in $(seq 40); do bitbuilder suspend web && bitbuilder resume web; done >/dev/null
         systemctl kill --signal=KILL bitbuilder-orchestrator.service
         systemctl start bitbuilder-git-sync.socket"
    ))?;
    // It comes in several parts.
    let show = format!("{mirror} notes --ref=bitbuilder show {}", last.trim());
    scene.must(&format!("timeout 60 sh -c 'until test $({show} | grep -c \" resumed$\") = 40; do sleep 0.1; done'"))?;
    let told = scene.must(&show)?;
    assert_eq!(told.lines().filter(|line| line.ends_with(" suspended")).count(), 40, "{told}");
    Ok(())
}
