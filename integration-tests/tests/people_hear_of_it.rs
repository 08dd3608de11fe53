//! Forges and webhooks behind TLS are told what becomes of commits: in order, signed, again if they were away, and never at the
//! cost of what they are told of.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use anyhow::Result;
use integration_tests::{Registration, Scene, manifest, registry, service};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use test_host::Host;

const CANARY: &str = "canary-7c20d4";
const SECRET: &str = "canary-secret-91aa";

/// An authority of one's own and a server that writes down what it is asked, a line each, and answers as /srv/forge/mode says.
const SERVERS: &str = r#"
set -e
echo '127.0.0.1 forge.test other.test' >> /etc/hosts
mkdir -p /srv/forge/bodies && cd /srv/forge
openssl req -quiet -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.pem 2>/dev/null
openssl req -quiet -newkey rsa:2048 -nodes -subj /CN=forge.test -addext "subjectAltName=DNS:forge.test,DNS:other.test" -keyout key -out csr 2>/dev/null
openssl x509 -req -in csr -CA ca.pem -CAkey ca.key -copy_extensions copy -days 2 -out crt 2>/dev/null
cat key crt > server.pem
cat > receive <<'CGI'
#!/bin/sh
cd /srv/forge
name=$(date +%s%N)
head -c "${CONTENT_LENGTH:-0}" > "bodies/$name"
mode=$(cat mode)
printf '%s\n' "$mode $SERVER_PORT $REQUEST_METHOD $REQUEST_URI [$HTTP_AUTHORIZATION$HTTP_PRIVATE_TOKEN$HTTP_X_BITBUILDER_SIGNATURE_256] $name $(cat "bodies/$name")" >> log
case $mode in
ok) printf 'Status: 201 Created\r\n\r\n' ;;
busy) echo ok > mode; printf 'Status: 503 Busy\r\nRetry-After: 1\r\n\r\n' ;;
denied) printf 'Status: 401 Unauthorized\r\n\r\n' ;;
away) printf 'Status: 307 Elsewhere\r\nLocation: https://other.test:444/stolen\r\n\r\n' ;;
hangs) exec sleep 300 ;;
esac
CGI
chmod 755 receive
cat > lighttpd.conf <<'CONF'
server.document-root = "/srv/forge/bodies"
server.port = 443
server.bind = "127.0.0.1"
server.modules = ("mod_openssl", "mod_alias", "mod_cgi")
ssl.engine = "enable"
ssl.pemfile = "/srv/forge/server.pem"
$SERVER["socket"] == "127.0.0.1:444" { ssl.engine = "enable" }
alias.url = ("/" => "/srv/forge/receive/")
cgi.assign = ("" => "")
CONF
printf '[Service]\nType=exec\nExecStart=lighttpd -D -f /srv/forge/lighttpd.conf\nKillMode=mixed\nTimeoutStopSec=1\n[Install]\nWantedBy=multi-user.target\n' > /etc/systemd/system/forge.service
systemctl daemon-reload
mkdir -p -m 700 /etc/credstore && umask 077
cp ca.pem /etc/credstore/bitbuilder.ca
echo 'canary-7c20d4' > /etc/credstore/bitbuilder.notification-token.forge
echo 'canary-7c20d4' > /etc/credstore/bitbuilder.notification-token.hub
echo 'canary-secret-91aa' > /etc/credstore/bitbuilder.notification-secret
systemctl stop bitbuilder-notification
"#;

const EVENTS: [&str; 5] = ["admitted", "verified", "refused", "failed", "rolled_back"];

/// A host with a tenant that runs, whose forge was told so. Gives the commit, and how long its push took.
fn scene() -> Result<(Scene, String)> {
    let scene = Scene::boot(Host::builder(""))?;
    scene.must(SERVERS)?;
    mode(&scene, "ok")?;
    let metadata = manifest("web", &["a.service"], &json!({}));
    let good = scene
        .repository("web")?
        .commit("Good", &[("metadata.json", &metadata), ("units/a.service", &service("sleep infinity"))])?;
    let target = |name: &str, kind: &str, address: &str| {
        let mut target =
            json!({ "name": name, "kind": kind, "address": address, "events": EVENTS, "tenants": ["web"] });
        if kind != "webhook" {
            target["project"] = json!("owner/web");
        }
        target
    };
    let notifications = json!({ "version": "1.0", "targets": [
        target("forge", "gitea", "https://forge.test/api/v1"),
        target("hub", "gitlab", "https://forge.test/api/v4"),
        target("hook", "webhook", "https://forge.test/hook"),
    ] });
    let system = scene.repository("system")?;
    system.commit(
        "The tenants",
        &[
            ("tenants/registry.json", &registry(&[Registration::new("web")])),
            ("notifications.json", &notifications.to_string()),
        ],
    )?;
    scene.must("systemctl start forge && bitbuilder init --repository git://127.0.0.1/system")?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    hears(&scene, &status(&good, "success"))?;
    Ok((scene, good))
}

fn mode(scene: &Scene, mode: &str) -> Result<()> {
    scene.host.write("/srv/forge/mode", format!("{mode}\n"))
}

/// How the forge is asked that a commit be in this state.
fn status(commit: &str, state: &str) -> String {
    format!(" 443 POST /api/v1/repos/owner/web/statuses/{commit} [token {CANARY}] [0-9]* {{\"state\":\"{state}\"")
}

/// Waits until the server is asked what matches. Nothing tells when a line is written.
fn hears(scene: &Scene, pattern: &str) -> Result<String> {
    scene.host.write("/run/pattern", pattern.replace('[', "\\[").replace(']', "\\]").replace("\\[0-9\\]", "[0-9]"))?;
    let found = scene
        .host
        .sh("timeout 60 sh -c 'until grep --file=/run/pattern /srv/forge/log 2>/dev/null; do sleep 0.1; done'")?;
    if !found.success() {
        let log = scene.must("cat /srv/forge/log || true; bitbuilder notifications; journalctl -n 60 -o cat --no-pager -u bitbuilder-notification")?;
        anyhow::bail!("not heard: {pattern}\n{log}");
    }
    Ok(found.stdout)
}

/// What the server was asked at an address that begins like this, in order: the mode it was in and the body.
fn heard(scene: &Scene, address: &str) -> Result<Vec<(String, Value)>> {
    let log = scene.must("cat /srv/forge/log")?;
    let lines = log.lines().filter(|line| line.split(' ').nth(3).is_some_and(|path| path.starts_with(address)));
    Ok(lines
        .map(|line| {
            let mode = line.split(' ').next().unwrap().to_owned();
            let body = line.find('{').map_or(Value::Null, |at| serde_json::from_str(&line[at..]).unwrap());
            (mode, body)
        })
        .collect())
}

fn states(scene: &Scene, commit: &str) -> Result<Vec<String>> {
    let asked = heard(scene, &format!("/api/v1/repos/owner/web/statuses/{commit}"))?;
    Ok(asked.into_iter().map(|(_, body)| body["state"].as_str().unwrap().to_owned()).collect())
}

fn target(scene: &Scene, name: &str) -> Result<Value> {
    Ok(scene.call("Notification", "List", &json!({ "target": name }))?["targets"][0].clone())
}

/// Pushes and converges. Gives the commit and how long that took.
fn push(scene: &Scene, text: &str) -> Result<(String, Duration)> {
    let commit = scene.open("web").commit(text, &[("number", text)])?;
    let begun = Instant::now();
    assert_eq!(scene.sync("web")?.code, 0, "{text}");
    let took = begun.elapsed();
    scene.expect_state("web", "verified")?;
    Ok((commit, took))
}

#[test]
fn in_order_signed_and_only_whom_it_is_for() -> Result<()> {
    let (scene, good) = scene()?;
    assert_eq!(states(&scene, &good)?, ["pending", "success"]);
    let context = format!("bitbuilder/{}/web", scene.must("hostname")?.trim());
    let (_, body) = heard(&scene, "/api/v1/")?.remove(0);
    assert_eq!(body["context"], json!(context));
    hears(&scene, &format!("/api/v4/projects/owner%2Fweb/statuses/{good}?state=success&.* [{CANARY}]"))?;

    // A commit that fails, with a unit whose name and words are somebody else's.
    let bad = scene.open("web").commit(
        "Fails",
        &[("units/a.service", &service("sh -c 'echo \"x&state=success\\\",\\\"state\\\":\\\"success\"; exit 1'"))],
    )?;
    assert_eq!(scene.sync("web")?.code, 4);
    hears(&scene, &format!("statuses/{bad} .*runs again"))?;
    let told = states(&scene, &bad)?;
    assert_eq!((&*told[0], told.last().map(String::as_str)), ("pending", Some("failure")), "{told:?}");
    assert!(!told.contains(&"success".to_owned()), "{told:?}");
    assert_eq!(states(&scene, &good)?, ["pending", "success"], "what ran before was told of again");
    for (_, body) in heard(&scene, "/api/v1/")? {
        assert!(body["description"].as_str().unwrap().chars().count() <= 140, "{body}");
    }

    // The webhook: every event, signed as openssl does it, with both commits.
    let line = hears(&scene, "/hook .*\"event\":\"rolled_back\"")?;
    let name = line.split(' ').nth(5).unwrap();
    let signature = line.split('[').nth(1).unwrap().split(']').next().unwrap();
    let expected =
        scene.must(&format!("openssl dgst -sha256 -hmac {SECRET} -r /srv/forge/bodies/{name} | cut -d' ' -f1"))?;
    assert_eq!(signature, format!("sha256={}", expected.trim()));
    let posted = heard(&scene, "/hook")?;
    let events: Vec<&str> = posted.iter().map(|(_, body)| body["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["admitted", "verified", "admitted", "failed", "rolled_back"]);
    let last = &posted.last().unwrap().1;
    assert_eq!((&last["revision"], &last["failed"], &last["tenant"]), (&json!(good), &json!(bad), &json!("web")));

    // Another server is not told, and what this host is known by does not go there.
    mode(&scene, "away")?;
    scene.open("web").commit("Again", &[("units/a.service", &service("sleep infinity"))])?;
    assert_eq!(scene.sync("web")?.code, 0);
    let last = "away 443 POST /hook .*\"event\":\"verified\"";
    hears(&scene, last)?;
    scene.must("timeout 60 sh -c 'until bitbuilder notifications | grep -q 307; do sleep 0.1; done'")?;
    assert_eq!(scene.must("grep -c ' 444 ' /srv/forge/log || true")?, "0\n", "another server was told");
    let doctor = scene.host.sh("bitbuilder doctor")?.stdout;
    assert!(doctor.contains("WARN  notifications") && doctor.contains("307 Temporary Redirect"), "{doctor}");

    // Nobody else sees a secret: in no journal, argument, environment or file that others may read. The word is put
    // together, so that what looks for it does not find itself.
    let told = scene.must(
        "word=cana; word=${word}ry-
         env control=${word}found sleep 60 & control=$!
         journalctl --sync; journalctl --output=export | grep --text \"$word\" || true
         for file in /proc/[0-9]*/cmdline /proc/[0-9]*/environ; do
             pid=${file#/proc/}; test \"${pid%/*}\" = $$ || tr '\\0' '\\n' 2>/dev/null <\"$file\" | grep \"$word\" || true
         done
         kill $control
         grep --recursive --text --files-with-matches \"$word\" /var/lib/bitbuilder /run/bitbuilder /run/systemd/system /etc/systemd || true
         runuser -u bitbuilder -- ls /var/lib/bitbuilder/notification 2>/dev/null || true
         ls /run/credentials/bitbuilder-git-sync.service 2>/dev/null | grep notification || true",
    )?;
    assert_eq!(told, "control=canary-found\n", "a secret was told, or would not have been found");
    Ok(())
}

#[test]
fn who_is_away_is_told_later_and_delays_nothing() -> Result<()> {
    let (scene, _) = scene()?;
    let (_, usual) = push(&scene, "usual")?;
    let as_fast = |took: Duration, why: &str| {
        assert!(took < usual * 2 + Duration::from_secs(3), "{why}: {took:?}, not {usual:?}")
    };

    // Nobody listens; then a kill; then somebody does.
    scene.must("systemctl stop forge")?;
    let (away, took) = push(&scene, "away")?;
    as_fast(took, "nobody listens");
    scene.must("timeout 60 sh -c 'until bitbuilder notifications | grep -q refused; do sleep 0.1; done'")?;
    let shown = target(&scene, "forge")?;
    assert!(shown["failing"] == true && shown["nextTryUSec"].is_u64() && shown["waiting"] == 1, "{shown}");
    scene.must("systemctl kill --signal=KILL bitbuilder-notification && systemctl start forge")?;
    hears(&scene, &status(&away, "success"))?;
    hears(&scene, &format!("/hook .*\"event\":\"verified\".*{away}"))?;
    assert_eq!(states(&scene, &away)?, ["success"], "what was superseded was told, or something twice");

    // One that takes the question and never answers, and a kill while it does.
    mode(&scene, "hangs")?;
    let (hung, took) = push(&scene, "hangs")?;
    as_fast(took, "it hangs");
    hears(&scene, &format!("hangs 443 POST /api/v1/.*{hung}"))?;
    mode(&scene, "ok")?;
    scene.must("systemctl kill --signal=KILL bitbuilder-notification")?;
    hears(&scene, &format!("ok{}", status(&hung, "success")))?;

    // Busy once: asked again. Refused for good: said, and not asked again.
    scene.must("timeout 60 sh -c 'until bitbuilder notifications --json=short | grep -vq \"\\\"waiting\\\":[1-9]\"; do sleep 0.1; done'")?;
    mode(&scene, "busy")?;
    let (busy, _) = push(&scene, "busy")?;
    hears(&scene, &format!("ok{}", status(&busy, "success")))?;
    mode(&scene, "denied")?;
    let (denied, _) = push(&scene, "denied")?;
    hears(&scene, &format!("denied{}", status(&denied, "success")))?;
    scene
        .must("timeout 60 sh -c 'until bitbuilder notifications | grep -q \"401 Unauthorized\"; do sleep 0.1; done'")?;
    let shown = target(&scene, "forge")?;
    assert!(shown["waiting"] == 0 && shown["lost"].as_u64().unwrap() >= 1, "{shown}");

    // Nothing is left to do: the service ends by itself, and only then.
    scene.must("timeout 90 sh -c 'while systemctl is-active --quiet bitbuilder-notification; do sleep 0.5; done'")?;
    scene.must("! systemctl is-failed --quiet 'bitbuilder-notification*' && test -z \"$(ls -A /var/lib/bitbuilder/notification/outbox)\"")?;
    Ok(())
}

#[test]
fn what_waits_is_told_after_a_reboot() -> Result<()> {
    let (scene, _) = scene()?;
    scene.must("systemctl stop forge")?;
    let (commit, _) = push(&scene, "before")?;
    scene.must("timeout 60 sh -c 'until bitbuilder notifications | grep -q refused; do sleep 0.1; done'")?;
    // By itself: nobody asks the service for anything.
    scene.must("systemctl enable forge && systemctl disable bitbuilder-orchestrator.service bitbuilder-orchestrator.socket git-sync@system.timer")?;
    scene.host.power_loss()?;
    hears(&scene, &status(&commit, "success"))?;
    assert!(!scene.host.sh("systemctl is-active bitbuilder-orchestrator.service")?.success());

    // Who is not named any more is told nothing, and what waited for him is gone.
    scene.must(
        "systemctl stop forge && systemctl enable --now bitbuilder-orchestrator.socket bitbuilder-orchestrator.service",
    )?;
    push(&scene, "after")?;
    scene.must("test -n \"$(ls -A /var/lib/bitbuilder/notification/outbox)\"")?;
    scene.open("system").commit("Nobody", &[("notifications.json", r#"{ "version": "1.0", "targets": [] }"#)])?;
    assert_eq!(scene.bitbuilder(&["sync", "system", "--wait"])?.code, 0);
    scene.must(
        "timeout 60 sh -c 'until test -z \"$(ls -A /var/lib/bitbuilder/notification/outbox)\"; do sleep 0.1; done'",
    )?;
    assert!(scene.must("bitbuilder notifications")?.starts_with("Nobody is told"));
    Ok(())
}
