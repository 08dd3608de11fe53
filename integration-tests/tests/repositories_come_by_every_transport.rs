//! Repositories behind git-daemon, TLS, sshd and a path, with the credentials that each server wants, which nobody else sees.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use anyhow::Result;
use integration_tests::{Scene, manifest};
use serde_json::json;
use test_host::Host;

const CANARY: &str = "canary-4f1e9b";

/// A certificate authority of one's own, a web server behind TLS that asks for a login, and an SSH server.
const SERVERS: &str = r#"
set -e
echo '127.0.0.1 git.test other.test' >> /etc/hosts
mkdir -p /srv/tls /srv/ssh /srv/www && cd /srv/tls
openssl req -quiet -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.pem 2>/dev/null
certificate() {
    openssl req -quiet -newkey rsa:2048 -nodes -subj "/CN=$1" -addext "subjectAltName=DNS:$1" -keyout $1.key -out $1.csr 2>/dev/null
    openssl x509 -req -in $1.csr -CA ca.pem -CAkey ca.key -copy_extensions copy "${@:2}" -out $1.crt 2>/dev/null
    cat $1.key $1.crt > $1.pem
}
certificate git.test -days 2
certificate other.test -not_before 20200101000000Z -not_after 20200201000000Z
echo 'tester:canary-4f1e9b' > users
cat > lighttpd.conf <<'CONF'
server.document-root = "/srv/www"
server.port = 443
server.bind = "127.0.0.1"
server.modules = ("mod_openssl", "mod_auth", "mod_authn_file", "mod_alias", "mod_setenv", "mod_cgi")
ssl.engine = "enable"
ssl.pemfile = "/srv/tls/git.test.pem"
$HTTP["host"] == "other.test" { ssl.pemfile = "/srv/tls/other.test.pem" }
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
         cp /srv/ssh/deploy bitbuilder.ssh-key && cp /srv/ssh/known bitbuilder.ssh-known-hosts.by-ssh
         systemctl stop bitbuilder-git-sync"
    ))?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 1);
    for name in ["by-https", "by-login", "by-ssh"] {
        scene.expect_state(name, "verified")?;
    }
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

    let told = scene.must(&format!(
        "journalctl --output=export | grep --text --count '{CANARY}' || true
         grep --recursive --text --files-with-matches '{CANARY}' /var/lib/bitbuilder /run/bitbuilder /run/systemd/system || true"
    ))?;
    assert_eq!(told.trim(), "0", "a secret was told");
    Ok(())
}
