//! A tenant that the registry does not name any more is stopped, can come back as it was for a while, and is archived or deleted
//! after that: nothing of it is left, and nothing of another is touched, whatever it is called.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use anyhow::{Context as _, Result};
use integration_tests::{Registration, Repository, Scene, manifest, registry};
use serde_json::json;
use std::time::Instant;
use test_host::Host;

const ORCHESTRATOR: &str = "bitbuilder-orchestrator.service";
const LEFT: &str = "nothing is left of it";

fn tenant<'a>(scene: &'a Scene, name: &str, retention: &str, port: u16) -> Result<Repository<'a>> {
    let repository = scene.repository(name)?;
    let forward = json!({ "network": { "forward": [{ "host": port, "tenant": 80 }] } });
    let config = format!("version: \"1.0\"\nretention: {retention}\n");
    repository
        .commit("First", &[("metadata.json", &manifest(name, &[], &forward)), (".gitops/config.yaml", &config)])?;
    Ok(repository)
}

fn register(scene: &Scene, names: &[&str]) -> Result<()> {
    let tenants: Vec<Registration> = names.iter().map(|name| Registration::new(name)).collect();
    scene.open("system").commit("Others", &[("tenants/registry.json", &registry(&tenants))])?;
    let synced = scene.bitbuilder(&["sync", "--wait"])?;
    assert_eq!(synced.code, 0, "{}{}", synced.stdout, synced.stderr);
    Ok(())
}

fn write(scene: &Scene, tenant: &str, word: &str) -> Result<()> {
    scene.must(&format!("systemd-run -M {tenant} --wait --quiet sh -c 'echo {word} >/srv/data/file'")).map(drop)
}

fn read(scene: &Scene, tenant: &str) -> Result<String> {
    scene.must(&format!(
        "systemd-run -M {tenant} --wait --pipe --quiet sh -c 'cat /srv/data/file; stat -c %u /srv/data/file'"
    ))
}

#[test]
fn it_comes_back_as_it_was_within_its_grace() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    tenant(&scene, "web", "{ grace: 1h }", 8080)?;
    scene.follow(&[Registration::new("web")])?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    write(&scene, "web", "kept")?;
    let before = scene.expect_state("web", "verified")?;
    let root = "btrfs subvolume show /var/lib/tenants/web/root | grep -e UUID -e Creation";
    let root_before = scene.must(root)?;
    let not_leaving = scene.bitbuilder(&["cancel", "web"])?;
    assert!(not_leaving.code == 1 && not_leaving.stderr.contains("does not leave"), "{}", not_leaving.stderr);

    register(&scene, &[])?;
    let status = scene.expect_state("web", "leaving")?;
    let since = status["leaving"]["sinceUSec"].as_u64().unwrap();
    assert_eq!(status["leaving"]["untilUSec"], json!(since + 3_600_000_000));
    assert!(!scene.host.sh("systemctl is-active --quiet bitbuilder-container@web.service")?.success());
    let shown = scene.must("bitbuilder status web")?;
    assert!(shown.contains("removed in 59 min") && shown.contains("bitbuilder cancel web"), "{shown}");
    assert!(scene.must("bitbuilder list")?.contains("web"));

    assert_eq!(scene.call("Orchestrator", "Keep", &json!({ "tenant": "web" }))?, json!({ "changed": true }));
    assert_eq!(scene.bitbuilder(&["cancel", "web"])?.code, 0);
    let kept = scene.status("web")?;
    assert_eq!((&kept["leaving"]["untilUSec"], &kept["leaving"]["kept"]), (&json!(null), &json!(true)));
    // Neither a boot nor a look ends that.
    scene.host.reboot()?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    assert_eq!(scene.expect_state("web", "leaving")?["leaving"]["kept"], json!(true));

    let begun = Instant::now();
    register(&scene, &["web"])?;
    println!("came back in {} ms, with the push and the look", begun.elapsed().as_millis());
    assert_eq!(scene.must(root)?, root_before, "its root was made anew");
    let after = scene.expect_state("web", "verified")?;
    assert_eq!((&after["address"], &after["verified"]), (&before["address"], &before["verified"]));
    assert_eq!((read(&scene, "web")?.as_str(), &after["leaving"]), ("kept\n0\n", &json!(null)));
    Ok(())
}

#[test]
fn who_depends_on_another_goes_before_it() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    // Named so that no order of names is the right one.
    for (name, port, depends_on) in [("b-store", 8080, ""), ("a-base", 8081, "b-store"), ("c-page", 8082, "a-base")] {
        let depends_on = if depends_on.is_empty() { json!([]) } else { json!([depends_on]) };
        let asks = manifest(name, &[], &json!({ "dependsOn": depends_on }));
        tenant(&scene, name, "{ grace: 1h }", port)?.commit("Depends", &[("metadata.json", &asks)])?;
    }
    scene.follow(&["a-base", "b-store", "c-page"].map(Registration::new))?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    register(&scene, &[])?;
    let stopped =
        "journalctl --boot --output=cat _PID=1 | sed -n 's/^Stopped bitbuilder-container@\\(.*\\).service .*/\\1/p'";
    assert_eq!(scene.must(stopped)?, "c-page\na-base\nb-store\n");
    Ok(())
}

#[test]
fn after_its_grace_nothing_is_left_but_an_archive() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    // Each is the beginning of another's name.
    for (name, port) in [("web", 8080), ("web-2", 8082), ("web2", 8083)] {
        tenant(&scene, name, "{ grace: 2s }", port)?;
    }
    let others = ["web-2", "web2"];
    scene.follow(&others.map(Registration::new))?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    others.iter().try_for_each(|name| write(&scene, name, name))?;
    let (never_had_it, show) = (scene.belongings(&others)?, "systemctl show -p MainPID 'bitbuilder-container@web*'");
    let running = scene.must(show)?;

    register(&scene, &["web", "web-2", "web2"])?;
    write(&scene, "web", "precious")?;
    let address = scene.status("web")?["address"].clone();
    register(&scene, &others)?;
    let status = scene.status("web")?;
    let path = status["leaving"]["archive"].as_str().unwrap().to_owned();
    scene.await_said(ORCHESTRATOR, LEFT, 1)?;
    assert_eq!(scene.bitbuilder(&["status", "web"])?.code, 1);
    scene.belongings(&others)?.expect(&never_had_it, "after it left")?;
    assert_eq!(scene.must(show)?, running, "another tenant was disturbed");
    for name in others {
        assert_eq!(read(&scene, name)?, format!("{name}\n0\n"));
    }
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    scene.belongings(&others)?.expect(&never_had_it, "after a second look")?;
    let history = scene.must("bitbuilder history web")?;
    assert!(history.contains("removed") && history.contains("archived"), "{history}");

    // One file with all that is needed, and what becomes of it.
    scene.must(&format!("cd /var/lib/bitbuilder/archive && sha256sum --check --quiet *.sha256 && test -f {path}"))?;
    let listed = scene.call("Storage", "ListArchives", &json!({ "tenant": "web" }))?;
    assert_eq!(listed["archives"].as_array().unwrap().len(), 1);
    assert_eq!(listed["archives"][0]["path"], json!(path));
    assert!(scene.must("bitbuilder archives web")?.contains(&path));
    assert_eq!(scene.must("bitbuilder archives web-2")?, "");
    scene.must(&format!("cp {path} {path}.sha256 /root/ && cd /root && printf x >>$(basename {path})"))?;
    let damaged = scene.must(&format!("bitbuilder import /root/$(basename {path}) --name shop 2>&1 || echo $?"))?;
    assert!(damaged.contains("checksum is another") && damaged.ends_with("1\n"), "{damaged}");
    scene.must(&format!("bitbuilder import {path} --name shop"))?;
    tenant(&scene, "shop", "{ grace: 0s, data: delete }", 8081)?;
    register(&scene, &["shop", "web-2", "web2"])?;
    assert_eq!(read(&scene, "shop")?, "precious\n0\n");
    assert_eq!(scene.status("shop")?["address"], address, "what was freed is given to the next");
    let again = scene.must(&format!("bitbuilder import {path} --name shop 2>&1 || echo $?"))?;
    assert!(again.contains("runs") && again.ends_with("1\n"), "over a running tenant: {again}");

    // By policy of its repository nothing is left at all.
    register(&scene, &others)?;
    scene.await_said(ORCHESTRATOR, LEFT, 2)?;
    scene.belongings(&others)?.expect(&never_had_it, "after the other left")?;
    assert_eq!(scene.must("bitbuilder archives shop")?, "");
    Ok(())
}

#[test]
fn somebody_asks_for_it_and_somebody_who_is_disabled_asks_for_it_himself() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    tenant(&scene, "web", "{ grace: 30d, data: keep }", 8080)?;
    let tmp = tenant(&scene, "tmp", "{ grace: 2s, data: archive }", 8081)?;
    scene.follow(&["web", "tmp"].map(Registration::new))?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    // A disabled one whose repository says what becomes of it.
    let off = json!({ "tenant": { "name": "tmp", "type": "container", "enabled": false } });
    write(&scene, "tmp", "precious")?;
    tmp.commit("Off", &[("metadata.json", &manifest("tmp", &[], &off))])?;
    assert_eq!(scene.sync("tmp")?.code, 0);
    assert!(scene.expect_state("tmp", "stopped")?["leaving"]["untilUSec"].as_u64().is_some());
    scene.await_said(ORCHESTRATOR, LEFT, 1)?;
    assert!(scene.expect_state("tmp", "stopped")?["leaving"].is_null());
    assert!(!scene.host.sh("test -e /var/lib/tenants/tmp")?.success());
    tmp.commit("On", &[("metadata.json", &manifest("tmp", &[], &json!({})))])?;
    assert_eq!(scene.sync("tmp")?.code, 0);
    assert_eq!(scene.expect_state("tmp", "verified")?["leaving"], json!(null));
    assert!(!scene.host.sh("test -e /var/lib/tenants/tmp/data/file")?.success());

    register(&scene, &["tmp"])?;
    let kept = scene.expect_state("web", "leaving")?;
    assert_eq!((&kept["leaving"]["untilUSec"], &kept["leaving"]["data"]), (&json!(null), &json!("keep")));
    let asked = scene.bitbuilder(&["remove", "web"])?;
    assert!(asked.code == 64 && asked.stderr.contains("--yes"), "{} {}", asked.code, asked.stderr);
    scene.expect_state("web", "leaving")?;
    assert_eq!(scene.bitbuilder(&["remove", "web", "--yes"])?.code, 0);
    scene.await_said(ORCHESTRATOR, LEFT, 2)?;
    assert!(
        scene.must("bitbuilder archives web")?.contains("/var/lib/bitbuilder/archive/web."),
        "what was kept is gone"
    );
    let absent = scene.bitbuilder(&["remove", "web", "--yes"])?;
    assert_eq!(absent.code, 1, "{}", absent.stdout);
    Ok(())
}

#[test]
fn a_tree_without_its_mark_is_not_removed() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    tenant(&scene, "web", "{ grace: 0s, data: delete }", 8080)?;
    scene.follow(&[Registration::new("web")])?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    // Somebody put another directory there.
    scene.must(
        "cd /var/lib/tenants && systemctl stop bitbuilder-container@web.service && mv web .aside && mkdir -p web/data",
    )?;
    let tenants = registry(&[]);
    scene.open("system").commit("None", &[("tenants/registry.json", &tenants)])?;
    scene.bitbuilder(&["sync", "--wait"])?;
    let status = scene.status("web")?;
    let said = status["unconverged"].as_str().unwrap_or_default();
    assert!(said.contains("mark") && scene.host.sh("test -d /var/lib/tenants/web/data")?.success(), "{status:#}");
    scene.must("cd /var/lib/tenants && rm -r web && mv .aside web")?;
    scene.await_said(ORCHESTRATOR, LEFT, 1)?;
    assert_eq!(scene.must("ls -A /var/lib/tenants")?, "");
    Ok(())
}

#[test]
fn kill_9_at_each_step_of_a_removal() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    let image = "/var/lib/bitbuilder/images/sysext/one.raw";
    scene.must(&format!(
        "cd $(mktemp -d) && mkdir -p usr/lib/extension-release.d && echo ID=_any >usr/lib/extension-release.d/extension-release.one
         mksquashfs . {image} -quiet -no-progress -all-root"
    ))?;
    let web = tenant(&scene, "web", "{ grace: 0s }", 8080)?;
    let more =
        json!({ "network": { "forward": [{ "host": 8080, "tenant": 80 }] }, "extensions": { "sysext": ["one"] } });
    web.commit("Layers", &[("metadata.json", &manifest("web", &[], &more))])?;
    tenant(&scene, "web-2", "{ grace: 1h }", 8082)?;
    scene.follow(&[Registration::new("web-2")])?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    let never_had_it = scene.belongings(&["web-2"])?;
    let storage = "bitbuilder-storage.service";
    let rounds = [
        ("tenant-manager.service", "step=.*tenant-manager stop"),
        ("bitbuilder-network.service", "step=.*remove network"),
        (storage, "step=.*archive its data"),
        ("bitbuilder-extension.service", "step=.*remove extensions"),
        (storage, "step=.*remove storage"),
        ("tenant-manager.service", "step=.*forget what ran"),
        ("bitbuilder-git-sync.service", LEFT),
        (ORCHESTRATOR, "step=.*archive its data"),
        (ORCHESTRATOR, "step=.*remove storage"),
        (ORCHESTRATOR, "step=.*forget what ran"),
        ("", "step=.*archive its data"),
        ("", "step=.*remove storage"),
    ];
    for (number, (unit, when)) in rounds.into_iter().enumerate() {
        let round = format!("round {number}: {unit} at {when}");
        register(&scene, &["web", "web-2"])?;
        write(&scene, "web", &format!("word-{number}"))?;
        scene.open("system").commit(&round, &[("tenants/registry.json", &registry(&[Registration::new("web-2")]))])?;
        scene.kill_when(unit, when, "bitbuilder sync --wait", "true")?;
        if unit.is_empty() {
            scene.host.power_loss()?;
        } else {
            scene.await_said(ORCHESTRATOR, LEFT, number + 1).context(round.clone())?;
        }
        assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0, "{round}");
        scene.belongings(&["web-2"])?.expect(&never_had_it, &round)?;
        // Each time its data was there when it went, once.
        let archives = scene
            .must("cd /var/lib/bitbuilder/archive && sha256sum --check --quiet *.sha256 && ls -A | grep -v sha256")?;
        assert_eq!(archives.lines().count(), number + 1, "{round}: {archives}");
        let last = archives.lines().last().unwrap();
        let word = scene.must(&format!("tar --zstd -xOf /var/lib/bitbuilder/archive/{last} data/file"))?;
        assert_eq!(word, format!("word-{number}\n"), "{round}");
    }
    Ok(())
}
