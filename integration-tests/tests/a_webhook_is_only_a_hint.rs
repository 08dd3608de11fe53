//! Webhooks as each forge sends them, over HTTP and HTTPS, and what is none: who proves to know the secret is looked after,
//! and nobody else learns or costs anything.

use anyhow::Result;
use integration_tests::Scene;
use serde_json::json;
use test_host::Host;

const SECRET: &str = "canary-7d02c5-of-web";
/// A signing token as GitLab gives it out; its key is the Base64 of `canary-7d02c5-canary-7d02c5-mail`.
const TOKEN: &str = "whsec_Y2FuYXJ5LTdkMDJjNS1jYW5hcnktN2QwMmM1LW1haWw=";
const CANARIES: [&str; 2] = ["canary-7d02c5", "Y2FuYXJ5LTdkMDJj"];
/// The receiver, by what it says when it has asked for a look.
const ASKED: &str =
    "journalctl --quiet --boot --output=cat -u bitbuilder-webhook.service | grep -c 'asked to look' || true";
/// Connections to the Git server so far.
const FETCHES: &str = "systemctl show -p NAccepted --value git-daemon.socket";

/// `sign SECRET` prints the code of standard input, `hook URL …` posts /run/body and prints the status.
const TOOLS: &str = r#"
sign() { openssl dgst -sha256 -hmac "$1" -r | cut -c 1-64; }
hook() { curl --silent --show-error --max-time 40 --output /run/answer --dump-header /run/head --write-out '%{http_code}' --data-binary @/run/body "$@"; }
web=http://127.0.0.1:9419/web
"#;

/// A host with a receiver that follows `web` and `mail`, and looks at them on its own once a day.
fn scene(secrets: &[(&str, &str)]) -> Result<Scene> {
    let scene = Scene::boot(Host::builder(""))?;
    scene.follow_seldom(&["web", "mail"])?;
    scene.must("mkdir -p -m 700 /etc/credstore")?;
    for (name, secret) in secrets {
        scene.host.write(&format!("/etc/credstore/bitbuilder.{name}"), secret)?;
    }
    scene.host.write("/run/body", r#"{"ref": "refs/heads/main", "x": "$(reboot)""#)?;
    scene.must("systemctl start bitbuilder-webhook.socket")?;
    Ok(scene)
}

fn tools(scene: &Scene, script: &str) -> Result<String> {
    scene.must(&format!("{TOOLS}{script}"))
}

#[test]
fn each_forges_signature_is_taken_and_any_other_is_refused_alike() -> Result<()> {
    let scene = scene(&[("webhook-secret.web", &format!("{SECRET}\n")), ("webhook-secret.mail", TOKEN)])?;
    let github =
        format!("hook -H \"X-Hub-Signature-256: sha256=$(sign {SECRET} </run/body)\" -H 'X-GitHub-Event: push' $web");
    let gitlab = r#"
signed=$({ printf 'id-1.1700000000.'; cat /run/body; } | openssl dgst -sha256 -mac HMAC -macopt key:canary-7d02c5-canary-7d02c5-mail -binary | base64)
hook -H 'webhook-id: id-1' -H 'webhook-timestamp: 1700000000' -H "webhook-signature: v1,$signed" http://127.0.0.1:9419/mail"#
        .to_owned();
    let sends = [
        ("web", github.clone()),
        ("web", format!("hook -H \"X-Gitea-Signature: $(sign {SECRET} </run/body)\" $web")),
        ("web", format!("hook -H \"X-Forgejo-Signature: $(sign {SECRET} </run/body)\" $web")),
        ("web", format!("hook -H 'X-Gitlab-Token: {SECRET}' -H 'X-Gitlab-Event: Push Hook' $web")),
        ("mail", gitlab),
    ];
    for (name, send) in sends {
        let commit = scene.open(name).commit("Next", &[])?;
        assert_eq!(tools(&scene, &send)?, "202", "{send}");
        scene.await_status(&format!("\"verified\":\"{commit}\""))?;
    }

    // Nobody is told why, not even by what else the answer holds.
    let (asked, fetches) = (scene.must(ASKED)?, scene.must(FETCHES)?);
    let mut answers = Vec::new();
    for send in [
        "hook $web".to_owned(),
        format!("hook -H \"X-Hub-Signature-256: sha256=$(sign wrong-{SECRET} </run/body)\" $web"),
        format!("hook -H \"X-Hub-Signature-256: sha256=$(sign {SECRET} </run/body | cut -c 1-60)\" $web"),
        format!(
            "hook -H \"X-Hub-Signature: sha1=$(openssl dgst -sha1 -hmac {SECRET} -r </run/body | cut -c 1-40)\" $web"
        ),
        format!("hook -H \"X-Gitea-Signature: $(sign {SECRET} </dev/null)\" $web"),
        format!("hook -H 'X-Gitlab-Token: {SECRET}x' $web"),
        format!("hook -H 'X-Gitlab-Token: {SECRET}' http://127.0.0.1:9419/mail"),
        format!("hook -H 'X-Gitlab-Token: {SECRET}' http://127.0.0.1:9419/system"),
        format!("hook -H 'X-Gitlab-Token: {SECRET}' http://127.0.0.1:9419/nobody"),
        format!("hook -H 'X-Gitlab-Token: {SECRET}' --path-as-is http://127.0.0.1:9419/../web"),
    ] {
        assert_eq!(tools(&scene, &send)?, "404", "{send}");
        answers.push(scene.must("grep -v '^date:' /run/head; cat /run/answer")?);
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(tools(&scene, &github.replace("push'", "ping'"))?, "200");
    assert_eq!((scene.must(ASKED)?, scene.must(FETCHES)?), (asked, fetches), "a look was asked for");

    // A repository that wants no webhooks is not looked at for one.
    let commit = scene
        .open("web")
        .commit("No hooks", &[(".gitops/config.yaml", "version: \"1.0\"\nsync: { interval: 1d, webhook: false }\n")])?;
    assert_eq!(tools(&scene, &github)?, "202");
    scene.await_status(&format!("\"verified\":\"{commit}\""))?;
    let fetches = scene.must(FETCHES)?;
    scene.open("web").commit("Unnoticed", &[])?;
    assert_eq!(tools(&scene, &github)?, "202");
    scene.must("timeout 60 grep --max-count=1 'the repository does not want' < <(exec journalctl --follow --lines=all --boot -u bitbuilder-orchestrator)")?;
    // The push itself came to the server by its path.
    assert_eq!(scene.must(FETCHES)?, fetches, "a hook was heeded");
    assert_eq!(scene.status("web")?["wanted"], json!(commit));

    // Another sender than the one that was asked may not take its place; the receiver may not do anything else.
    let as_receiver = "setpriv --reuid=bitbuilder-webhook --regid=bitbuilder-webhook --clear-groups varlinkctl call /run/bitbuilder/io.bitbuilder.Orchestrator io.bitbuilder.Orchestrator";
    for refused in ["Sync '{}'", "List '{}'", "Describe '{}'", "Suspend '{\"tenant\":\"web\"}'"] {
        let answer = scene.host.sh(&format!("{as_receiver}.{refused}"))?;
        assert!(answer.stderr.contains("Permission denied"), "{refused}: {}{}", answer.stdout, answer.stderr);
    }
    assert_eq!(scene.must(&format!("{as_receiver}.Sync '{{\"tenant\":\"mail\"}}' | jq -c"))?, "{\"tenants\":[]}\n");
    nothing_is_told(&scene)
}

/// No secret is where somebody could read it who may not.
fn nothing_is_told(scene: &Scene) -> Result<()> {
    for canary in CANARIES {
        // The receiver runs: what it was started with is looked at as well. The audit of the test's own commands is not ours.
        let told = scene.must(&format!(
            "pid=$(systemctl show -p MainPID --value bitbuilder-webhook.service); test $pid != 0
             {{ journalctl --output=export _SYSTEMD_UNIT=bitbuilder-webhook.service + _SYSTEMD_UNIT=bitbuilder-orchestrator.service + _PID=1
                tr '\\0' '\\n' </proc/$pid/cmdline; tr '\\0' '\\n' </proc/$pid/environ
                systemctl show bitbuilder-webhook.service; }} | grep --text --count '{canary}' || true
             grep --recursive --text --files-with-matches '{canary}' /var/lib/bitbuilder /run/bitbuilder /run/systemd/system || true"
        ))?;
        assert_eq!(told.trim(), "0", "a secret was told");
    }
    Ok(())
}

#[test]
fn whoever_floods_costs_nothing_and_hurts_nobody() -> Result<()> {
    let scene = scene(&[("webhook-secret.web", SECRET)])?;
    let good = format!("hook -H 'X-Gitlab-Token: {SECRET}' $web");
    let from = |address: &str| format!("{good} --interface {address}");
    assert_eq!(tools(&scene, &good)?, "202");
    assert_eq!(
        tools(&scene, "curl --silent -D - -o /dev/null $web | tr -d '\\r' | grep -e ^HTTP -e ^allow")?,
        "HTTP/1.1 405 Method Not Allowed\nallow: POST\n"
    );

    // Too much: a body by its length, a body without one, a head.
    scene.must("head -c 1M /dev/zero >/run/largest && { cat /run/largest; echo; } >/run/too-large")?;
    for (body, more, status) in [
        ("largest", "", "202"),
        ("too-large", "", "413"),
        ("too-large", "-H Expect:", "413"),
        ("too-large", "-H 'Transfer-Encoding: chunked'", "413"),
    ] {
        let send = format!(
            "{} {more}",
            good.replace("hook", "hook --data-binary @/run/X").replace("/run/X", &format!("/run/{body}"))
        );
        // The last one given counts.
        let send = format!(
            "cp /run/body /run/small; cp /run/{body} /run/body; {}; cp /run/small /run/body",
            send.replace(&format!("--data-binary @/run/{body}"), "")
        );
        assert_eq!(tools(&scene, &send)?, status, "{body} {more}");
    }
    assert_eq!(tools(&scene, &format!("{good} -H \"X-Much: $(head -c 20000 /dev/zero | tr '\\0' a)\""))?, "431");

    // Heads and bodies that never end, from one address; another is served meanwhile.
    scene.host.write(
        "/run/loris.py",
        "import socket, time\n\
         def begin(what):\n    s = socket.socket(); s.bind(('127.0.0.7', 0)); s.settimeout(60); s.connect(('127.0.0.1', 9419)); s.sendall(what); return s\n\
         heads = [begin(b'POST /web HTTP/1.1\\r\\nHost: x\\r\\n') for _ in range(100)]\n\
         bodies = [begin(b'POST /web HTTP/1.1\\r\\nHost: x\\r\\nX-Gitlab-Token: x\\r\\nContent-Length: 9\\r\\n\\r\\n1') for _ in range(100)]\n\
         begun = time.monotonic()\n\
         print('begun', flush=True)\n\
         def end(s):\n    try: return s.recv(99)\n    except ConnectionResetError: return b''\n\
         said = [end(s) for s in heads + bodies]\n\
         print(time.monotonic() - begun < 30, {a.split(b'\\r')[0].decode() for a in said} <= {'', 'HTTP/1.1 408 Request Timeout'})\n",
    )?;
    scene.must("mkfifo /run/begun; python3 /run/loris.py >/run/begun 2>&1 & exec 3</run/begun; read -r -t 30 line <&3; test \"$line\" = begun; cat <&3 >/run/loris & echo $! >/run/loris.pid")?;
    assert_eq!(tools(&scene, &from("127.0.0.8"))?, "202");
    scene.must("timeout 60 tail --pid=$(cat /run/loris.pid) -f /dev/null")?;
    assert_eq!(scene.must("cat /run/loris")?, "True True\n");

    // A thousand wrong secrets: who sent them is told when it is worth while, and heard if he knows the right one.
    let statuses = tools(
        &scene,
        "curl --silent --parallel --parallel-max 20 --output /dev/null --write-out '%{http_code}%header{retry-after}\\n' \
           --interface 127.0.0.9 --data x -H 'X-Gitlab-Token: wrong' \"$web?[1-1000]\" | sort | uniq -c | awk '{print $2, $1}'",
    )?;
    let count = |status: &str| -> u32 {
        let line = statuses.lines().find_map(|line| line.strip_prefix(status)?.strip_prefix(' ')?.parse().ok());
        line.unwrap_or_default()
    };
    assert!((30..100).contains(&count("404")) && count("4291") > 800, "{statuses}");
    assert_eq!(tools(&scene, &from("127.0.0.8"))?, "202");
    assert_eq!(tools(&scene, &from("127.0.0.9"))?, "202");
    let lines = scene.must("journalctl --quiet --boot -u bitbuilder-webhook.service | grep -c refused: || true")?;
    assert!(lines.trim().parse::<u32>()? <= 20, "{lines} lines about refusals");
    let used = scene.must("pid=$(systemctl show -p MainPID --value bitbuilder-webhook.service); awk '/VmHWM/{print $2}' /proc/$pid/status; cut -d' ' -f14,15 /proc/$pid/stat")?;
    let used: Vec<u64> = used.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    // Memory in KiB, processor time in hundredths of a second.
    assert!(used[0] < 32 * 1024 && used[1] + used[2] < 500, "{used:?}");
    scene.must("systemctl is-active bitbuilder-webhook.service && ! systemctl is-failed --quiet 'bitbuilder-*'")?;

    scene.must("systemd-analyze security --no-pager --threshold=10 bitbuilder-webhook.service")?;
    let confined = scene.must("grep CapBnd /proc/$(systemctl show -p MainPID --value bitbuilder-webhook)/status | cut -f2; systemctl show -p User --value bitbuilder-webhook")?;
    assert_eq!(confined, "0000000000000000\nbitbuilder-webhook\n");
    // All that it sees of the host's state.
    let seen = scene.must("nsenter --mount --target $(systemctl show -p MainPID --value bitbuilder-webhook) find /run/bitbuilder /var -mindepth 1")?;
    assert_eq!(
        seen.lines().filter(|path| !path.starts_with("/var/tmp")).collect::<Vec<_>>(),
        ["/run/bitbuilder/io.bitbuilder.Orchestrator"]
    );
    // Idle for 30 s, it leaves; the next hook brings it back.
    scene.must(
        "exec 3< <(exec timeout 90 busctl monitor org.freedesktop.systemd1 2>&1)
         read -r -u 3 begun
         while systemctl is-active --quiet bitbuilder-webhook.service; do read -r -u 3 message || exit 1; done",
    )?;
    assert_eq!(tools(&scene, &from("127.0.0.8"))?, "202");
    Ok(())
}

#[test]
fn with_a_certificate_nothing_goes_in_the_clear() -> Result<()> {
    let scene = scene(&[("webhook-secret", SECRET)])?;
    assert!(scene.must("bitbuilder doctor || true")?.contains("listens; there is one secret"));
    scene.must(
        "mkdir -p /srv/tls && cd /srv/tls && echo '127.0.0.1 hooks.test' >>/etc/hosts
         openssl req -quiet -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=hooks.test -addext subjectAltName=DNS:hooks.test -keyout key -out certificate 2>/dev/null
         cp certificate /etc/credstore/bitbuilder.webhook-certificate
         systemctl stop bitbuilder-webhook.service",
    )?;
    let (plain, secure) = (
        format!("hook -H 'X-Gitlab-Token: {SECRET}' http://hooks.test:9419"),
        format!("hook -H 'X-Gitlab-Token: {SECRET}' --cacert /srv/tls/certificate https://hooks.test:9419"),
    );
    // A key that is missing is no reason to speak in the clear.
    assert!(tools(&scene, &format!("{plain}/web || true"))?.ends_with("000"));
    assert!(
        scene
            .must("journalctl --boot -u bitbuilder-webhook")?
            .contains("there is bitbuilder.webhook-certificate and no bitbuilder.webhook-key")
    );
    scene.must("cp /srv/tls/key /etc/credstore/bitbuilder.webhook-key; systemctl stop bitbuilder-webhook.service")?;
    // The common secret is every repository's, the system repository's as well.
    for name in ["web", "mail"] {
        let commit = scene.open(name).commit("By TLS", &[])?;
        assert_eq!(tools(&scene, &format!("{secure}/{name}"))?, "202");
        scene.await_status(&format!("\"verified\":\"{commit}\""))?;
    }
    let system = scene.open("system").commit("By TLS", &[])?;
    assert_eq!(tools(&scene, &format!("{secure}/system"))?, "202");
    scene.must(&format!("timeout 60 grep --max-count=1 'registry is followed.*{system}' < <(exec journalctl --follow --lines=all --boot -u bitbuilder-orchestrator)"))?;
    assert!(tools(&scene, &format!("{plain}/web || true"))?.ends_with("000"));
    let old = "curl --silent --tls-max 1.1 --ciphers DEFAULT@SECLEVEL=0 --cacert /srv/tls/certificate https://hooks.test:9419/web";
    assert!(!scene.host.sh(old)?.success(), "TLS 1.1 was spoken");
    nothing_is_told(&scene)?;
    assert!(!scene.must("journalctl --boot -u bitbuilder-webhook --output=export")?.contains("PRIVATE KEY"));
    scene.must("rm /etc/credstore/bitbuilder.webhook-secret && systemctl stop bitbuilder-webhook.service")?;
    assert!(scene.must("bitbuilder doctor || true")?.contains("refuses everything: there is no secret"));
    assert_eq!(tools(&scene, &format!("{secure}/web"))?, "404");
    Ok(())
}
