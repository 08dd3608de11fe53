//! What people see of a tenant: its log as it is written, a shell in it, and none of the bytes by which a tenant could take
//! over their terminal.

use anyhow::Result;
use integration_tests::{Registration, Scene, manifest, service};
use serde_json::json;
use test_host::Host;

fn scene() -> Result<Scene> {
    let scene = Scene::boot(Host::builder(""))?;
    scene.repository("web")?.commit("First", &[("metadata.json", &manifest("web", &[], &json!({})))])?;
    scene.follow(&[Registration::new("web")])?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    Ok(scene)
}

/// Nothing in it does anything to a terminal, and all of it is text.
fn is_harmless(scene: &Scene, command: &str, words: &[&str]) -> Result<()> {
    let shown = scene.must(&format!("{command} | iconv -f UTF-8 -t UTF-8"))?;
    let wrong: Vec<&str> =
        shown.lines().filter(|line| line.chars().any(|shown| shown.is_control() && shown != '\t')).collect();
    assert!(wrong.is_empty(), "{command}: {wrong:?}");
    assert!(words.iter().all(|word| shown.contains(word)), "{command} does not say {words:?}: {shown}");
    Ok(())
}

#[test]
fn a_log_is_followed() -> Result<()> {
    let scene = scene()?;
    // The first line says that the log is read; what is written from then on has to arrive.
    let shown = scene.must(
        "exec 3< <(exec timeout 60 bitbuilder logs web --follow --lines=1)
         read -r -u 3 before
         for number in 1 2; do
             systemd-run -M web --wait --quiet sh -c 'echo later-$((20 + '$number'))'
             while read -r -u 3 line; do case $line in *later-2$number) echo \"$line\"; break ;; esac; done
         done",
    )?;
    assert_eq!(shown, "sh: later-21\nsh: later-22\n");
    Ok(())
}

#[test]
fn a_shell_is_root_in_the_tenant_and_ends() -> Result<()> {
    let scene = scene()?;
    // A terminal on this side too. What is typed before the prompt is there is thrown away by the terminal's reset.
    let said = scene.must(
        "coproc shell { exec timeout 60 script --quiet --return --command 'bitbuilder shell web' /dev/null; }
         exec 3<&${shell[0]} 4>&${shell[1]}; pid=$shell_PID
         IFS= read -r -u 3 -d '@' prompt
         echo 'echo \"it is $(id -un) in $(hostname)\"; exit' >&4
         grep --text -o 'it is [a-z]* in [a-z]*' <&3
         wait $pid",
    )?;
    assert_eq!(said, "it is root in web\n");
    let stranger = scene
        .host
        .sh("timeout 20 setpriv --reuid=65534 --regid=65534 --clear-groups bitbuilder shell web </dev/null")?;
    assert!(stranger.code == 1 && stranger.stdout.is_empty(), "{}{}", stranger.stdout, stranger.stderr);
    Ok(())
}

#[test]
fn a_tenant_does_not_reach_the_terminal() -> Result<()> {
    let scene = scene()?;
    // CSI and OSC as ESC sequences and as C1, in UTF-8 and raw; a bell, a backspace, a carriage return.
    let say =
        r"printf 'clear\033[2J one\033]0;title\007 two\302\233;31m three\2332J four\010\010 five\rsix\177 seven\n'";
    let words = ["clear", "one", "seven"];
    scene.host.write("/var/lib/tenants/web/data/say", say)?;
    scene.must("systemd-run -M web --wait --quiet sh /srv/data/say")?;
    is_harmless(&scene, "bitbuilder logs web --lines=100", &words)?;
    // What a failed service said last is shown as the reason.
    scene.open("web").commit(
        "Second",
        &[
            ("metadata.json", &manifest("web", &["rude.service"], &json!({}))),
            ("units/rude.service", &service("sh -c 'sh /srv/data/say; sh /srv/data/say >&2; exit 1'")),
        ],
    )?;
    assert_eq!(scene.sync("web")?.code, 4);
    for command in ["bitbuilder status", "bitbuilder status web", "bitbuilder status --json"] {
        is_harmless(&scene, command, &["rude.service"])?;
    }
    Ok(())
}
