//! What a push changes of a running tenant, it changes while the tenant runs, as far as that can be: limits, ports, files, secrets
//! and units hot, one service by a restart of that service, layers by one of the tenant. PID 1 is never reloaded for it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use anyhow::Result;
use integration_tests::{Registration, Repository, Scene, manifest, service};
use serde_json::{Value, json};
use test_host::Host;

/// Serves a directory's file for as long as it runs, and says at each start what it was started with.
const WEB: &str = "[Service]\nLoadCredential=token\nEnvironmentFile=/srv/config/web.env\nPrivateTmp=yes\n\
    ExecStart=/bin/sh -c 'echo started with $$WORD; exec sleep infinity'\n";

/// The host's side of a tenant, and how often PID 1 was reloaded.
const STARTED: &str = "systemctl show bitbuilder-container@web.service -p MainPID -p ActiveEnterTimestampMonotonic -p NRestarts; \
    machinectl show web -p Leader; journalctl -b --no-pager -o cat _PID=1 | grep -c 'Reloading finished' || true";

struct Web<'a> {
    scene: &'a Scene,
    repository: Repository<'a>,
    manifest: Value,
}

impl<'a> Web<'a> {
    /// A tenant with two services and a secret, that runs.
    fn runs(scene: &'a Scene) -> Result<Self> {
        let repository = scene.repository("web")?;
        let mut web = Self { scene, repository, manifest: json!({}) };
        web.seal("one")?;
        web.repository.commit(
            "First",
            &[
                ("units/web.service", WEB),
                ("units/other.service", &service("sleep infinity")),
                ("units/more.service", &service("sleep infinity")),
                ("web.env", "WORD=one\n"),
                ("word", "one\n"),
            ],
        )?;
        web.manifest(&["web.service", "other.service"], json!({}))?;
        scene.follow(&[Registration::new("web")])?;
        assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
        scene.expect_state("web", "verified")?;
        Ok(web)
    }

    fn manifest(&mut self, services: &[&str], more: Value) -> Result<String> {
        self.manifest = more;
        self.repository.commit("Asks", &[("metadata.json", &manifest("web", services, &self.manifest))])
    }

    fn seal(&self, value: &str) -> Result<()> {
        let seal = format!(
            "cd /srv/trees/web && printf %s '{value}' | bitbuilder seal token --tenant web --recipient $(bitbuilder key show | head -n 1)"
        );
        self.scene.must(&seal).map(drop)
    }

    fn inside(&self, script: &str) -> Result<String> {
        self.scene.host.write("/run/inside", script)?;
        self.scene.must("systemd-run -M web --wait --pipe --quiet bash -s </run/inside")
    }

    /// The main processes of the services, which tell one start from another.
    fn processes(&self) -> Result<Vec<String>> {
        let shown = self.scene.must("systemctl -M web show -p MainPID --value web.service other.service")?;
        Ok(shown.split_whitespace().map(str::to_owned).collect())
    }

    /// Pushes what `change` changes, which has to hold, and returns the class and the steps that were planned for it.
    fn push(&mut self, change: impl FnOnce(&mut Self) -> Result<()>) -> Result<(String, String)> {
        change(self)?;
        let planned = self.scene.must("bitbuilder plan --repository /srv/trees/web --revision HEAD --json=short")?;
        let planned: Value = serde_json::from_str(&planned)?;
        let planned = &planned["plans"][0];
        assert_eq!(self.scene.sync("web")?.code, 0, "{planned:#}\n{}", self.scene.status("web")?);
        self.scene.expect_state("web", "verified")?;
        let history = self.scene.call("Orchestrator", "History", &json!({ "tenant": "web", "limit": 2 }))?;
        assert_eq!(history["events"][0]["plan"], planned["text"], "the push did something else than was planned");
        let text = planned["text"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect::<Vec<_>>();
        Ok((planned["class"].as_str().unwrap().to_owned(), text.join("\n")))
    }

    fn files(&mut self, files: &[(&str, &str)]) -> Result<()> {
        self.repository.commit("Files", files).map(drop)
    }
}

/// The tenant goes on, and so do its services but for those at these places.
fn disturbs(
    web: &mut Web<'_>,
    what: &str,
    restarted: &[usize],
    change: impl FnOnce(&mut Web<'_>) -> Result<()>,
) -> Result<String> {
    let (host, before) = (web.scene.must(STARTED)?, web.processes()?);
    let (class, text) = web.push(change)?;
    assert_eq!(class, if restarted.is_empty() { "hot" } else { "restart" }, "{what}: {text}");
    assert_eq!(web.scene.must(STARTED)?, host, "{what} disturbed the tenant or reloaded PID 1: {text}");
    let after = web.processes()?;
    for (at, (before, after)) in before.iter().zip(&after).enumerate() {
        assert_eq!(before != after, restarted.contains(&at), "{what}: service {at}: {text}");
    }
    Ok(text)
}

#[test]
fn a_running_tenant_takes_over_what_it_can() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    let mut web = Web::runs(&scene)?;
    let both = ["web.service", "other.service"];
    let reads = "cat /srv/config/word; stat -c %u:%g /srv/config /srv/config/word | sort -u";
    assert_eq!(web.inside(reads)?, "one\n0:0\n");

    // A file: seen at once, also by a service that has mounts of its own, and read-only for good.
    disturbs(&mut web, "a file", &[], |web| web.files(&[("word", "two\n")]))?;
    assert_eq!(web.inside(reads)?, "two\n0:0\n");
    let seen = "nsenter --mount --target $(systemctl show -p MainPID --value web.service) cat /srv/config/word";
    assert_eq!(web.inside(seen)?, "two\n");
    let tries = "for at in /srv/config /run/systemd/system; do mount -o remount,bind,rw $at; mount -o remount,rw $at; touch $at/x; done; true";
    web.inside(&format!("{{ {tries}; }} 2>/dev/null"))?;
    scene.must("! test -e /var/lib/bitbuilder/git/web/checkouts/*/x")?;
    assert_eq!(web.inside("! test -e /srv/config/x && ! test -e /run/systemd/system/x && echo kept")?, "kept\n");
    // What is there does not grow with each change.
    let count = "grep -c -e /srv/config -e /run/systemd/system -e /run/host/credentials /proc/self/mountinfo";
    disturbs(&mut web, "another file", &[], |web| web.files(&[("word", "three\n")]))?;
    let mounts = web.inside(count)?;
    for word in ["four\n", "five\n"] {
        disturbs(&mut web, "one more", &[], |web| web.files(&[("word", word)]))?;
        assert_eq!(web.inside(reads)?, format!("{word}0:0\n"));
    }
    assert_eq!(web.inside(count)?, mounts);
    assert_eq!(web.inside(seen)?, "five\n");

    // Limits and a port.
    let asks = json!({ "resources": { "memory": { "limit": "256M" }, "cpu": { "cores": 1 } }, "network": { "forward": [{ "host": 8001, "tenant": 80 }] } });
    disturbs(&mut web, "limits and a port", &[], |web| web.manifest(&both, asks.clone()).map(drop))?;
    assert_eq!(scene.must("systemctl show -p MemoryMax --value bitbuilder-container@web.service")?, "268435456\n");
    assert!(scene.must("nft list table inet bitbuilder")?.contains("8001"));

    // A service more, with a drop-in; then another drop-in; and it goes.
    let three = ["web.service", "other.service", "more.service"];
    let text = disturbs(&mut web, "a new service", &[], |web| web.manifest(&three, asks.clone()).map(drop))?;
    assert!(text.contains("more.service is new"), "{text}");
    assert_eq!(
        scene.must("systemctl -M web show -p ActiveState -p UnitFileState --value more.service")?.trim(),
        "active\nenabled-runtime"
    );
    let text = disturbs(&mut web, "a service less", &[], |web| web.manifest(&both, asks.clone()).map(drop))?;
    assert!(text.contains("more.service goes"), "{text}");
    assert_eq!(scene.host.sh("systemctl -M web is-active more.service")?.stdout, "inactive\n");

    // What one service is started with: its unit, a drop-in, a file that it names, a secret.
    let started = |word: &str| {
        scene.must(&format!("systemctl -M web show -p Environment web.service; bitbuilder logs web -n 1000 | grep -c 'started with {word}'"))
    };
    let text = disturbs(&mut web, "a file that it names", &[0], |web| web.files(&[("web.env", "WORD=other\n")]))?;
    assert!(text.contains("restart web.service (its unit, or what that names, changes)"), "{text}");
    started("other")?;
    disturbs(&mut web, "a drop-in", &[0], |web| {
        web.files(&[("units/web.service.d/10.conf", "[Service]\nEnvironment=FROM=drop-in\n")])
    })?;
    assert!(started("other")?.contains("FROM=drop-in"));
    disturbs(&mut web, "a unit", &[1], |web| web.files(&[("units/other.service", &service("sleep 1000000"))]))?;
    disturbs(&mut web, "a secret", &[0], |web| {
        web.seal("two")?;
        web.files(&[])
    })?;
    let secret = web.inside("cat /run/credentials/@system/token; stat -c ' %a:%u' /run/host/credentials/token; findmnt -n -o FSTYPE /run/host/credentials | tail -n 1; ! touch /run/host/credentials/x 2>/dev/null && mount -o remount,bind,rw /run/host/credentials 2>&1 | grep -c denied")?;
    assert_eq!(secret, "two 400:0\nramfs\n1\n");
    assert_eq!(
        web.inside(
            "cat /proc/$(systemctl show -p MainPID --value web.service)/root/run/credentials/web.service/token"
        )?,
        "two"
    );

    // Another layer is for the whole tenant, and another image for its root; still nothing for PID 1.
    let reloads = "journalctl -b --no-pager -o cat _PID=1 | grep -c 'Reloading finished' || true";
    let before = scene.must(reloads)?;
    assert_ne!(before, "0\n", "the one for the Git server is not counted");
    scene.must("cd $(mktemp -d) && mkdir -p usr/bin usr/lib/extension-release.d && printf '#!/bin/sh\\necho tool\\n' > usr/bin/tool && chmod 755 usr/bin/tool \
        && echo ID=_any > usr/lib/extension-release.d/extension-release.tool && mksquashfs . /var/lib/bitbuilder/images/sysext/tool.raw -quiet -no-progress -all-root")?;
    let leader = scene.must("machinectl show web -p Leader")?;
    let (class, text) =
        web.push(|web| web.manifest(&both, json!({ "extensions": { "sysext": ["tool"] } })).map(drop))?;
    assert_eq!(class, "restart", "{text}");
    assert_ne!(scene.must("machinectl show web -p Leader")?, leader);
    assert_eq!(web.inside("tool")?, "tool\n");
    scene.must("btrfs --quiet subvolume snapshot /var/lib/machines/debian /var/lib/machines/other")?;
    let (class, text) = web.push(|web| {
        let asks = manifest("web", &both, &json!({})).replace("\"debian\"", "\"other\"");
        web.files(&[("metadata.json", &asks)])
    })?;
    assert_eq!(class, "re_provision", "{text}");
    assert_eq!(scene.must(reloads)?, before);
    Ok(())
}

#[test]
fn what_a_tenant_does_to_its_own_harms_nobody() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    let mut web = Web::runs(&scene)?;
    // Something else over its files: what was pushed is over that.
    web.inside("mount -t tmpfs none /srv/config && echo planted >/srv/config/word")?;
    disturbs(&mut web, "a mount over its files", &[], |web| web.files(&[("word", "two\n")]))?;
    assert_eq!(web.inside("cat /srv/config/word")?, "two\n");

    // A link to somewhere else: nothing is mounted there, and the tenant is started anew.
    web.inside("umount /srv/config; mv /srv /srv.moved && ln -s /etc /srv && mkdir -p /etc/config")?;
    let leader = scene.must("machinectl show web -p Leader")?;
    web.files(&[("word", "three\n")])?;
    assert_eq!(scene.sync("web")?.code, 0);
    assert_ne!(scene.must("machinectl show web -p Leader")?, leader);
    scene.must(
        "journalctl -b --no-pager -u tenant-manager.service | grep 'started anew because nothing can be shown to it'",
    )?;
    scene
        .must("! test -e /etc/config && systemctl show -p NeedDaemonReload --value tenant-manager.service | grep no")?;

    // What it undoes is as it was once it is started anew: a directory of its own may be removed with what is over it.
    web.inside("rm /srv && mv /srv.moved /srv")?;
    web.push(|web| web.files(&[("word", "undone\n")]))?;
    disturbs(&mut web, "a file after that", &[], |web| web.files(&[("word", "four\n")]))?;
    assert_eq!(web.inside("cat /srv/config/word")?, "four\n");

    // A service that does not stop does not hold up the tenant, and one that fails is taken back.
    let stubborn = "[Service]\nTimeoutStopSec=infinity\nKillMode=mixed\nExecStart=/bin/sh -c 'trap : TERM; while :; do sleep 1; done'\n";
    web.files(&[("units/other.service", stubborn)])?;
    assert_eq!(scene.sync("web")?.code, 0);
    let before = web.processes()?;
    web.files(&[("units/other.service", &service("sleep infinity"))])?;
    assert_eq!(scene.sync("web")?.code, 0, "{}", scene.status("web")?);
    assert_ne!(web.processes()?[1], before[1]);
    let before = web.processes()?;
    web.files(&[("units/other.service", &service("/bin/false"))])?;
    assert_eq!(scene.sync("web")?.code, 4);
    let status = scene.expect_state("web", "rolled_back")?;
    assert!(status["reason"].as_str().unwrap().contains("other.service failed"), "{status:#}");
    assert_eq!(web.processes()?[0], before[0], "a service that has nothing to do with it was restarted");
    assert!(scene.must("systemctl -M web show -p ExecStart -p ActiveState other.service")?.contains("sleep infinity"));
    Ok(())
}
