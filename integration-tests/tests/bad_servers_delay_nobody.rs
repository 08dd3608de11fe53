//! Git servers that hang, break off, fail, refuse, ask for a password or show an expired certificate: their tenants run on and
//! say why they are not fetched and when the next try is, nobody else is delayed, and a server that is mended is found again.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use anyhow::{Context as _, Result};
use integration_tests::{Scene, manifest};
use serde_json::{Value, json};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use test_host::Host;

/// Real servers, each with a way to be bad: as long as /run/bad or /run/hang is there, or by the other configuration.
const SERVERS: &str = r#"
mkdir -p /srv/tls /srv/www /srv/servers /etc/credstore && cd /srv/tls
echo '127.0.0.1 git.test other.test' >> /etc/hosts
cp /etc/hosts hosts.bad && echo '127.0.0.1 moved.test' >> /etc/hosts && cp /etc/hosts hosts.good
openssl req -quiet -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.pem 2>/dev/null
certificate() {
    openssl req -quiet -newkey rsa:2048 -nodes -subj "/CN=$2" -addext "subjectAltName=DNS:$2" -keyout $1.key -out $1.csr 2>/dev/null
    openssl x509 -req -in $1.csr -CA ca.pem -CAkey ca.key -copy_extensions copy "${@:3}" -out $1.crt 2>/dev/null
    cat $1.key $1.crt > $1.pem
}
certificate git git.test -days 2
certificate other.good other.test -days 2
certificate other.bad other.test -not_before 20200101000000Z -not_after 20200201000000Z
cp ca.pem /etc/credstore/bitbuilder.ca && systemctl stop bitbuilder-git-sync
echo 'tester:secret' > users
for kind in good bad; do
    cat > $kind.conf <<CONF
server.document-root = "/srv/www"
server.port = 443
server.bind = "127.0.0.1"
server.feature-flags = ("server.graceful-shutdown-timeout" => 5)
server.modules = ("mod_openssl", "mod_auth", "mod_authn_file", "mod_alias", "mod_setenv", "mod_cgi")
ssl.engine = "enable"
ssl.pemfile = "/srv/tls/git.pem"
\$HTTP["host"] == "other.test" { ssl.pemfile = "/srv/tls/other.$kind.pem" }
auth.backend = "plain"
auth.backend.plain.userfile = "/srv/tls/users"
alias.url = ("/fails/" => "/srv/servers/fails/", "/" => "/usr/lib/git-core/git-http-backend/")
\$SERVER["socket"] == "127.0.0.1:8080" { ssl.engine = "disable" }
setenv.add-environment = ("GIT_PROJECT_ROOT" => "/srv/git", "GIT_HTTP_EXPORT_ALL" => "1")
cgi.assign = ("" => "")
CONF
done
echo 'auth.require = ("/by-password/" => ("method" => "basic", "realm" => "git", "require" => "valid-user"))' >> bad.conf
cp good.conf lighttpd.conf
cat > /srv/servers/fails <<'CGI'
#!/bin/sh
test -e /run/bad || exec /usr/lib/git-core/git-http-backend
printf 'Status: 500 Internal Server Error\r\nContent-Type: text/plain\r\n\r\nno disk\n'
CGI
cat > /srv/servers/hangs <<'SERVER'
#!/bin/sh
test -e /run/hang || exec socat STDIO TCP:127.0.0.1:8080
printf 'HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-advertisement\r\nContent-Length: 1000\r\n\r\n'
exec sleep infinity
SERVER
daemon='git daemon --inetd --export-all --base-path=/srv/git /srv/git'
printf '#!/bin/bash\ntest -e /run/hang || exec %s\n%s | head --bytes=40\nexec sleep infinity\n' "$daemon" "$daemon" > /srv/servers/silent
printf '#!/bin/bash\ntest -e /run/bad || exec %s\nexec dd bs=4096 count=100000 iflag=count_bytes status=none < <(exec %s)\n' "$daemon" "$daemon" > /srv/servers/half
printf '#!/bin/bash\nexec %s\n' "$daemon" > /srv/servers/refuses
chmod +x /srv/servers/*
port=9501
for server in silent half refuses hangs; do
    printf '[Socket]\nListenStream=127.0.0.1:%s\nAccept=yes\nTriggerLimitBurst=0\n' $((port++)) > /etc/systemd/system/$server.socket
    printf '[Service]\nExecStart=-/srv/servers/%s\nStandardInput=socket\nStandardError=journal\n' $server > /etc/systemd/system/$server@.service
done
mkdir -p /etc/systemd/system/git-sync@.timer.d
printf '[Timer]\nOnActiveSec=\nOnActiveSec=1s\nOnUnitInactiveSec=3s\nRandomizedDelaySec=0\nAccuracySec=100ms\n' > /etc/systemd/system/git-sync@.timer.d/often.conf
systemctl daemon-reload && systemctl start silent.socket half.socket refuses.socket hangs.socket && systemctl restart git-sync@system.timer
systemd-run --quiet --unit=web-server --property=Type=exec lighttpd -D -f /srv/tls/lighttpd.conf
until curl --silent --cacert /srv/tls/ca.pem --output /dev/null https://git.test/; do read -t 0.1 < /dev/zero || :; done
"#;

/// Lets the servers be bad, or mends them. lighttpd reads its configuration anew without a refused connection (SIGUSR1).
const TURN: &str = r#"
case $1 in
bad) touch /run/bad; systemctl stop refuses.socket; login=401 ;;
good) rm /run/bad /run/hang; systemctl start refuses.socket; login=200 ;;
esac
cat /srv/tls/hosts.$1 > /etc/hosts
cp /srv/tls/$1.conf /srv/tls/lighttpd.conf
systemctl kill --kill-whom=main --signal=USR1 web-server
address='https://git.test/by-password/info/refs?service=git-upload-pack'
until test "$(curl --silent --cacert /srv/tls/ca.pem --output /dev/null --write-out '%{http_code}' $address)" = $login; do
    read -t 0.1 < /dev/zero || :
done
"#;

/// A tenant of each bad server, its address, and what is said at once when it is bad.
const TENANTS: [(&str, &str, &str); 8] = [
    ("by-half", "git://127.0.0.1:9502/by-half", "Failed to consume the pack"),
    ("by-failing", "https://git.test/fails/by-failing", "500"),
    ("by-expired", "https://other.test/by-expired", "expired"),
    ("by-refusing", "git://127.0.0.1:9503/by-refusing", "refused"),
    ("by-name", "git://moved.test/by-name", "lookup"),
    ("by-password", "https://git.test/by-password", "it asks for a user and password"),
    ("by-silent", "git://127.0.0.1:9501/by-silent", ""),
    ("by-hanging", "http://127.0.0.1:9504/by-hanging", ""),
];
/// Those that fail at once.
const QUICK: usize = 6;

/// All that is shown, as soon as `condition` of jq holds of it.
fn until(scene: &Scene, condition: &str) -> Result<Value> {
    scene.host.write("/run/condition", condition)?;
    let shown = scene.must(
        "for _ in $(seq 600); do
             bitbuilder status --json=short > /run/shown
             if jq --exit-status --from-file /run/condition /run/shown >/dev/null; then exec cat /run/shown; fi
             read -t 0.2 < /dev/zero || :
         done; cat /run/shown; exit 1",
    );
    serde_json::from_str(&shown.with_context(|| format!("it did not come to be: {condition}"))?).context("not JSON")
}

fn of<'a>(shown: &'a Value, tenant: &str) -> &'a Value {
    shown["tenants"].as_array().unwrap().iter().find(|status| status["tenant"] == tenant).unwrap()
}

/// How many connections a server has seen.
fn accepted(scene: &Scene, socket: &str) -> Result<u64> {
    Ok(scene.must(&format!("systemctl show --property=NAccepted --value {socket}.socket"))?.trim().parse()?)
}

fn await_accepted(scene: &Scene, socket: &str, wanted: u64) -> Result<()> {
    scene.must(&format!(
        "for _ in $(seq 600); do
             test $(systemctl show --property=NAccepted --value {socket}.socket) -lt {wanted} || exit 0
             read -t 0.1 < /dev/zero || :
         done; exit 1"
    ))?;
    Ok(())
}

/// Waits until the tenant whose server is well was polled so often.
fn polls(scene: &Scene, times: u64) -> Result<()> {
    await_accepted(scene, "git-daemon", accepted(scene, "git-daemon")? + times)
}

fn processes(scene: &Scene) -> Result<String> {
    scene.must(&format!(
        "systemctl show --property=ExecMainPID --value {}",
        TENANTS.map(|(name, ..)| format!("bitbuilder-container@{name}.service")).join(" ")
    ))
}

fn become_all(scene: &Scene, kind: &str) -> Result<()> {
    scene.must(&format!("set -- {kind}; {TURN}")).map(drop)
}

fn push(scene: &Scene, tenant: &str, word: &str) -> Result<String> {
    scene.open(tenant).commit(word, &[("word", word)])
}

#[test]
fn and_are_found_again_when_they_are_mended() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    scene.must(SERVERS)?;
    let names: Vec<&str> = TENANTS.iter().map(|(name, ..)| *name).chain(["mail"]).collect();
    for name in &names {
        scene.repository(name)?.commit("First", &[("metadata.json", &manifest(name, &[], &json!({})))])?;
    }
    let mut entries: Vec<Value> =
        TENANTS.iter().map(|(name, url, _)| json!({ "name": name, "repository": url })).collect();
    entries.push(json!({ "name": "mail", "repository": "git://127.0.0.1/mail" }));
    let registry = json!({ "version": "1.0", "tenants": entries }).to_string();
    scene.repository("system")?.commit("The tenants", &[("tenants/registry.json", &registry)])?;
    scene.must("bitbuilder init --repository git://127.0.0.1:9503/system")?;
    until(&scene, r#".tenants | length == 9 and all(.state == "verified")"#)?;
    let running = processes(&scene)?;
    let begun = Instant::now();
    push(&scene, "mail", "usual")?;
    assert_eq!(scene.sync("mail")?.code, 0);
    let usual = begun.elapsed();

    // Those that fail at once go bad, and everybody pushes.
    become_all(&scene, "bad")?;
    scene.must("head --bytes=300000 /dev/urandom > /srv/trees/by-half/large")?;
    let quick: Vec<&str> = names.iter().take(QUICK).copied().collect();
    let mut pushed: Vec<(&str, String)> =
        quick.iter().map(|name| Ok((*name, push(&scene, name, "second")?))).collect::<Result<_>>()?;
    let condition =
        format!(".host.unreachable and ([.tenants[] | select(.unreachable) | .tenant] | contains({}))", json!(quick));
    let shown = until(&scene, &condition)?;
    let now = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros())?;
    for (name, _, says) in &TENANTS[..QUICK] {
        let status = of(&shown, name);
        let reason = status["unreachable"].as_str().unwrap();
        println!("{name}: {reason}");
        assert!(reason.contains(says), "{name}: {reason}");
        assert_eq!((&status["state"], &status["unreachableCount"]), (&json!("verified"), &json!(1)), "{status:#}");
        let left = status["nextLookUSec"].as_u64().unwrap().saturating_sub(now);
        assert!((1..=60_000_000).contains(&left), "{name}: {left}");
    }
    assert!(shown["host"]["nextLookUSec"].as_u64().unwrap() > now, "{shown:#}");
    let text = scene.must("bitbuilder status by-refusing")?;
    assert!(text.contains("not fetched (next try in "), "{text}");

    // Who asks is not put off; polls leave the server alone, also those of a service that was started anew.
    let polled = accepted(&scene, "half")?;
    assert_eq!(scene.sync("by-half")?.code, 1);
    let asked = accepted(&scene, "half")?;
    assert!(asked > polled, "nobody asked it");
    let count = scene.status("by-half")?["unreachableCount"].as_u64().unwrap();
    assert!(count >= 2, "{count}");
    let text = scene.must("bitbuilder status by-half")?;
    assert!(text.contains(&format!("not fetched ({count} times in a row, next try in ")), "{text}");
    polls(&scene, 2)?;
    scene.must("systemctl restart bitbuilder-orchestrator.service")?;
    polls(&scene, 2)?;
    assert_eq!(accepted(&scene, "half")?, asked, "it is polled");
    assert_eq!(scene.status("by-half")?["unreachableCount"], json!(count));

    // Others hang: a push to a server that is well goes through meanwhile, and is seen by polling as ever.
    scene.must("touch /run/hang")?;
    let hanging = [("by-silent", "silent"), ("by-hanging", "hangs")];
    let before = [accepted(&scene, "silent")?, accepted(&scene, "hangs")?];
    for (name, _) in hanging {
        pushed.push((name, push(&scene, name, "second")?));
    }
    for ((_, socket), before) in hanging.into_iter().zip(before) {
        await_accepted(&scene, socket, before + 1)?;
    }
    let begun = Instant::now();
    let third = push(&scene, "mail", "third")?;
    assert_eq!(scene.sync("mail")?.code, 1, "the system repository could not be fetched");
    println!("another tenant's push took {:?}, and usually {usual:?}", begun.elapsed());
    assert!(begun.elapsed() < usual * 4 + Duration::from_secs(5), "{:?} in place of {usual:?}", begun.elapsed());
    assert_eq!(scene.status("mail")?["verified"], json!(third));
    let fourth = push(&scene, "mail", "fourth")?;
    scene.await_status(&format!("\"verified\":\"{fourth}\""))?;
    assert_eq!(processes(&scene)?, running, "a tenant was disturbed");

    // Nobody has to do anything when the servers are well again. Who hangs goes on hanging until his time is over.
    become_all(&scene, "good")?;
    for (name, _) in hanging {
        let shown = until(&scene, &format!(r#"any(.tenants[]; .tenant == "{name}" and .unreachable)"#))?;
        let reason = of(&shown, name)["unreachable"].as_str().unwrap();
        println!("{name}: {reason}");
        assert!(reason.contains("it has not answered within 15 s"), "{name}: {reason}");
    }
    let shown = until(
        &scene,
        r#"(.host.unreachable == null) and (.tenants | all(.state == "verified" and .unreachable == null and .verified == .wanted))"#,
    )?;
    for (name, revision) in &pushed {
        let status = of(&shown, name);
        assert_eq!(status["verified"], json!(revision), "{status:#}");
        assert_eq!((&status["unreachableCount"], &status["nextLookUSec"]), (&json!(0), &json!(null)), "{status:#}");
    }
    Ok(())
}
