//! Repositories behind git-daemon, TLS, sshd and a path, with the credentials that each server wants, which nobody else sees.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use anyhow::Result;
use integration_tests::{Scene, manifest};
use serde_json::{Value, json};
use test_host::Host;

const CANARY: &str = "canary-4f1e9b";

/// A certificate authority of one's own, a web server behind TLS that asks for a login, and an SSH server.
const SERVERS: &str = r#"
set -e
echo '127.0.0.1 git.test other.test thief.test' >> /etc/hosts
mkdir -p /srv/tls /srv/ssh /srv/www && cd /srv/tls
openssl req -quiet -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.pem 2>/dev/null
certificate() {
    openssl req -quiet -newkey rsa:2048 -nodes -subj "/CN=$1" -addext "subjectAltName=DNS:$1" -keyout $1.key -out $1.csr 2>/dev/null
    openssl x509 -req -in $1.csr -CA ca.pem -CAkey ca.key -copy_extensions copy "${@:2}" -out $1.crt 2>/dev/null
    cat $1.key $1.crt > $1.pem
}
certificate git.test -days 2
certificate thief.test -days 2
certificate other.test -not_before 20200101000000Z -not_after 20200201000000Z
echo 'tester:canary-4f1e9b' > users
cat > lighttpd.conf <<'CONF'
server.document-root = "/srv/www"
server.port = 443
server.bind = "127.0.0.1"
server.modules = ("mod_openssl", "mod_accesslog", "mod_auth", "mod_authn_file", "mod_redirect", "mod_alias", "mod_setenv", "mod_cgi")
ssl.engine = "enable"
ssl.pemfile = "/srv/tls/git.test.pem"
$HTTP["host"] == "other.test" { ssl.pemfile = "/srv/tls/other.test.pem" }
$HTTP["host"] == "thief.test" { ssl.pemfile = "/srv/tls/thief.test.pem" }
# Whoever asks is sent to another server, also who has shown a login.
url.redirect = ("^/(private/)?away/(.*)" => "https://thief.test/private/$2")
accesslog.filename = "/srv/tls/log"
accesslog.format = "%V %s %U %{Authorization}i"
auth.backend = "plain"
auth.backend.plain.userfile = "/srv/tls/users"
auth.require = ("/private/" => ("method" => "basic", "realm" => "git", "require" => "valid-user"))
alias.url = ("/private/" => "/usr/lib/git-core/git-http-backend/", "/" => "/usr/lib/git-core/git-http-backend/")
setenv.add-environment = ("GIT_PROJECT_ROOT" => "/srv/git", "GIT_HTTP_EXPORT_ALL" => "1")
cgi.assign = ("" => "")
CONF
systemd-run --quiet --unit=web-server --property=Type=exec lighttpd -D -f /srv/tls/lighttpd.conf
cd /srv/ssh
ssh-keygen -q -t ed25519 -N '' -f host && ssh-keygen -q -t ed25519 -N '' -C canary-4f1e9b -f deploy
echo "restrict,command=\"git-upload-pack '/srv/git/by-ssh'\" $(cat deploy.pub)" > authorized
chmod 600 authorized && mkdir -p /run/sshd
systemd-run --quiet --unit=ssh-server --property=Type=exec /usr/sbin/sshd -D -e -p 2222 -h /srv/ssh/host -o ListenAddress=127.0.0.1 \
    -o AuthorizedKeysFile=/srv/ssh/authorized -o StrictModes=no -o UsePAM=no -o PasswordAuthentication=no
until curl --silent --cacert /srv/tls/ca.pem --output /dev/null https://git.test/; do read -t 0.1 < /dev/zero || :; done
until ssh-keyscan -p 2222 127.0.0.1 > /srv/ssh/known 2>/dev/null && test -s /srv/ssh/known; do read -t 0.1 < /dev/zero || :; done
"#;

#[test]
fn each_transport_brings_a_tenant_and_no_secret_is_told() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    scene.must(SERVERS)?;
    let tenants = [
        ("by-git", "git://127.0.0.1/by-git"),
        ("by-file", "file:///srv/git/by-file"),
        ("by-https", "https://git.test/by-https"),
        ("by-login", "https://git.test/private/by-login"),
        // Its login is on a line for that server.
        ("by-line", "https://git.test/private/by-line"),
        ("by-thief", "https://thief.test/private/by-thief"),
        ("by-redirect", "https://git.test/away/by-redirect"),
        ("by-moved", "https://git.test/private/away/by-moved"),
        ("by-ssh", "ssh://root@127.0.0.1:2222/srv/git/by-ssh"),
        ("by-expired", "https://other.test/by-expired"),
    ];
    for (name, _) in tenants {
        scene.repository(name)?.commit("First", &[("metadata.json", &manifest(name, &[], &json!({})))])?;
    }
    let entries: Vec<_> = tenants.iter().map(|(name, url)| json!({ "name": name, "repository": url })).collect();
    let registry = json!({ "version": "1.0", "tenants": entries }).to_string();
    scene.repository("system")?.commit("The tenants", &[("tenants/registry.json", &registry)])?;
    scene.must("bitbuilder init --repository git://127.0.0.1/system")?;

    // Without credentials two come, and the others say what they lack.
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 1);
    for name in ["by-git", "by-file"] {
        scene.expect_state(name, "verified")?;
    }
    let unreachable = |name: &str| -> Result<String> {
        Ok(scene.expect_state(name, "pending")?["unreachable"].as_str().unwrap_or_default().to_owned())
    };
    assert!(unreachable("by-https")?.to_lowercase().contains("certificate"), "{}", unreachable("by-https")?);
    assert!(
        unreachable("by-ssh")?.contains("/etc/credstore/bitbuilder.ssh-known-hosts.by-ssh"),
        "{}",
        unreachable("by-ssh")?
    );

    scene.must(&format!(
        "mkdir -p -m 700 /etc/credstore && cd /etc/credstore && umask 077
         cp /srv/tls/ca.pem bitbuilder.ca && echo 'tester:{CANARY}' > bitbuilder.https-login.by-login
         echo 'https://tester:{CANARY}@git.test' > bitbuilder.https-login
         cp /srv/ssh/deploy bitbuilder.ssh-key && cp /srv/ssh/known bitbuilder.ssh-known-hosts.by-ssh
         systemctl stop bitbuilder-git-sync"
    ))?;
    watch(&scene)?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 1);
    for name in ["by-https", "by-login", "by-line", "by-ssh"] {
        scene.expect_state(name, "verified")?;
    }
    is_seen_nowhere(&scene)?;
    // A server that nobody gave a login for asks for one, of its own and after a redirect.
    for name in ["by-thief", "by-redirect", "by-moved"] {
        let why = unreachable(name)?;
        assert!(!why.is_empty(), "{name}");
        println!("{name}: {why}");
    }
    // The server keeps the last lines of its log to itself until it ends.
    let log = scene.must(
        "systemctl restart web-server
         until curl --silent --cacert /srv/tls/ca.pem --output /dev/null https://git.test/; do read -t 0.1 < /dev/zero || :; done
         cat /srv/tls/log",
    )?;
    let told = |host: &str| log.lines().filter(|line| line.starts_with(host) && line.contains(" Basic ")).count();
    assert!(log.lines().any(|line| line.starts_with("thief.test 401 ") && line.contains("/by-redirect/")), "{log}");
    assert!(log.lines().any(|line| line.starts_with("git.test 30") && line.contains(" Basic ")), "{log}");
    assert_eq!(told("thief.test"), 0, "a login was told to another server\n{log}");
    assert!(unreachable("by-expired")?.to_lowercase().contains("expired"), "{}", unreachable("by-expired")?);

    // Somebody else answers in the server's place, or the password is another.
    scene.must(&format!(
        "cd /etc/credstore && ssh-keygen -q -t ed25519 -N '' -f /srv/ssh/evil
         echo \"[127.0.0.1]:2222 $(cut -d' ' -f1,2 /srv/ssh/evil.pub)\" > bitbuilder.ssh-known-hosts.by-ssh
         echo 'tester:{CANARY}-wrong' > bitbuilder.https-login.by-login
         systemctl stop bitbuilder-git-sync"
    ))?;
    for name in ["by-ssh", "by-login"] {
        scene.sync(name)?;
        let status = scene.expect_state(name, "verified")?;
        assert!(status["unreachable"].is_string(), "{name} was fetched: {status}");
    }

    // A login that says nobody's name is refused with the way out, and is not shown.
    scene.must(&format!(
        "echo 'tester:{CANARY}' > /etc/credstore/bitbuilder.https-login && systemctl stop bitbuilder-git-sync"
    ))?;
    scene.sync("by-line")?;
    let why = unreachable_of(&scene.status("by-line")?);
    assert!(why.contains("line 1 of bitbuilder.https-login is not https://USER:PASSWORD@HOST"), "{why}");

    assert_eq!(scene.must("bash /srv/look")?, "/var/tmp/planted\n", "a secret was told");
    Ok(())
}

fn unreachable_of(status: &Value) -> String {
    status["unreachable"].as_str().unwrap_or_default().to_owned()
}

/// The secrets: the lines of the key, the login, and the login as it goes over the wire.
const WORDS: &str = r#"
{ awk 'length >= 40 && !/-----/' /srv/ssh/deploy; echo canary-4f1e9b; printf tester:canary-4f1e9b | base64; } > /srv/words
test "$(wc -l < /srv/words)" -ge 5
"#;

/// Looks for them, where what is planted is found, so that nothing else found means something.
const LOOK: &str = r#"
export LC_ALL=C
tail -n 1 /srv/words | systemd-cat --identifier=planted
journalctl --sync
head -n 1 /srv/words > /var/tmp/planted
grep --recursive --text --files-with-matches --fixed-strings --file=/srv/words /var/lib/bitbuilder /run/bitbuilder /run/systemd/system /var/tmp
rm /var/tmp/planted
journalctl --no-pager --all --output=export --identifier=planted | grep --text --quiet --fixed-strings --file=/srv/words || echo "what is planted in the journal is not found"
journalctl --no-pager --all --output=json | jq --raw-output 'select(.SYSLOG_IDENTIFIER != "planted") | tostring' | grep --text --fixed-strings --file=/srv/words
true
"#;

/// Writes down which programs of this host are run, and which of them have a secret among their words or in their environment.
const WATCHER: &str = r#"
import os
words = [word.encode() for word in open("/srv/words").read().split()]
run, telling, rounds = set(), set(), 0
def read(pid, what):
    try:
        return open(f"/proc/{pid}/{what}", "rb").read()
    except OSError:
        return b""
while not os.path.exists("/run/watched"):
    for pid in filter(str.isdigit, os.listdir("/proc")):
        said = read(pid, "cmdline") + b" " + read(pid, "environ")
        name = read(pid, "comm").decode().strip()
        run.add(name)
        # The server is told the login, and tells it to its own programs.
        if b"/web-server.service" not in read(pid, "cgroup") and any(word in said for word in words):
            telling.add(name)
    rounds += 1
    if rounds == 1:
        open("/run/watching", "w")
with open("/run/saw.new", "w") as file:
    print(*sorted(run), file=file)
    print(*sorted(telling), file=file)
os.rename("/run/saw.new", "/run/saw")
"#;

/// Begins to watch, with a process that has a secret in its environment.
fn watch(scene: &Scene) -> Result<()> {
    scene.host.write("/srv/look", LOOK)?;
    scene.host.write("/srv/watcher.py", WATCHER)?;
    scene.must(WORDS)?;
    scene.must(
        "systemd-run --quiet --unit=planted bash -c 'export WORD=$(head -n 1 /srv/words); exec tail --follow /dev/null'
         systemd-run --quiet --unit=watcher --property=Type=exec python3 /srv/watcher.py
         until test -e /run/watching || systemctl --quiet is-failed watcher; do read -t 0.1 < /dev/zero || :; done",
    )?;
    Ok(())
}

fn is_seen_nowhere(scene: &Scene) -> Result<()> {
    let saw = scene
        .must("touch /run/watched; until test -e /run/saw; do read -t 0.1 < /dev/zero || :; done; cat /run/saw")?;
    let mut lines = saw.lines();
    let run: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
    assert!(["git-sync", "ssh"].iter().all(|name| run.contains(name)), "it was not watched: {run:?}");
    assert_eq!(lines.next(), Some("tail"), "a secret was among the words or in the environment of a program");
    scene.must("systemctl stop planted")?;
    Ok(())
}
