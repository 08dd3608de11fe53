//! A tenant that is activated on demand runs while somebody is connected to its ports, and costs no process otherwise.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use anyhow::Result;
use integration_tests::{Registration, Scene, manifest, service};
use serde_json::{Value, json};
use test_host::Host;

/// Two services on two ports: one answers with a page and who asked, one says back what it hears for as long as it hears something.
const PAGE: &str = "busybox httpd -f -p 80 -h /srv/config";
const ECHO: &str = "busybox nc -ll -p 7 -e cat";
const CURL: &str = "curl --silent --max-time 20 http://127.0.0.1:8080/page";
const UNITS: &str = "systemctl list-units --plain --no-legend 'bitbuilder-container@web.service' 'bitbuilder-wake@web.*' | awk '{print $1, $3}'";
const ASLEEP: &str = "bitbuilder-wake@web.socket active\n";

fn asks(more: &Value) -> Value {
    let mut asked = json!({
        "tenant": { "name": "web", "type": "container", "activation": "on-demand", "sleepAfter": "1s" },
        "network": { "forward": [{ "host": 8080, "tenant": 80 }, { "host": 8007, "tenant": 7 }] }
    });
    asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    asked
}

fn scene(more: &Value) -> Result<Scene> {
    let scene = Scene::boot(Host::builder(""))?;
    scene.repository("web")?.commit(
        "First",
        &[
            ("metadata.json", &manifest("web", &["page.service", "echo.service"], &asks(more))),
            (".gitops/config.yaml", "version: \"1.0\"\nverify: { healthy: 1s }\n"),
            ("units/page.service", &service(PAGE)),
            ("units/echo.service", &service(ECHO)),
            ("page", "here\n"),
        ],
    )?;
    scene.follow(&[Registration::new("web")])?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0, "{}", scene.status("web")?);
    scene.expect_state("web", "verified")?;
    Ok(scene)
}

/// Waits until the tenant has gone to sleep for the `times`th time since the boot.
fn await_sleep(scene: &Scene, times: usize) -> Result<()> {
    scene.await_said("bitbuilder-container@web.service", "Deactivated successfully", times)?;
    assert_eq!(scene.must(UNITS)?, ASLEEP);
    Ok(())
}

#[test]
fn the_first_connection_wakes_it_and_the_last_lets_it_sleep() -> Result<()> {
    // Each start counts, and only those that fail may come to an end.
    let scene = scene(&json!({}))?;
    let few = "[Unit]\nStartLimitBurst=2\n";
    scene.host.write("/etc/systemd/system/bitbuilder-container@.service.d/few.conf", few)?;
    scene.must("systemctl daemon-reload")?;
    // It was awake to be verified, and nobody was connected.
    await_sleep(&scene, 1)?;
    assert_eq!(
        scene.must("ls /sys/fs/cgroup/bitbuilder.slice/bitbuilder-tenants.slice 2>/dev/null | grep web || true")?,
        ""
    );
    assert_eq!(scene.must("machinectl list --no-legend; ps -eo comm= | grep -x wake || true")?, "");
    let status = scene.expect_state("web", "verified")?;
    assert_eq!(status["sleepAfter"], json!("6s"), "{status:#}");
    assert!(scene.must("bitbuilder status web")?.contains("asleep"));
    assert!(scene.must("bitbuilder status")?.contains("asleep"));
    // A look at it lets it sleep.
    let generation = status["generation"].clone();
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    assert_eq!((scene.status("web")?["generation"].clone(), scene.must(UNITS)?.as_str()), (generation, ASLEEP));

    assert_eq!(scene.must(CURL)?, "here\n");
    assert!(scene.must("bitbuilder status web")?.contains("awake"));
    // As long as somebody is connected it does not sleep, whatever is said.
    scene.must(
        "mkfifo /run/words; systemd-run --quiet --unit=talks --service-type=exec \
         sh -c 'socat - TCP:127.0.0.1:8007 </run/words >/run/heard'; exec 3>/run/words; echo one >&3; sleep 9; echo two >&3; \
         until grep --quiet two /run/heard; do read -t 0.05 </dev/zero || :; done",
    )?;
    assert_eq!(
        scene.must("cat /run/heard; systemctl is-active bitbuilder-container@web.service")?,
        "one\ntwo\nactive\n"
    );
    await_sleep(&scene, 2)?;
    // Many at once wake it once.
    let all = scene.must(&format!("for i in $(seq 50); do {CURL} & done | sort | uniq -c; wait"))?;
    assert_eq!(all.trim(), "50 here");
    let starts = "journalctl --boot --output=cat --unit=bitbuilder-container@web.service | grep -c 'Started bitbuilder-container@web'";
    assert_eq!(scene.must(starts)?, "3\n");
    Ok(())
}

#[test]
fn what_is_pushed_wakes_it_and_boots_let_it_sleep() -> Result<()> {
    let scene = scene(&json!({}))?;
    await_sleep(&scene, 1)?;
    // A commit is seen to hold, and goes back if it does not.
    let reloads = "journalctl -b --no-pager -o cat _PID=1 | grep -c 'Reloading finished' || true";
    let before = scene.must(reloads)?;
    let web = scene.open("web");
    let held = web.commit("Page", &[("page", "there\n")])?;
    assert_eq!(scene.sync("web")?.code, 0);
    assert_eq!(scene.expect_state("web", "verified")?["verified"], json!(held));
    assert_eq!(scene.must(CURL)?, "there\n");
    await_sleep(&scene, 2)?;
    web.commit("Broken", &[("units/page.service", &service("/bin/false"))])?;
    assert_eq!(scene.sync("web")?.code, 4);
    assert_eq!(scene.must(CURL)?, "there\n");

    // Other ports, while it runs; and none of the former wakes it.
    let forward = json!({ "network": { "forward": [{ "host": 8081, "tenant": 80 }] } });
    let metadata = manifest("web", &["page.service", "echo.service"], &asks(&forward));
    web.commit("Ports", &[("metadata.json", &metadata), ("units/page.service", &service(PAGE))])?;
    assert_eq!(scene.sync("web")?.code, 0, "{}", scene.status("web")?);
    assert_eq!(scene.must("curl --silent --max-time 20 http://127.0.0.1:8081/page")?, "there\n");
    assert!(!scene.host.sh(CURL)?.success());
    assert_eq!(scene.must(reloads)?, before);

    // A boot starts what listens, and not the tenant, with and without anybody.
    for number in 0..2 {
        if number == 0 {
            scene.host.reboot()?
        } else {
            scene.host.power_loss()?
        }
        scene.must("systemctl is-active --quiet bitbuilder-listening.service")?;
        assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0, "{}", scene.status("web")?);
        scene.expect_state("web", "verified")?;
        assert_eq!(scene.must(UNITS)?, ASLEEP);
        assert_eq!(scene.must("curl --silent --max-time 20 http://127.0.0.1:8081/page")?, "there\n");
    }

    // Always again, and on demand again; then not at all.
    for (activation, unit) in [("always", "active\n"), ("on-demand", "active\n")] {
        let tenant = json!({ "tenant": { "name": "web", "type": "container", "activation": activation } });
        let mut more = forward.as_object().unwrap().clone();
        more.extend(tenant.as_object().unwrap().clone());
        web.commit(activation, &[("metadata.json", &manifest("web", &["page.service"], &Value::Object(more)))])?;
        assert_eq!(scene.sync("web")?.code, 0, "{}", scene.status("web")?);
        assert_eq!(scene.must("curl --silent --max-time 20 http://127.0.0.1:8081/page")?, "there\n");
        assert_eq!(scene.must("systemctl is-active bitbuilder-container@web.service")?, unit);
        let listens = scene.host.sh("systemctl is-active --quiet bitbuilder-wake@web.socket")?.success();
        assert_eq!(listens, activation == "on-demand");
    }
    let off = json!({ "tenant": { "name": "web", "type": "container", "enabled": false, "activation": "on-demand" } });
    let mut more = forward.as_object().unwrap().clone();
    more.extend(off.as_object().unwrap().clone());
    web.commit("Off", &[("metadata.json", &manifest("web", &[], &Value::Object(more)))])?;
    assert_eq!(scene.sync("web")?.code, 0);
    assert!(!scene.host.sh("curl --silent --max-time 5 http://127.0.0.1:8081/page")?.success());
    assert_eq!(scene.must(UNITS)?, "");
    assert_eq!(scene.must("ls /run/systemd/system | grep wake || true")?, "");
    Ok(())
}

#[test]
fn whatever_ends_it_wakes_again_and_who_waits_in_vain_is_told() -> Result<()> {
    let scene = scene(&json!({}))?;
    for kill in [
        "systemctl kill --signal=KILL bitbuilder-wake@web.service",
        "systemctl kill --signal=KILL bitbuilder-container@web.service",
        "systemctl kill --signal=KILL tenant-manager.service bitbuilder-orchestrator.service",
        "machinectl poweroff web",
    ] {
        assert_eq!(scene.must(CURL)?, "here\n");
        scene.must(kill)?;
        assert_eq!(
            scene.must(
                "curl --silent --retry 20 --retry-all-errors --retry-delay 1 --max-time 20 http://127.0.0.1:8080/page"
            )?,
            "here\n",
            "{kill}"
        );
    }
    // A port at which nothing answers puts nobody to sleep who runs.
    assert_eq!(scene.must(CURL)?, "here\n");
    let leader = scene.must("machinectl show web -p Leader")?;
    scene.must("systemd-run -M web --wait --quiet ip route add blackhole 10.88.0.1/32")?;
    assert!(!scene.host.sh(CURL)?.success());
    scene.must("systemd-run -M web --wait --quiet ip route del blackhole 10.88.0.1/32 || true")?;
    assert_eq!(scene.must("machinectl show web -p Leader")?, leader);
    // Another tenant reaches it as anybody does.
    scene.repository("mail")?.commit("First", &[("metadata.json", &manifest("mail", &[], &json!({})))])?;
    let both = ["web", "mail"].map(Registration::new);
    scene.open("system").commit("Both", &[("tenants/registry.json", &integration_tests::registry(&both))])?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    let gateway = scene.must("ip -4 -o route get $(bitbuilder status mail --json=short | jq -r .address) | sed 's/.* src \\([0-9.]*\\).*/\\1/'")?;
    let gateway = gateway.trim();
    let asked = scene
        .must(&format!("systemd-run -M mail --wait --pipe --quiet busybox wget -q -O - http://{gateway}:8080/page"))?;
    assert_eq!(asked, "here\n");
    // Another port of the host's is as closed to it as ever.
    scene.must(&format!(
        "! systemd-run -M mail --wait --pipe --quiet busybox wget -T 2 -q -O - http://{gateway}:9418/"
    ))?;

    // A port that somebody else has, and a tenant that cannot come up.
    scene.must("systemd-run --quiet --unit=other --service-type=exec socat TCP-LISTEN:8090,fork,reuseaddr EXEC:cat")?;
    let web = scene.open("web");
    let forward = json!({ "network": { "forward": [{ "host": 8090, "tenant": 80 }] } });
    web.commit("Taken", &[("metadata.json", &manifest("web", &["page.service"], &asks(&forward)))])?;
    assert_ne!(scene.sync("web")?.code, 0);
    let said = scene.status("web")?["unconverged"].as_str().unwrap_or_default().to_owned();
    assert!(said.contains("a program of the host may have one of its ports"), "{said}");
    // That this one is meant to be reached opens it to no tenant.
    scene.must(&format!(
        "! systemd-run -M mail --wait --pipe --quiet busybox wget -T 2 -q -O - http://{gateway}:8090/"
    ))?;
    scene.must("systemctl stop other.service")?;
    assert_eq!(scene.sync("web")?.code, 0, "{}", scene.status("web")?);
    scene.must(
        "systemctl stop bitbuilder-container@web.service; mv /var/lib/tenants/web/root /var/lib/tenants/web/away",
    )?;
    let begun = std::time::Instant::now();
    assert!(!scene.host.sh("curl --silent --max-time 60 http://127.0.0.1:8090/page")?.success());
    assert!(begun.elapsed().as_secs() < 40, "whoever waits is told in the end");
    scene.must("mv /var/lib/tenants/web/away /var/lib/tenants/web/root")?;
    assert_eq!(
        scene.must(
            "curl --silent --retry 20 --retry-all-errors --retry-delay 1 --max-time 30 http://127.0.0.1:8090/page"
        )?,
        "here\n"
    );
    Ok(())
}
