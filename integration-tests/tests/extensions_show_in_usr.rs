//! A system extension shows in the tenant's /usr, owned by the tenant's root, and one that does not fit is refused.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use anyhow::Result;
use integration_tests::{Registration, Scene, manifest};
use serde_json::json;
use test_host::Host;

fn image(scene: &Scene, name: &str, release: &str, make: &str) -> Result<()> {
    scene.must(&format!(
        "cd $(mktemp -d) && mkdir -p usr/bin usr/lib/extension-release.d && printf '#!/bin/sh\\necho {name}\\n' > usr/bin/{name} && chmod 755 usr/bin/{name}
         printf '{release}' > usr/lib/extension-release.d/extension-release.{name}
         {make}"
    ))?;
    Ok(())
}

#[test]
fn squashfs_and_erofs_are_layered_and_shared() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    let at = "/var/lib/bitbuilder/images/sysext";
    image(&scene, "one", "ID=_any\\n", &format!("mksquashfs . {at}/one.raw -quiet -no-progress -all-root"))?;
    image(&scene, "two", "ID=fedora\\nVERSION_ID=44\\n", &format!("mkfs.erofs --quiet --all-root {at}/two.raw ."))?;
    image(&scene, "three", "ID=_any\\n", &format!("mkfs.erofs --quiet --all-root {at}/three.raw ."))?;
    scene.must(&format!("head -c 1M /dev/urandom > {at}/noise.raw"))?;
    let with = |name: &str, sysext: &[&str]| manifest(name, &[], &json!({ "extensions": { "sysext": sysext } }));
    let web = scene.repository("web")?;
    web.commit("First", &[("metadata.json", &with("web", &["one", "three"]))])?;
    scene.repository("mail")?.commit("First", &[("metadata.json", &with("mail", &["one"]))])?;
    scene.follow(&[Registration::new("web"), Registration::new("mail")])?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    let inside = |tenant: &str, command: &str| {
        scene.host.sh(&format!("systemd-run -M {tenant} --wait --pipe --quiet {command}"))
    };
    assert_eq!(scene.must("systemctl -M web is-system-running --wait || systemctl -M web --failed")?.trim(), "running");
    assert_eq!(inside("web", "one")?.stdout, "one\n");
    assert_eq!(inside("web", "three")?.stdout, "three\n");
    assert_eq!(inside("web", "stat -c %u /usr/bin/one /usr/bin/env")?.stdout, "0\n0\n");
    assert!(!inside("web", "touch /usr/bin/x")?.success());
    assert_eq!(inside("mail", "one")?.stdout, "one\n");
    assert!(!inside("mail", "three")?.success(), "mail has an extension that it did not ask for");
    assert_eq!(
        scene.must("findmnt -rn -o TARGET | grep -c /run/bitbuilder/extensions/one")?.trim(),
        "1",
        "mounted once"
    );

    for (name, reason) in [("two", "two was made for"), ("noise", "noise cannot be used")] {
        web.commit(name, &[("metadata.json", &with("web", &["one", name]))])?;
        assert_eq!(scene.sync("web")?.code, 4, "{name}");
        assert!(
            scene.status("web")?["reason"].as_str().unwrap().contains(reason),
            "{}",
            scene.status("web")?["reason"]
        );
        assert_eq!(inside("web", "three")?.stdout, "three\n", "after {name}");
    }
    web.commit("None", &[("metadata.json", &with("web", &[]))])?;
    assert_eq!(scene.sync("web")?.code, 0);
    assert!(!inside("web", "one")?.success());
    assert_eq!(inside("mail", "one")?.stdout, "one\n");
    assert_eq!(
        scene.must("findmnt -rn -o TARGET | grep -c /run/bitbuilder/extensions/three || true")?.trim(),
        "0",
        "an image that nobody uses stays mounted"
    );
    Ok(())
}

/// With extensions, the host mounts the tenant's own /usr below them. A tenant that puts a link there must not get what the
/// link leads to on the host.
#[test]
fn a_link_in_place_of_usr_shows_nothing_of_the_host() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    let at = "/var/lib/bitbuilder/images/sysext";
    image(&scene, "one", "ID=_any\\n", &format!("mksquashfs . {at}/one.raw -quiet -no-progress -all-root"))?;
    let web = scene.repository("web")?;
    let first = web.commit("First", &[("metadata.json", &manifest("web", &[], &json!({})))])?;
    scene.follow(&[Registration::new("web")])?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    scene.must("mv /var/lib/tenants/web/root/usr /var/lib/tenants/web/root/usr.real && ln -s /etc /var/lib/tenants/web/root/usr")?;
    scene.must("cp /usr/lib/os-release /tmp/release && rm -f /var/lib/tenants/web/root/etc/os-release && cp /tmp/release /var/lib/tenants/web/root/etc/os-release")?;
    web.commit("Layers", &[("metadata.json", &manifest("web", &[], &json!({ "extensions": { "sysext": ["one"] } })))])?;
    scene.sync("web")?;
    let status = scene.status("web")?;
    let reason = status["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("is not a directory in the tenant's own root"), "{status:#}");
    assert_eq!(status["verified"], json!(first));
    assert!(!scene.must("machinectl list --no-legend")?.contains("web"), "something runs on the host's /etc");
    Ok(())
}
