//! A value is sealed by somebody who has nothing but the host's recipient, pushed, and read by the tenant's service; and it is
//! nowhere else, whatever is copied, renamed, cut off, rotated, rebooted or killed.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use anyhow::Result;
use integration_tests::{Registration, Repository, Scene, manifest};
use serde_json::{Value, json};
use test_host::Host;

const CANARY: &str = "canary-5d1f0c7be9";
const SEALED: &str = "secrets/sealed-secrets.yaml";
/// Writes what it was given, as nobody could guess it from, into the tenant's data.
const UNIT: &str = "[Service]\nLoadCredential=token\nExecStartPre=/bin/sh -c 'sha256sum <$${CREDENTIALS_DIRECTORY}/token >/srv/data/seen'\nExecStart=sleep infinity\n";
/// A recipient whose secret half nobody here has.
const STRANGER: &str = "age1lggyhqrw2nlhcxprm67z43rta597azn8gknawjehu9d9dl0jq3yqqvfafg";
/// Looks for the words of a file, so that they are in no argument of those who look.
const LOOK: &str = r#"
export LC_ALL=C
journalctl --sync
cp /srv/words /var/tmp/planted
found() { grep --text --files-with-matches --fixed-strings --devices=skip --file=/srv/words "$@" 2>/dev/null; }
# What an image ships is older than the value.
found --recursive --exclude-dir=machines --exclude-dir=usr /var /etc /srv/git /tmp
# Not what is mounted below: credentials, and the test host's view of the machine that it runs on.
export -f found
find /run -xdev -type f -print0 | xargs --null bash -c 'found /dev/null "$@"' found
rm /var/tmp/planted
{
    journalctl --no-pager --all --output=export
    journalctl --no-pager --all --output=export --directory=/var/lib/tenants/web/root/var/log/journal
    cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ
    bitbuilder history --json
    bitbuilder status web --json
} 2>/dev/null | grep --text --fixed-strings --file=/srv/words
true
"#;

/// What a value's `UNIT` writes.
fn digest(scene: &Scene, value: &str) -> Result<String> {
    scene.must(&format!("printf %s '{value}' | sha256sum"))
}

fn tenant<'a>(scene: &'a Scene, name: &str) -> Result<Repository<'a>> {
    let repository = scene.repository(name)?;
    let files =
        [("metadata.json", manifest(name, &["hello.service"], &json!({}))), ("units/hello.service", UNIT.to_owned())];
    for (path, content) in files {
        scene.host.write(&format!("/srv/trees/{name}/{path}"), content)?;
    }
    Ok(repository)
}

fn scene() -> Result<Scene> {
    let scene = Scene::boot(Host::builder(""))?;
    scene.must("useradd --create-home somebody")?;
    Ok(scene)
}

/// Seals in a repository's work tree with nothing but the public recipient: as somebody whom no service answers.
fn seal(scene: &Scene, tree: &str, name: &str, value: &str, words: &str) -> Result<()> {
    scene.must(&format!("chmod -R o+rwX /srv/trees/{tree} && chmod o+x /srv /srv/trees"))?;
    scene.must(&format!(
        "cd /srv/trees/{tree} && printf %s '{value}' | setpriv --reuid=somebody --regid=somebody --clear-groups \
         bitbuilder --sockets=/absent seal {name} {words}"
    ))?;
    Ok(())
}

fn recipient(scene: &Scene) -> Result<String> {
    Ok(scene.must("bitbuilder key show")?.lines().next().unwrap().to_owned())
}

/// A tenant that has read its secret.
fn running() -> Result<(Scene, String)> {
    let scene = scene()?;
    let key = recipient(&scene)?;
    let web = tenant(&scene, "web")?;
    seal(&scene, "web", "token", CANARY, &format!("--recipient {key}"))?;
    web.commit("First", &[])?;
    scene.follow(&[Registration::new("web"), Registration::new("mail")])?;
    // The other one's repository is not there yet.
    scene.bitbuilder(&["sync", "--wait"])?;
    scene.expect_state("web", "verified")?;
    assert_eq!(seen(&scene)?, digest(&scene, CANARY)?);
    Ok((scene, key))
}

fn seen(scene: &Scene) -> Result<String> {
    scene.must("cat /var/lib/tenants/web/data/seen")
}

/// Nothing outside the credentials' own mounts holds the value, neither as it is nor as it goes over the wire; nor a key.
fn is_nowhere(scene: &Scene) -> Result<()> {
    let coded = scene.must(&format!("printf %s {CANARY} | base64"))?;
    scene.host.write("/srv/words", format!("{CANARY}\n{coded}AGE-SECRET-KEY-\n"))?;
    scene.host.write("/srv/look", LOOK)?;
    // What is planted is found, so that nothing else found means something.
    assert_eq!(scene.must("bash /srv/look")?, "/var/tmp/planted\n", "the value is not only where it should be");
    Ok(())
}

#[test]
fn the_service_reads_it_and_nobody_else_does() -> Result<()> {
    let (scene, key) = running()?;
    is_nowhere(&scene)?;
    // Inside it is where systemd puts credentials, for root alone, and in no memory that is swapped.
    let inside = scene.must("systemd-run -M web --wait --pipe --quiet sh -c 'stat -c %a:%u /run/host/credentials/token; findmnt -n -o FSTYPE /run/host/credentials'")?;
    assert_eq!(inside, "400:0\nramfs\n");
    // The next one changes it, and the plan says so.
    seal(&scene, "web", "token", "another", &format!("--recipient {key}"))?;
    let plan = scene.must("cd /srv/trees/web && bitbuilder plan --repository .")?;
    assert!(plan.contains("restart") && plan.contains("the secret token changes"), "{plan}");
    scene.open("web").commit("Second", &[])?;
    assert_eq!(scene.sync("web")?.code, 0);
    assert_eq!(seen(&scene)?, digest(&scene, "another")?);
    // Only who starts tenants opens, and nobody but the group looks.
    let as_user = |user: &str, method: &str, parameters: &Value| {
        scene.host.sh(&format!(
            "setpriv --reuid={user} --regid={user} --init-groups varlinkctl call -j /run/bitbuilder/io.bitbuilder.Secret io.bitbuilder.Secret.{method} '{parameters}'"
        ))
    };
    let nothing = json!({ "tenant": "web", "secrets": [] });
    for (user, method, allowed) in [
        ("bitbuilder", "Describe", true),
        ("bitbuilder", "Examine", true),
        ("bitbuilder", "Open", false),
        ("bitbuilder-git", "Examine", false),
        ("somebody", "Describe", false),
        ("somebody", "Open", false),
    ] {
        let parameters = if method == "Describe" { &json!({}) } else { &nothing };
        let output = as_user(user, method, parameters)?;
        assert_eq!(output.success(), allowed, "{user} {method}: {output:?}");
        assert!(allowed || output.stderr.contains("Permission denied"), "{output:?}");
    }
    // The one process that has the key: a user of its own, without a capability, that cannot be dumped.
    scene
        .must("bitbuilder key show && systemd-analyze security --no-pager --threshold=10 bitbuilder-secret.service")?;
    for unit in ["bitbuilder-secret-key", "bitbuilder-secret-rotate", "bitbuilder-secret-retire@x"] {
        scene.must(&format!("systemd-analyze security --no-pager --threshold=20 {unit}.service"))?;
    }
    let process = scene.must("pid=$(systemctl show -p MainPID --value bitbuilder-secret.service); grep -e CapBnd /proc/$pid/status; stat -c %U /proc/$pid/root; stat -c %a:%U /etc/credstore.encrypted/bitbuilder-secret.*")?;
    assert_eq!(process, "CapBnd:\t0000000000000000\nroot\n600:root\n", "not dumpable is shown by root's ownership");
    Ok(())
}

#[test]
fn what_cannot_be_opened_is_refused_by_its_name_and_place() -> Result<()> {
    let (scene, key) = running()?;
    let first = scene.status("web")?["verified"].clone();
    let started = "systemctl show bitbuilder-container@web.service -p MainPID -p ActiveEnterTimestampMonotonic";
    let before = scene.must(started)?;
    let good = scene.must(&format!("cat /srv/trees/web/{SEALED}"))?;

    let mail = tenant(&scene, "mail")?;
    mail.commit("Copied", &[(SEALED, &good)])?;
    assert_eq!(scene.sync("mail")?.code, 3);
    let reason = scene.status("mail")?["reason"].as_str().unwrap().to_owned();
    let told = "mail:secrets/sealed-secrets.yaml:4:11";
    assert!(
        reason.contains("the secret token of mail") && reason.contains("for another tenant") && reason.contains(told),
        "{reason}"
    );
    scene.must("! machinectl show mail && ! test -e /var/lib/tenants/mail")?;

    scene.host.write("/srv/trees/web/secrets/recipient", format!("# nobody's\n{STRANGER}\n"))?;
    seal(&scene, "web", "token", CANARY, "")?;
    let wrong_key = scene.must(&format!("cat /srv/trees/web/{SEALED}"))?;
    let last = good.lines().rev().nth(1).unwrap().trim();
    let truncated = good.replace(&format!("      {last}\n"), "");
    let changed = good.replace(last, &format!("{}{}", if last.starts_with('A') { 'B' } else { 'A' }, &last[1..]));
    for (content, why) in [
        (&wrong_key, "not sealed to a key of this host"),
        (&good.replace("name: token", "name: token2"), "under another name"),
        (&truncated, "cut off or was changed"),
        (&changed, "cut off or was changed"),
        (&good.replace("-----BEGIN AGE", "-----BEGIN PGP"), "this is no sealed value"),
        (&good.replace("name: token", "name: ../token"), "is not a secret's name"),
    ] {
        scene.open("web").commit("Bad", &[(SEALED, content)])?;
        assert_eq!(scene.sync("web")?.code, 3, "{why}");
        let status = scene.expect_state("web", "refused")?;
        let reason = status["reason"].as_str().unwrap();
        assert!(reason.contains(why) && reason.contains("web:secrets/sealed-secrets.yaml:"), "{why}\n{reason}");
        assert_eq!(status["verified"], first, "{why}");
        assert!(!reason.contains(CANARY) && !reason.contains("YWdlLWVuY3J5"), "{reason}");
    }
    // The plan before a push says the same.
    scene.host.write(&format!("/srv/trees/web/{SEALED}"), &wrong_key)?;
    let plan = scene.host.sh("cd /srv/trees/web && bitbuilder plan --repository .")?;
    assert!(plan.code == 3 && plan.stdout.contains("the secret token of web cannot be opened"), "{plan:?}");
    assert_eq!(scene.must(started)?, before, "the tenant was touched");

    // What the host does is nobody's refusal: it is said, and made good by itself.
    seal(&scene, "web", "token", "again", &format!("--recipient {key}"))?;
    scene.must("systemctl mask --runtime --now bitbuilder-secret.socket bitbuilder-secret.service")?;
    let fixed = scene.open("web").commit("Good", &[])?;
    assert_eq!(scene.sync("web")?.code, 1, "what the host did not find out counts as done");
    let status = scene.status("web")?;
    assert!(
        status["unconverged"].as_str().unwrap().contains("whether its secrets can be opened is not known"),
        "{status:#}"
    );
    assert_eq!((&status["verified"], scene.must(started)?), (&first, before));
    scene.must("systemctl unmask --runtime bitbuilder-secret.socket bitbuilder-secret.service && systemctl start bitbuilder-secret.socket")?;
    assert_eq!(scene.sync("web")?.code, 0);
    let status = scene.expect_state("web", "verified")?;
    assert_eq!((&status["verified"], &status["unconverged"]), (&json!(fixed), &json!(null)));
    assert_eq!(seen(&scene)?, digest(&scene, "again")?);
    is_nowhere(&scene)
}

#[test]
fn keys_are_rotated_and_retired() -> Result<()> {
    let (scene, old) = running()?;
    let started = "systemctl show bitbuilder-container@web.service -p MainPID";
    let before = scene.must(started)?;
    scene.host.write("/srv/trees/web/secrets/recipient", format!("{old}\n"))?;
    let keys = scene.must("bitbuilder key rotate")?;
    let [new, second] = keys.lines().collect::<Vec<_>>()[..] else { panic!("two keys: {keys}") };
    assert!(second == old && new != old);
    assert_eq!(scene.must(started)?, before, "the tenant was touched");
    // The old one goes on opening, and stays as long as it is needed.
    let early = scene.host.sh(&format!("bitbuilder key retire {old}"))?;
    assert!(
        early.code == 1 && early.stderr.contains("is still needed, by web at") && early.stderr.contains("token"),
        "{early:?}"
    );
    let stranger = scene.host.sh(&format!("bitbuilder key retire {STRANGER}"))?;
    assert!(stranger.code == 1, "{stranger:?}");
    scene.must("cd /srv/trees/web && bitbuilder seal --rewrap")?;
    assert_eq!(scene.must("cat /srv/trees/web/secrets/recipient")?, format!("{new}\n"));
    scene.open("web").commit("Rewrapped", &[])?;
    assert_eq!(scene.sync("web")?.code, 0);
    assert_eq!(seen(&scene)?, digest(&scene, CANARY)?);
    assert_eq!(scene.must(&format!("bitbuilder key retire {old}"))?, format!("{new}\n"));
    let last = scene.host.sh(&format!("bitbuilder key retire {new}"))?;
    assert!(last.code == 1 && last.stderr.contains("the only key"), "{last:?}");
    scene.must("rm /var/lib/tenants/web/data/seen && systemctl restart bitbuilder-container@web.service")?;
    assert_eq!(seen(&scene)?, digest(&scene, CANARY)?);
    is_nowhere(&scene)
}

#[test]
fn it_is_there_after_a_reboot_without_a_git_server_and_whatever_is_killed() -> Result<()> {
    let (scene, key) = running()?;
    scene.must("systemctl disable --now git-daemon.socket && rm /var/lib/tenants/web/data/seen")?;
    scene.host.reboot()?;
    assert!(!scene.host.sh("systemctl is-active git-daemon.socket")?.success(), "the Git server should be away");
    assert_eq!(scene.sync("web")?.code, 1, "nobody fetched anything");
    assert_eq!(seen(&scene)?, digest(&scene, CANARY)?);
    assert_eq!(recipient(&scene)?, key, "another key was made");

    // Without the orchestrator: the tenant's unit alone starts it with its secret.
    scene.must("systemctl stop bitbuilder-orchestrator.service bitbuilder-orchestrator.socket && rm /var/lib/tenants/web/data/seen && systemctl restart bitbuilder-container@web.service")?;
    assert_eq!(seen(&scene)?, digest(&scene, CANARY)?);
    scene.must("systemctl start bitbuilder-orchestrator.socket bitbuilder-orchestrator.service git-daemon.socket")?;
    // The host is told that its Git server is back; the other tenant still has no repository.
    scene.bitbuilder(&["sync", "system", "--wait"])?;

    // Killed while it is asked, over and over: the tenant starts.
    for _ in 0..5 {
        scene.must(
            "systemctl stop bitbuilder-secret.service; rm -f /var/lib/tenants/web/data/seen
             cursor=$(journalctl --lines=1 --output=cat --show-cursor | sed -n 's/^-- cursor: //p')
             exec 3< <(exec journalctl --follow --output=cat --after-cursor=\"$cursor\" --unit=bitbuilder-secret.service)
             systemctl restart bitbuilder-container@web.service & restart=$!
             while read -r -t 20 -u 3 line; do case $line in *Started*) break;; esac; done
             systemctl kill --signal=KILL bitbuilder-secret.service; exec 3<&-; wait $restart || true",
        )?;
        assert_eq!(scene.sync("web")?.code, 0);
        assert_eq!(seen(&scene)?, digest(&scene, CANARY)?);
    }

    // A key that was half made when the power went is made anew, and whole.
    scene.must(
        "systemctl stop bitbuilder-secret.service && rm /etc/credstore.encrypted/bitbuilder-secret.* && echo half >/etc/credstore.encrypted/.bitbuilder-secret.new",
    )?;
    assert_ne!(recipient(&scene)?, key);
    assert_eq!(scene.must("ls -A /etc/credstore.encrypted | wc -l")?, "1\n");
    // What it never had a key for is refused, and not for the tenant's fault taken back.
    let lost = scene.host.sh("systemctl restart bitbuilder-container@web.service")?;
    assert!(!lost.success());
    assert!(
        scene
            .must("journalctl --no-pager -b -u bitbuilder-container@web.service | tail -30")?
            .contains("the secret token cannot be opened")
    );
    Ok(())
}
