//! A repository with mirrors on real servers: one that dies, comes back, is behind or forged, and credentials that stay
//! with the server that they are meant for.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use anyhow::Result;
use integration_tests::{Scene, manifest};
use serde_json::{Value, json};
use test_host::Host;

/// A second Git server, for the repositories in /srv/mirror.
const MIRROR: &str = "
mkdir -p /srv/mirror && cd /etc/systemd/system
sed 's/:9418/:9419/' git-daemon.socket > git-mirror.socket && sed 's,/srv/git,/srv/mirror,g' git-daemon@.service > git-mirror@.service
systemctl daemon-reload && systemctl start git-mirror.socket";

/// Makes a copy of a repository, as it is now.
fn copy(scene: &Scene, name: &str) -> Result<()> {
    scene
        .must(&format!("rm -rf /srv/mirror/{name} && git clone --quiet --mirror /srv/git/{name} /srv/mirror/{name}"))
        .map(drop)
}

/// The states of the servers, as they are named.
fn states(status: &Value) -> Vec<String> {
    let remotes = status["remotes"].as_array().unwrap();
    remotes.iter().map(|remote| remote["state"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_mirror_stands_in_until_the_repository_is_back() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    scene.must(MIRROR)?;
    let web = scene.repository("web")?;
    let first = web.commit("First", &[("metadata.json", &manifest("web", &[], &json!({})))])?;
    let entry = json!({ "name": "web", "repository": "git://127.0.0.1/web", "mirrors": ["git://127.0.0.1:9419/web"] });
    let registry = json!({ "version": "1.0", "tenants": [entry] }).to_string();
    let system = scene.repository("system")?;
    system.commit("The tenants", &[("tenants/registry.json", &registry)])?;
    for name in ["web", "system"] {
        copy(&scene, name)?;
    }
    scene.must("bitbuilder init --repository git://127.0.0.1/system --mirror git://127.0.0.1:9419/system")?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    let shown = |state: &str| -> Result<(String, Vec<String>)> {
        let status = scene.expect_state("web", state)?;
        Ok((status["verified"].as_str().unwrap_or_default().to_owned(), states(&status)))
    };
    let are = |revision: &str, states: [&str; 2]| (revision.to_owned(), states.map(str::to_owned).to_vec());
    assert_eq!(shown("verified")?, are(&first, ["used", "spare"]));

    // The mirror is behind, and the repository dies: nothing changes.
    let second = web.commit("Second", &[("note", "2")])?;
    assert_eq!(scene.sync("web")?.code, 0);
    scene.must("systemctl stop git-daemon.socket")?;
    assert_eq!(scene.sync("web")?.code, 0);
    assert_eq!(shown("verified")?, are(&second, ["away", "behind"]));
    let status = scene.status("web")?;
    assert_eq!((&status["wanted"], &status["unreachable"]), (&json!(second), &Value::Null));
    let said = scene.must("bitbuilder status web")?;
    assert!(said.contains("git://127.0.0.1/web       away") && said.contains("an older state"), "{said}");

    // A push to the mirror alone arrives.
    let push = "commit --quiet --allow-empty --message=Next && git push --quiet";
    web.git(&format!("{push} /srv/mirror/web HEAD:main"))?;
    let third = web.git("rev-parse HEAD")?.trim().to_owned();
    assert_eq!(scene.sync("web")?.code, 0);
    assert_eq!(shown("verified")?, are(&third, ["away", "used"]));

    // One that shows another history is refused, and what runs stays.
    scene.must(
        "mv /srv/mirror/web /srv/aside && git init --quiet --bare --initial-branch=main /srv/mirror/web
         git clone --quiet /srv/mirror/web /srv/trees/forged 2>/dev/null && cd /srv/trees/forged && cp ../web/metadata.json . && git add .
         git -c user.name=Eve -c user.email=eve@example.org commit --quiet --message=Evil && git push --quiet origin HEAD:main",
    )?;
    assert_eq!(scene.sync("web")?.code, 3);
    assert_eq!(shown("refused")?, are(&third, ["away", "refused"]));
    let status = scene.status("web")?;
    assert!(status["reason"].as_str().unwrap().contains("as its mirror git://127.0.0.1:9419/web shows it"), "{status}");
    scene.must("rm -r /srv/mirror/web && mv /srv/aside /srv/mirror/web")?;

    // The registry comes from its mirror as well.
    system.git(&format!("{push} /srv/mirror/system HEAD:main"))?;
    scene.bitbuilder(&["sync", "system", "--wait"])?;
    let next = system.git("rev-parse HEAD")?;
    let host = scene.call("Orchestrator", "Describe", &json!({}))?["host"].take();
    assert_eq!((host["revision"].as_str().unwrap().to_owned(), states(&host)), are(next.trim(), ["away", "used"]));
    scene.must("bitbuilder status | grep 'git://127.0.0.1/system is away'")?;

    // The repository is back: the polls notice, although nobody asks and the mirror works.
    scene.must("systemctl start git-daemon.socket")?;
    let fourth = web.commit("Fourth", &[("note", "4")])?;
    scene.await_status(&format!("\"verified\":\"{fourth}\""))?;
    assert_eq!(shown("verified")?, are(&fourth, ["used", "spare"]));

    // A mirror takes the repository's place: what held there still has to.
    let moved = json!({ "name": "web", "repository": "git://127.0.0.1:9419/web", "mirrors": ["git://127.0.0.1/web"] });
    let moved = json!({ "version": "1.0", "tenants": [moved] }).to_string();
    system.commit("Moved", &[("tenants/registry.json", &moved)])?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    assert_eq!(shown("verified")?, are(&fourth, ["behind", "used"]));
    assert_eq!(scene.status("web")?["floor"], json!(fourth));
    Ok(())
}

/// Two web servers, each with an authority and a login of its own, and all that they are told in their logs.
const SERVERS: &str = r#"
set -e
echo '127.0.0.1 one.test two.test' >> /etc/hosts
mkdir -p /srv/tls /srv/www && cd /srv/tls
serve() {
    openssl req -quiet -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=authority of $1" -keyout $1.ca.key -out $1.ca.pem 2>/dev/null
    openssl req -quiet -newkey rsa:2048 -nodes -subj "/CN=$1" -addext "subjectAltName=DNS:$1" -keyout $1.key -out $1.csr 2>/dev/null
    openssl x509 -req -in $1.csr -CA $1.ca.pem -CAkey $1.ca.key -copy_extensions copy -days 2 -out $1.crt 2>/dev/null
    cat $1.key $1.crt > $1.pem
    echo "$1:canary-$1" > $1.users
    cat > $1.conf <<CONF
server.document-root = "/srv/www"
server.port = $2
server.bind = "127.0.0.1"
server.modules = ("mod_openssl", "mod_auth", "mod_authn_file", "mod_alias", "mod_setenv", "mod_accesslog", "mod_cgi")
accesslog.filename = "/srv/tls/$1.log"
accesslog.format = "%r %s authorization=%{Authorization}i"
ssl.engine = "enable"
ssl.pemfile = "/srv/tls/$1.pem"
auth.backend = "plain"
auth.backend.plain.userfile = "/srv/tls/$1.users"
auth.require = ("/" => ("method" => "basic", "realm" => "git", "require" => "valid-user"))
alias.url = ("/" => "/usr/lib/git-core/git-http-backend/")
setenv.add-environment = ("GIT_PROJECT_ROOT" => "$3", "GIT_HTTP_EXPORT_ALL" => "1")
cgi.assign = ("" => "")
CONF
    systemd-run --quiet --unit=web-$1 --property=Type=exec lighttpd -D -f /srv/tls/$1.conf
    until curl --silent --cacert $1.ca.pem --output /dev/null https://$1:$2/; do read -t 0.1 < /dev/zero || :; done
}
serve one.test 443 /srv/git
serve two.test 8443 /srv/mirror
"#;

#[test]
fn what_one_server_may_know_never_reaches_another() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    scene.must("mkdir /srv/mirror")?;
    scene.must(SERVERS)?;
    let web = scene.repository("web")?;
    web.commit("First", &[("metadata.json", &manifest("web", &[], &json!({})))])?;
    let entry =
        json!({ "name": "web", "repository": "https://one.test/web", "mirrors": ["https://two.test:8443/web"] });
    let registry = json!({ "version": "1.0", "tenants": [entry] }).to_string();
    scene.repository("system")?.commit("The tenants", &[("tenants/registry.json", &registry)])?;
    scene.must(
        "mkdir -p -m 700 /etc/credstore && cd /etc/credstore && umask 077 && cp /srv/tls/one.test.ca.pem bitbuilder.ca.web
         cp /srv/tls/one.test.users bitbuilder.https-login.web && sed 's,.*,https://&@one.test,' /srv/tls/one.test.users >bitbuilder.https-login
         systemctl stop bitbuilder-git-sync && bitbuilder init --repository git://127.0.0.1/system",
    )?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    copy(&scene, "web")?;
    scene.must("systemctl stop web-one.test")?;
    let away = |hint: &str| -> Result<()> {
        assert_eq!(scene.sync("web")?.code, 1);
        let status = scene.expect_state("web", "verified")?;
        assert_eq!(states(&status), ["away", "away"]);
        let reason = status["remotes"][1]["reason"].as_str().unwrap().to_lowercase();
        assert!(reason.contains(hint), "{reason}");
        Ok(())
    };
    // The first server's authority vouches for that server alone, and its login goes nowhere else.
    away("certificate")?;
    let add = |file: &str, name: &str| {
        scene
            .must(&format!("cp /srv/tls/{file} /etc/credstore/bitbuilder.{name} && systemctl stop bitbuilder-git-sync"))
    };
    add("two.test.ca.pem", "ca@two.test+8443")?;
    away("asks for a user and password")?;
    add("two.test.users", "https-login.web@two.test+8443")?;
    assert_eq!(scene.sync("web")?.code, 0);
    assert_eq!(states(&scene.expect_state("web", "verified")?), ["away", "used"]);
    let told = scene.must(
        "systemctl stop web-two.test && cd /srv/tls && for login in one two; do for log in one two; do
             word=$(tr -d '\\n' < $login.test.users | base64 --wrap=0)
             grep --quiet --fixed-strings \"$word\" $log.test.log && echo \"$login told to $log\"
         done; done; true",
    )?;
    assert_eq!(told, "one told to one\ntwo told to two\n");
    Ok(())
}
