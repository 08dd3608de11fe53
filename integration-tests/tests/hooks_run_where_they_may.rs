//! The scripts of a tenant's repository run around its changes where they may and no longer than they may: before there is a
//! tenant in a sandbox, afterwards in the tenant. One that fails stops what it belongs to, and the commit goes back.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use anyhow::{Context, Result, ensure};
use integration_tests::{Registration, Repository, Scene, manifest, service};
use serde_json::json;
use std::time::{Duration, Instant};
use test_host::Host;

/// Says where it is: its uids on the host, links of its network, whose files and processes it sees, and what it may write.
const PROBE: &str = r#"#!/bin/sh
echo "uids $(tr -s ' ' < /proc/self/uid_map)"
echo "links $(tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' ' | tr '\n' ' ')"
echo "host $(ls -d /var/lib/bitbuilder /var/lib/tenants/* /srv/trees /srv/git /run/bitbuilder/io.* 2>/dev/null | wc -l)"
echo "processes $(ls -d /proc/[0-9]* | wc -l)"
echo "mounts $(mount -t tmpfs none /mnt 2>/dev/null && echo yes || echo no) $(unshare --user --map-root-user --mount mount -t tmpfs none /mnt 2>/dev/null && echo yes || echo no)"
echo "config $(touch /srv/config/x 2>/dev/null && echo written || echo read-only)"
echo "data $(test -d /srv/data && touch /srv/data/by-hook && echo written || echo none)"
touch /var/of-the-hook
"#;

/// Says what it is and does what it is told.
fn saying(more: &str) -> String {
    format!("#!/bin/sh\nname=${{0##*/}}\n{more}\n")
}

struct Web<'a> {
    scene: &'a Scene,
    repository: Repository<'a>,
}

impl<'a> Web<'a> {
    fn registered(scene: &'a Scene) -> Result<Self> {
        let repository = scene.repository("web")?;
        // The same files under another name: a root of it is a new one.
        scene.must("btrfs --quiet subvolume snapshot /var/lib/machines/debian /var/lib/machines/other")?;
        Ok(Self { scene, repository })
    }

    /// Pushes a commit with these hooks, each a line of the configuration and its script.
    fn push(&self, message: &str, image: &str, timeout: &str, hooks: &[(&str, &str)]) -> Result<String> {
        let mut config = format!("version: \"1.0\"\nverify: {{ healthy: 1s }}\nhooks:\n  timeout: {timeout}\n");
        for (hook, script) in hooks {
            self.scene.host.write(&format!("/srv/trees/web/scripts/{hook}"), script)?;
            config.push_str(&format!("  {hook}: scripts/{hook}\n"));
        }
        self.scene.must("cd /srv/trees/web && mkdir -p scripts && touch scripts/none && chmod +x scripts/*")?;
        let metadata = manifest("web", &["hello.service"], &json!({ "image": image }));
        let files = [
            ("metadata.json", metadata.as_str()),
            ("units/hello.service", &service("sleep infinity")),
            (".gitops/config.yaml", &config),
        ];
        self.repository.commit(message, &files)
    }

    fn said_by(&self, unit: &str) -> Result<String> {
        self.scene.must(&format!("journalctl --boot --no-pager -o cat -u '{unit}'"))
    }

    fn order(&self) -> Result<String> {
        self.scene.must("cat /var/lib/tenants/web/data/order")
    }
}

#[test]
fn each_runs_at_its_moment_and_sees_what_it_may() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    let web = Web::registered(&scene)?;
    let note = saying("echo $name >> /srv/data/order");
    let hooks = [
        ("pre-provision", PROBE),
        ("post-provision", note.as_str()),
        ("pre-start", &format!("{PROBE}\necho pre-start >> /srv/data/order\n")),
        ("post-start", &note),
        ("pre-stop", &note),
    ];
    web.push("First", "debian", "10s", &hooks)?;
    scene.follow(&[Registration::new("web")])?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    scene.expect_state("web", "verified")?;
    assert_eq!(web.order()?, "pre-start\npost-provision\npost-start\n");
    let data = [("bitbuilder-pre-provision@web.service", "none"), ("bitbuilder-pre-start@web.service", "written")];
    for (unit, data) in data {
        let said = web.said_by(unit)?;
        for line in [
            "uids  0 1073741824 65536",
            "links lo",
            "host 0",
            "mounts no no",
            "config read-only",
            &format!("data {data}"),
        ] {
            assert!(said.contains(line), "{unit} does not say {line:?}:\n{said}");
        }
        let processes =
            said.split("processes ").nth(1).and_then(|rest| rest.split_whitespace().next()).context(said.clone())?;
        assert!(processes.parse::<u32>()? < 10, "{said}");
    }
    // What the sandbox's root was given went with it.
    scene.must(
        "test ! -e /var/lib/machines/debian/var/of-the-hook && test ! -e /var/lib/tenants/web/root/var/of-the-hook",
    )?;
    assert_eq!(
        scene.must("stat -c %u /var/lib/tenants/web/data/by-hook")?.trim(),
        "0",
        "root of the tenant, as it is stored"
    );
    let logs = scene.must("bitbuilder logs web --lines 1000")?;
    assert!(logs.contains("pre-start: links lo") && logs.contains("pre-provision: links lo"), "{logs}");

    // At each start of the unit, whoever asks for it, and once for each root.
    scene.must("rm /var/lib/tenants/web/data/order && systemctl restart bitbuilder-container@web")?;
    assert_eq!(web.order()?, "pre-stop\npre-start\npost-start\n");
    scene.must("rm /var/lib/tenants/web/data/order && systemctl kill --signal=KILL bitbuilder-container@web")?;
    scene.must("timeout 60 sh -c 'until grep -q post-start /var/lib/tenants/web/data/order; do sleep 0.2; done'")?;
    assert_eq!(web.order()?, "pre-start\npost-start\n");
    scene.must("rm /var/lib/tenants/web/data/order")?;
    web.push("Another image", "other", "10s", &hooks)?;
    assert_eq!(scene.sync("web")?.code, 0);
    assert_eq!(web.order()?, "pre-stop\npre-start\npost-provision\npost-start\n");
    assert_eq!(web.said_by("bitbuilder-pre-provision@web.service")?.matches("links lo").count(), 2);
    Ok(())
}

#[test]
fn one_that_fails_takes_its_commit_back() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    let web = Web::registered(&scene)?;
    let good = web.push("First", "debian", "10s", &[])?;
    scene.follow(&[Registration::new("web")])?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    let fails = saying("echo nothing; echo one; echo two; echo no room here; exit 3");
    let fills = saying("exec cat /dev/zero > /var/fill");
    let fills_data = saying("exec cat /dev/zero > /srv/data/fill");
    let hangs = saying("echo waiting; exec sleep 4242");
    let bomb = saying("f() { f | f & }; f; exec sleep 4242");
    let cases = [
        ("pre-provision", &fails, "pre-provision scripts/pre-provision exited with 3: one / two / no room here"),
        ("pre-start", &fails, "pre-start scripts/pre-start exited with 3: one / two / no room here"),
        ("post-provision", &fails, "post-provision scripts/post-provision exited with 3: one / two / no room here"),
        ("post-start", &fails, "post-start scripts/post-start exited with 3: one / two / no room here"),
        ("pre-start", &fills, "No space left on device"),
        ("pre-start", &hangs, "pre-start scripts/pre-start took longer than 3s: waiting"),
        ("post-start", &hangs, "post-start scripts/post-start took longer than 3s: waiting"),
        ("pre-start", &bomb, "pre-start scripts/pre-start took longer than 3s"),
        ("pre-start", &fills_data, "No space left on device"),
    ];
    // Its data has little room, so that the host's disk is not what is filled.
    scene.must("mount -t tmpfs -o size=4M,mode=0755 tmpfs /var/lib/tenants/web/data")?;
    let started = "systemctl show bitbuilder-container@web -p ActiveEnterTimestampMonotonic --value";
    for (hook, script, reason) in cases {
        let before = scene.must(started)?;
        web.push("Bad", "other", "3s", &[(hook, script)])?;
        let begun = Instant::now();
        let synced = scene.sync("web")?;
        let status = scene.expect_state("web", "rolled_back")?;
        let said = status["reason"].as_str().unwrap_or_default();
        ensure!(said.contains(reason), "{hook}: {said}");
        assert_eq!((synced.code, status["verified"].as_str()), (4, Some(good.as_str())), "{hook}");
        assert!(begun.elapsed() < Duration::from_secs(45), "{hook}: {:?}", begun.elapsed());
        assert_eq!(scene.must("systemctl -M web is-active hello.service")?.trim(), "active", "{hook}");
        assert_eq!(
            hook == "pre-provision",
            before == scene.must(started)?,
            "{hook}: only what came first cost nothing"
        );
        let left = scene.must("pgrep -fc 'sleep [4]242|scripts/[p]' || true")?;
        assert_eq!(left.trim(), "0", "{hook}: {}", scene.must("ps -ef")?);
    }
    // What is full keeps nobody from what comes next.
    scene.must("test -s /var/lib/tenants/web/data/fill")?;
    let next = web.push("Good", "other", "10s", &[("pre-start", &saying("rm /srv/data/fill"))])?;
    assert_eq!(scene.sync("web")?.code, 0);
    assert_eq!(scene.expect_state("web", "verified")?["verified"].as_str(), Some(next.as_str()));
    Ok(())
}

#[test]
fn what_it_leaves_behind_ends_with_it() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    let web = Web::registered(&scene)?;
    let daemon = saying("setsid sleep 4242 > /dev/null 2>&1 < /dev/null & setsid sleep 4242 & echo left");
    web.push("First", "debian", "10s", &[("pre-provision", &daemon), ("pre-start", &daemon), ("post-start", &daemon)])?;
    scene.follow(&[Registration::new("web")])?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    scene.expect_state("web", "verified")?;
    let logs = scene.must("bitbuilder logs web --lines 1000")?;
    for hook in ["pre-provision", "pre-start", "post-start"] {
        assert!(logs.contains(&format!("{hook}: left")), "{logs}");
    }
    assert_eq!(scene.must("pgrep -fc 'sleep [4]242' || true")?.trim(), "0", "{}", scene.must("ps -ef")?);
    Ok(())
}

#[test]
fn a_script_that_cannot_be_run_is_refused_at_its_line() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    let web = Web::registered(&scene)?;
    let good = web.push("First", "debian", "10s", &[])?;
    scene.follow(&[Registration::new("web")])?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    let cases = [
        ("true", "the repository has no file scripts/x"),
        ("touch scripts/x", "may not be executed"),
        ("mkdir scripts/x && touch scripts/x/y", "is a directory"),
        ("ln -s none scripts/x", "is a symbolic link"),
    ];
    for (make, reason) in cases {
        let config = "version: \"1.0\"\nhooks:\n  pre-start: scripts/x\n";
        scene.must(&format!("cd /srv/trees/web && rm -rf scripts/x && {make}"))?;
        web.repository.commit("Bad", &[(".gitops/config.yaml", config)])?;
        let synced = scene.sync("web")?;
        let status = scene.expect_state("web", "refused")?;
        let told = format!("{}{}{status}", synced.stdout, synced.stderr);
        assert!(told.contains(reason) && told.contains(".gitops/config.yaml:3:"), "{make}: {told}");
        assert_eq!((synced.code, status["verified"].as_str()), (3, Some(good.as_str())), "{make}");
    }
    Ok(())
}

#[test]
fn nothing_keeps_a_tenant_from_being_stopped() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    let web = Web::registered(&scene)?;
    scene.must(
        "mkdir -p /etc/systemd/system/bitbuilder-container@.service.d \
         && printf '[Service]\\nTimeoutStopSec=6s\\n' > /etc/systemd/system/bitbuilder-container@.service.d/test.conf \
         && systemctl daemon-reload",
    )?;
    web.push("First", "debian", "8s", &[("pre-stop", &saying("echo stopping; exec sleep 4242"))])?;
    scene.follow(&[Registration::new("web")])?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    let begun = Instant::now();
    scene.must("systemctl stop bitbuilder-container@web")?;
    let took = begun.elapsed();
    // Longer than the unit has for each of its commands, because the hook says so.
    assert!(took >= Duration::from_secs(8) && took < Duration::from_secs(20), "{took:?}");
    let said = web.said_by("bitbuilder-container@web.service")?;
    assert!(
        said.contains("it is stopped all the same: pre-stop scripts/pre-stop took longer than 8s: stopping"),
        "{said}"
    );

    let stubborn =
        "[Service]\nExecStart=/bin/sh -c 'trap \"\" TERM; while :; do sleep 1; done'\nTimeoutStopSec=infinity\n";
    let metadata = |enabled: bool| {
        let tenant = json!({ "tenant": { "name": "web", "type": "container", "enabled": enabled } });
        manifest("web", &["hello.service"], &tenant)
    };
    let files = [("units/hello.service", stubborn), ("metadata.json", &metadata(true))];
    web.repository.commit("Stubborn", &[&files[..], &[(".gitops/config.yaml", "version: \"1.0\"\n")]].concat())?;
    assert_eq!(scene.sync("web")?.code, 0);
    assert_eq!(scene.must("systemctl -M web is-active hello.service")?.trim(), "active");
    web.repository.commit("Off", &[("metadata.json", &metadata(false))])?;
    let begun = Instant::now();
    assert_eq!(scene.sync("web")?.code, 0);
    assert!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());
    assert!(!scene.host.sh("systemctl is-active bitbuilder-container@web")?.success());
    let said = web.said_by("tenant-manager.service")?;
    assert!(said.contains("it did not end in time and was killed"), "{said}");
    Ok(())
}

#[test]
fn a_kill_in_the_middle_of_one_costs_nothing() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    let web = Web::registered(&scene)?;
    let slow = saying("echo begun; sleep 4; echo done");
    web.push("First", "debian", "20s", &[("pre-provision", &slow), ("pre-start", &slow), ("post-start", &slow)])?;
    scene.follow(&[Registration::new("web")])?;
    for (unit, hook) in [
        ("bitbuilder-pre-provision@web", "pre-provision"),
        ("bitbuilder-pre-start@web", "pre-start"),
        ("bitbuilder-container@web", "post-start"),
    ] {
        scene.must("systemd-run --collect --quiet bitbuilder sync")?;
        scene.await_said(&format!("{unit}.service"), &format!("{hook}: begun"), 1)?;
        scene.must("systemctl kill --kill-whom=main --signal=KILL tenant-manager.service")?;
    }
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    scene.expect_state("web", "verified")?;
    for unit in ["bitbuilder-pre-provision@web", "bitbuilder-pre-start@web"] {
        let state = scene.host.sh(&format!("systemctl is-active {unit}"))?;
        assert_eq!(state.stdout.trim(), "inactive", "{unit}");
    }
    Ok(())
}

#[test]
fn a_sandbox_that_the_host_cannot_make_is_no_fault_of_the_commit() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    let web = Web::registered(&scene)?;
    web.push("First", "debian", "10s", &[])?;
    scene.follow(&[Registration::new("web")])?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    let directory = "/run/systemd/system/bitbuilder-pre-provision@.service.d";
    scene.must(&format!(
        "mkdir -p {directory} && printf '[Service]\\nRestrictNamespaces=mnt\\n' > {directory}/test.conf && systemctl daemon-reload"
    ))?;
    let commit = web.push("Asks", "other", "10s", &[("pre-provision", &saying("echo asked"))])?;
    assert_eq!(scene.sync("web")?.code, 1);
    let status = scene.status("web")?;
    assert!(status["reason"].as_str().is_none_or(|reason| !reason.contains("scripts/")), "{status:#}");
    assert_eq!(status["wanted"].as_str(), Some(commit.as_str()), "{status:#}");
    let said = web.said_by("bitbuilder-pre-provision@web.service")?;
    assert!(said.contains("cannot make the sandbox"), "{said}");
    scene.must(&format!("rm -r {directory} && systemctl daemon-reload"))?;
    assert_eq!(scene.sync("web")?.code, 0);
    assert_eq!(scene.expect_state("web", "verified")?["verified"].as_str(), Some(commit.as_str()));
    Ok(())
}
