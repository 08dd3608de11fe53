//! How often a repository is looked at is what the commit in effect says: a timer of PID 1, changed without a reload, back
//! after a boot, and not asked again at once because it was changed.

use anyhow::Result;
use integration_tests::{Registration, Scene, manifest, registry, service};
use serde_json::json;
use test_host::{Host, Output};

const RELOADS: &str = "journalctl --quiet --boot --output=cat _PID=1 | grep -c 'Reloading finished' || true";

/// Interval and jitter in effect.
fn timer(scene: &Scene, repository: &str) -> Result<[String; 2]> {
    let show = |property: &str, filter: &str| {
        scene.must(&format!("systemctl show -p {property} git-sync@{repository}.timer | sed -n '{filter}'"))
    };
    let interval = show("TimersMonotonic", "s/.*OnUnitInactiveUSec=\\([^;]*\\) ;.*/\\1/p")?;
    let jitter = show("RandomizedDelayUSec", "s/.*=//p")?;
    Ok([interval.trim().to_owned(), jitter.trim().to_owned()])
}

/// In how many seconds the next look follows.
fn left(scene: &Scene, repository: &str) -> Result<u64> {
    let next = scene.must(&format!(
        "next=$(systemctl list-timers --output=json git-sync@{repository}.timer | jq '.[0].next // 0'); echo $((next / 1000000 - $(date +%s)))"
    ))?;
    Ok(next.trim().parse()?)
}

/// How the command ended; what it said is shown if the test fails.
fn said(output: &Output) -> i32 {
    println!("{}{}", output.stdout, output.stderr);
    output.code
}

fn config(sync: &str) -> String {
    format!("version: \"1.0\"\nsync: {{ {sync} }}\n")
}

#[test]
fn a_commit_changes_how_often_and_a_refused_one_does_not() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    let web = scene.repository("web")?;
    let files = |sync: &str, command: &str| {
        [
            ("metadata.json", manifest("web", &["web.service"], &json!({}))),
            ("units/web.service", service(command)),
            (".gitops/config.yaml", config(sync)),
        ]
    };
    let push = |message: &str, sync: &str, command: &str| -> Result<i32> {
        let files = files(sync, command);
        web.commit(message, &files.each_ref().map(|(path, content)| (*path, content.as_str())))?;
        Ok(said(&scene.sync("web")?))
    };
    scene.repository("mail")?.commit("First", &[("metadata.json", &manifest("mail", &[], &json!({})))])?;
    let system = scene.follow(&[Registration::new("web"), Registration::new("mail")])?;
    let reloads = scene.must(RELOADS)?;

    assert_eq!(push("Every hour", "interval: 1h, jitter: 7s", "sleep infinity")?, 0);
    assert_eq!(timer(&scene, "web")?, ["1h", "7s"]);
    assert_eq!(scene.sync("mail")?.code, 0);
    assert_eq!(timer(&scene, "mail")?, ["30s", "10s"], "what is not said is as it was");
    assert_eq!(push("Every two hours", "interval: 2h, jitter: 0s", "sleep infinity")?, 0);
    assert_eq!(timer(&scene, "web")?, ["2h", "0"]);
    // The repository was looked at a moment ago.
    assert!((7100..7300).contains(&left(&scene, "web")?), "{}", left(&scene, "web")?);

    // A commit that is refused, and one that does not hold, change nothing.
    assert_eq!(push("Too often", "interval: 1s", "sleep infinity")?, 3);
    assert_eq!(timer(&scene, "web")?, ["2h", "0"]);
    assert_eq!(push("Does not hold", "interval: 3h", "false")?, 4);
    assert_eq!(timer(&scene, "web")?, ["2h", "0"]);
    assert_eq!(push("Holds again", "interval: 1h 30min", "sleep infinity")?, 0);
    assert_eq!(timer(&scene, "web")?, ["1h 30min", "10s"]);

    let follow = |message: &str, sync: &str, tenants: &[Registration]| -> Result<i32> {
        system.commit(
            message,
            &[(".gitops/config.yaml", &config(sync)), ("tenants/registry.json", &registry(tenants))],
        )?;
        Ok(said(&scene.sync("system")?))
    };
    let both = [Registration::new("web"), Registration::new("mail")];
    assert_eq!(follow("Every day", "interval: 1d, jitter: 1min", &both)?, 0);
    assert_eq!(timer(&scene, "system")?, ["1d", "1min"]);
    assert_eq!(follow("Refused", "interval: 1d, jitter: 2d", &both)?, 3);
    assert_eq!(timer(&scene, "system")?, ["1d", "1min"]);
    assert_eq!(scene.must(RELOADS)?, reloads, "PID 1 was reloaded");
    assert_eq!(scene.must("systemctl show -p NeedDaemonReload --value 'git-sync@*.timer' | grep . | sort -u")?, "no\n");

    // What somebody changed by hand, or a kill left, is mended by the next look at the registry.
    scene.must(
        "systemctl stop git-sync@mail.timer
         systemctl kill --signal=KILL tenant-manager.service
         rm -r /run/systemd/system/git-sync@web.timer.d
         mkdir /run/systemd/system/git-sync@gone.timer.d && touch /run/systemd/system/git-sync@gone.timer.d/50-bitbuilder.conf",
    )?;
    assert_eq!(follow("All is well", "interval: 1d, jitter: 1min", &both)?, 0);
    assert_eq!(timer(&scene, "web")?, ["1h 30min", "10s"]);
    scene.must("systemctl is-active git-sync@mail.timer && test ! -e /run/systemd/system/git-sync@gone.timer.d")?;

    // A boot forgets what is in /run.
    scene.host.reboot()?;
    scene.must("until systemctl is-active --quiet git-sync@web.timer git-sync@mail.timer git-sync@system.timer; do read -t 0.1 < /dev/zero || :; done")?;
    assert_eq!(
        (timer(&scene, "web")?, timer(&scene, "system")?),
        (["1h 30min", "10s"].map(str::to_owned), ["1d", "1min"].map(str::to_owned))
    );
    assert_eq!(scene.must(RELOADS)?, "0\n", "PID 1 was reloaded");

    assert_eq!(said(&scene.bitbuilder(&["sync", "--wait"])?), 0);
    assert_eq!(follow("One leaves", "interval: 1d", &both[..1])?, 0);
    scene.must("! systemctl is-active --quiet git-sync@mail.timer && systemctl is-active git-sync@web.timer")?;
    assert_eq!(timer(&scene, "system")?, ["1d", "10s"]);
    // What the boot made serves web still; only what changed since is beside it.
    assert_eq!(timer(&scene, "web")?, ["1h 30min", "10s"]);
    assert_eq!(
        scene.must("cd /run/systemd && ls -d system/git-sync@*.timer.d generator/git-sync@web.timer.d")?,
        "generator/git-sync@web.timer.d\nsystem/git-sync@system.timer.d\n"
    );
    Ok(())
}

#[test]
fn a_repository_is_looked_at_as_often_as_it_says_and_no_more() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    let web = scene.repository("web")?;
    let often = [
        ("metadata.json", manifest("web", &[], &json!({}))),
        (".gitops/config.yaml", config("interval: 10s, jitter: 0s")),
    ];
    web.commit("Often", &often.each_ref().map(|(path, content)| (*path, content.as_str())))?;
    scene.follow(&[Registration::new("web")])?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    let looks = "journalctl --quiet --boot --output=cat -u git-sync@web.service | grep -c 'asked to sync' || true";
    assert_eq!(scene.must(looks)?, "0\n", "a timer that was started anew asked at once");
    let second = web.commit("Second", &[("word", "second\n")])?;
    scene.await_status(&format!("\"verified\":\"{second}\""))?;
    assert_eq!(scene.must(looks)?, "1\n");
    Ok(())
}
