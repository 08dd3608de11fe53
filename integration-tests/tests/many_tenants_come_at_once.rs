//! Many tenants are new at once: each comes, in the order in which they depend on each other and as many at a time as the host has
//! room for, and those that cannot come hold up only those that depend on them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use anyhow::{Result, ensure};
use integration_tests::{Registration, Scene, manifest, registry, service};
use serde_json::{Value, json};
use test_host::Host;

/// Each has six of the inotify instances that this machine's root may have, which all hosts on it share.
const PLAIN: usize = 6;

fn commit(scene: &Scene, name: &str, command: Option<&str>, depends_on: &[&str]) -> Result<()> {
    let unit = format!("{name}.service");
    let services: &[&str] = if command.is_some() { &[&unit] } else { &[] };
    let metadata = manifest(name, services, &json!({ "dependsOn": depends_on }));
    let shipped = service(command.unwrap_or_default());
    let path = format!("units/{unit}");
    let mut files = vec![("metadata.json", metadata.as_str())];
    files.extend(command.map(|_| (path.as_str(), shipped.as_str())));
    scene.repository(name)?.commit("First", &files).map(drop)
}

fn moment(scene: &Scene, tenant: &str, property: &str) -> Result<u64> {
    let shown = scene.must(&format!("systemctl show -p {property} --value bitbuilder-container@{tenant}.service"))?;
    Ok(shown.trim().parse()?)
}

fn unconverged(status: &Value) -> &str {
    status["unconverged"].as_str().unwrap_or_default()
}

#[test]
fn in_order_and_without_holding_each_other_up() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    let plain: Vec<String> = (0..PLAIN).map(|number| format!("plain{number}")).collect();
    for name in &plain {
        commit(&scene, name, None, &[])?;
    }
    // Named so that no order of names is the right one.
    commit(&scene, "a-page", None, &["m-database", "z-cache"])?;
    commit(&scene, "m-database", Some("sleep infinity"), &["z-cache"])?;
    commit(&scene, "z-cache", None, &[])?;
    // One that ends at once, one whose repository is empty, and who depends on them.
    commit(&scene, "broken", Some("/bin/false"), &[])?;
    commit(&scene, "on-broken", None, &["broken"])?;
    commit(&scene, "on-both", None, &["plain0", "on-broken"])?;
    scene.repository("empty")?;
    commit(&scene, "on-empty", None, &["empty"])?;
    let others = ["a-page", "m-database", "z-cache", "broken", "on-broken", "on-both", "empty", "on-empty"];
    let all = plain.iter().map(String::as_str).chain(others);
    let registrations: Vec<Registration> = all.map(Registration::new).collect();
    scene.follow(&registrations)?;
    assert_ne!(scene.bitbuilder(&["sync", "--wait"])?.code, 0, "some cannot come");

    for name in plain.iter().map(String::as_str).chain(["a-page", "m-database", "z-cache"]) {
        scene.expect_state(name, "verified")?;
    }
    let ready = |tenant: &str| moment(&scene, tenant, "ActiveEnterTimestampMonotonic");
    let begun = |tenant: &str| moment(&scene, tenant, "InactiveExitTimestampMonotonic");
    assert!(ready("z-cache")? < begun("m-database")?);
    assert!(ready("m-database")? < begun("a-page")?);
    let last = plain.iter().map(|name| ready(name)).collect::<Result<Vec<_>>>()?.into_iter().max().unwrap();
    println!("the last of {PLAIN} was ready {} ms after the first of them began", (last - begun("plain0")?) / 1000);

    scene.expect_state("broken", "failed")?;
    for (name, why) in [
        ("on-broken", "it waits for broken, which did not hold"),
        ("on-both", "it waits for on-broken, which waits for another"),
        ("on-empty", "it waits for empty, which cannot be fetched"),
    ] {
        let status = scene.status(name)?;
        assert_eq!(unconverged(&status), why, "{status}");
        assert_eq!(begun(name)?, 0, "{name} was started");
    }

    // Who waited begins where the others hold, without being asked.
    scene.open("broken").commit("Mended", &[("units/broken.service", &service("sleep infinity"))])?;
    assert_eq!(scene.sync("broken")?.code, 0);
    commit_first(&scene, "empty")?;
    assert_eq!(scene.sync("empty")?.code, 0);
    for name in ["on-broken", "on-both", "on-empty"] {
        scene.await_status(&format!("\"tenant\":\"{name}\",\"state\":\"verified\""))?;
    }
    assert!(ready("broken")? < begun("on-broken")? && ready("on-broken")? < begun("on-both")?);

    // What runs is not stopped because another is.
    let before = ready("a-page")?;
    let off = json!({ "tenant": { "name": "z-cache", "type": "container", "enabled": false } });
    scene.open("z-cache").commit("Off", &[("metadata.json", &manifest("z-cache", &[], &off))])?;
    assert_eq!(scene.sync("z-cache")?.code, 0);
    scene.expect_state("z-cache", "stopped")?;
    scene.expect_state("a-page", "verified")?;
    assert_eq!(ready("a-page")?, before);
    Ok(())
}

fn commit_first(scene: &Scene, name: &str) -> Result<()> {
    scene.open(name).commit("First", &[("metadata.json", &manifest(name, &[], &json!({})))]).map(drop)
}

/// The first process of a tenant that is as small as one can be: it says that it is ready, and ends when it is told to.
const SMALL: &str = "#!/bin/sh\nexec systemd-notify --no-block --exec --ready \\; /usr/lib/small\n";
const SMALL_GOES_ON: &str = "#!/bin/bash\ntrap 'exit 0' RTMIN+3\nsleep infinity & wait\n";
const FIFTY: usize = 50;

/// Whom a tenant needs: the first ten are a chain, and those from 10 to 29 are a tree above its end.
fn needs(number: usize) -> Vec<usize> {
    match number {
        1..=9 => vec![number - 1],
        10..=29 => vec![(number - 10) / 2 + 9],
        // Who needs one that fails, and who needs that one.
        46..=48 => vec![45],
        49 => vec![48, 29],
        _ => Vec::new(),
    }
}

#[test]
fn fifty_within_what_the_host_has_room_for() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    let name = |number: usize| format!("t{number}");
    for (image, init) in [("small", SMALL), ("dead", "#!/bin/sh\nexit 1\n")] {
        scene.must(&format!("btrfs --quiet subvolume snapshot /var/lib/machines/debian /var/lib/machines/{image}"))?;
        let first = format!("/var/lib/machines/{image}/usr/lib/systemd/systemd");
        scene.host.write(&first, init)?;
    }
    scene.host.write("/var/lib/machines/small/usr/lib/small", SMALL_GOES_ON)?;
    scene.must("chmod +x /var/lib/machines/small/usr/lib/small")?;
    let mut script = "set -e; commit() { git init --quiet --bare --initial-branch=main /srv/git/$1; git init --quiet --initial-branch=main /srv/trees/$1
        cd /srv/trees/$1; cat >metadata.json; git add --all; git -c user.name=T -c user.email=t@example.org commit --quiet --message=First
        git push --quiet /srv/git/$1 main; }\n".to_owned();
    for number in 0..FIFTY {
        let depends_on: Vec<String> = needs(number).into_iter().map(name).collect();
        let image = if number == 45 { "dead" } else { "small" };
        let metadata = manifest(&name(number), &[], &json!({ "image": image, "dependsOn": depends_on }));
        script.push_str(&format!("commit {} <<'END'\n{metadata}END\n", name(number)));
    }
    scene.host.write("/run/fifty", script)?;
    scene.must("bash /run/fifty")?;
    let system = scene.follow(&[])?;
    let tenants: Vec<Registration> = (0..FIFTY).map(|number| Registration::new(&name(number))).collect();
    system.commit("Fifty", &[("tenants/registry.json", &registry(&tenants))])?;
    let begun = std::time::Instant::now();
    assert_ne!(scene.bitbuilder(&["sync", "--wait"])?.code, 0, "one cannot come");
    println!("{FIFTY} tenants took {} ms", begun.elapsed().as_millis());

    let mut starts = Vec::new();
    for number in (0..FIFTY).filter(|number| !(45..FIFTY).contains(number)) {
        scene.expect_state(&name(number), "verified")?;
        let [start, ready] = ["InactiveExitTimestampMonotonic", "ActiveEnterTimestampMonotonic"]
            .map(|property| moment(&scene, &name(number), property));
        starts.push((start?, ready?));
    }
    for (number, (start, _)) in starts.iter().enumerate() {
        for needed in needs(number) {
            ensure!(starts[needed].1 < *start, "t{number} began before t{needed} was ready");
        }
    }
    // As many starts at a time as there are places at the moment when one begins.
    let at_once = |moment: u64| starts.iter().filter(|(start, ready)| (*start..*ready).contains(&moment)).count();
    let most = starts.iter().map(|(start, _)| at_once(*start)).max().unwrap_or(0);
    let room: usize = scene.must("echo $(( $(nproc) * 4 )) $(( $(awk '/MemTotal/ {print $2}' /proc/meminfo) / 262144 )) | tr ' ' '\\n' | sort -n | head -n 1")?.trim().parse()?;
    println!("at most {most} at a time, of {room} that may be");
    ensure!((2..=room).contains(&most), "{most} started at a time, and the host has room for {room}");

    scene.expect_state("t45", "failed")?;
    for (number, why) in
        [(46, "t45, which did not hold"), (47, "t45, which did not hold"), (49, "t48, which waits for another")]
    {
        let status = scene.status(&name(number))?;
        assert_eq!(unconverged(&status), format!("it waits for {why}"), "{status}");
        assert_eq!(moment(&scene, &name(number), "InactiveExitTimestampMonotonic")?, 0, "t{number} was started");
    }
    Ok(())
}
