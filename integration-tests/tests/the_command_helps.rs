//! What the package gives a person at a terminal: completion, manual pages, a pager, a check of repositories, and failures that
//! name the next command.

#![allow(clippy::disallowed_methods, reason = "a test runs programs on the machine")]

use anyhow::Result;
use integration_tests::Scene;
use serde_json::Value;
use std::{
    io::{ErrorKind, Write as _},
    process::Command,
};
use test_host::Host;

fn scene() -> Result<Scene> {
    Scene::boot(Host::builder(""))
}

const COMMAND: &str = "bitbuilder doctor --json=short";

#[test]
fn shells_complete_and_the_manual_reads() -> Result<()> {
    let scene = scene()?;
    let offered = scene.must(
        "source /usr/share/bash-completion/completions/bitbuilder
         complete -p bitbuilder
         COMP_WORDS=(bitbuilder va) COMP_CWORD=1; _bitbuilder bitbuilder va bitbuilder; echo \"${COMPREPLY[*]}\"",
    )?;
    assert!(offered.contains("-F _bitbuilder") && offered.ends_with("validate\n"), "{offered}");
    let shipped = scene.must("dpkg-query --listfiles bitbuilder | sed 's/\\.gz$//'")?;
    for file in [
        "/usr/share/man/man1/bitbuilder.1",
        "/usr/share/man/man1/bitbuilder-status.1",
        "/usr/share/zsh/vendor-completions/_bitbuilder",
        "/usr/share/fish/vendor_completions.d/bitbuilder.fish",
        "/usr/share/bitbuilder/schemas/metadata.schema.json",
        "/usr/share/doc/bitbuilder/examples/tenant-web/.gitops/config.yaml",
    ] {
        assert!(shipped.lines().any(|line| line == file), "the package has no {file}:\n{shipped}");
    }
    for page in shipped.lines().filter(|line| line.starts_with("/usr/share/man/man1/bitbuilder")) {
        let page = scene.must(&format!("zcat --force {page} {page}.gz 2>/dev/null || cat {page}"))?;
        match warnings_of_groff(&page)? {
            Some(warnings) => assert_eq!(warnings, "", "{page}"),
            None => test_host::skip("this machine has no groff to read manual pages with"),
        }
    }
    Ok(())
}

/// What groff has to say against a manual page; nothing if there is no groff.
fn warnings_of_groff(page: &str) -> Result<Option<String>> {
    let mut file = tempfile::NamedTempFile::new()?;
    file.write_all(page.as_bytes())?;
    let read = Command::new("groff").args(["-ww", "-z", "-man", "-Tutf8"]).arg(file.path()).output();
    match read {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        read => Ok(Some(String::from_utf8_lossy(&read?.stderr).into_owned())),
    }
}

#[test]
fn a_repository_is_checked_where_it_is() -> Result<()> {
    let scene = scene()?;
    scene.must(
        "cp -a /usr/share/doc/bitbuilder/examples /srv/examples && cd /srv/examples
         bitbuilder validate system && bitbuilder validate tenant-worker --system system
         test -x tenant-web/scripts/check-page && cd tenant-web && bitbuilder validate --system ../system",
    )?;
    let wrong = scene.host.sh("cd /srv/examples/tenant-web && sed -i s/8080/80/ metadata.json && bitbuilder validate --json --system ../system")?;
    let report: Value = serde_json::from_str(&wrong.stdout)?;
    assert_eq!((wrong.code, &report["valid"], &report["kind"]), (3, &Value::Bool(false), &Value::from("tenant")));
    let message = report["diagnostics"][0]["message"].as_str().unwrap_or_default();
    assert!(message.contains("set by system:policies/public.json:"), "{report:#}");
    assert_eq!(scene.bitbuilder(&["validate", "/etc"])?.code, 1);
    assert_eq!(scene.bitbuilder(&["validate", "--kind", "what"])?.code, 64);
    Ok(())
}

#[test]
fn long_text_goes_through_a_pager_and_only_at_a_terminal() -> Result<()> {
    let scene = scene()?;
    scene.host.write("/usr/local/bin/shout", "#!/bin/sh\nexec tr a-z A-Z\n")?;
    scene.must("chmod +x /usr/local/bin/shout")?;
    let at_terminal = |environment: &str, words: &str| {
        scene.must(&format!(
            "env TERM=xterm {environment} timeout 20 script --quiet --return --command 'bitbuilder {words}' /dev/null </dev/null || true"
        ))
    };
    assert!(at_terminal("PAGER=shout", "status")?.contains("THIS HOST FOLLOWS NO"));
    assert!(at_terminal("PAGER=shout", "status --no-pager")?.contains("This host follows no"));
    assert!(at_terminal("PAGER=cat", "status")?.contains("This host follows no"));
    assert!(at_terminal("PAGER=no-such-pager", "status")?.contains("This host follows no"));
    assert!(at_terminal("PAGER=shout", "status --json")?.contains("\"host\""));
    assert!(at_terminal("PAGER=shout SUDO_UID=1000", "status")?.contains("This host follows no"));
    assert!(scene.must("PAGER=shout bitbuilder status")?.contains("This host follows no"));
    assert!(at_terminal("PAGER=cat", "doctor")?.contains("\u{1b}[32m"));
    assert!(!at_terminal("PAGER=cat NO_COLOR=1", "doctor")?.contains('\u{1b}'));
    Ok(())
}

#[test]
fn a_failure_names_the_next_command() -> Result<()> {
    let scene = scene()?;
    let said = |script: &str| -> Result<String> {
        let output = scene.host.sh(script)?;
        assert_eq!(output.code, 1, "{output:?}");
        Ok(output.stderr)
    };
    let stranger = said("setpriv --reuid=65534 --regid=65534 --clear-groups bitbuilder status")?;
    assert!(stranger.contains("members of the group bitbuilder may look"), "{stranger}");
    assert!(said("bitbuilder status nobody")?.contains("next: bitbuilder list"));
    assert!(said("bitbuilder logs nobody")?.contains("next: "));
    assert!(said("bitbuilder shell nobody </dev/null")?.contains("next: bitbuilder status nobody"));
    assert!(said("bitbuilder --sockets=/absent status")?.contains("next: bitbuilder doctor"));
    scene.must("systemctl stop bitbuilder-orchestrator.socket bitbuilder-orchestrator.service")?;
    let silent = said("bitbuilder status")?;
    let next = silent.lines().find_map(|line| line.trim().strip_prefix("next: ")).unwrap_or_default().to_owned();
    assert_eq!(next, "systemctl start bitbuilder-orchestrator.socket", "{silent}");
    scene.must(&format!("{next} && bitbuilder status"))?;
    Ok(())
}

/// What the doctor says of one thing.
fn finding(scene: &Scene, check: &str) -> Result<(String, String)> {
    let output = scene.host.sh(COMMAND)?;
    let findings: Vec<Value> = serde_json::from_str(&output.stdout)?;
    let any_fails = findings.iter().any(|finding| finding["verdict"] == "fail");
    assert_eq!(output.code, i32::from(any_fails), "{findings:#?}");
    let worst = findings
        .iter()
        .filter(|finding| finding["check"] == check)
        .max_by_key(|finding| ["ok", "warn", "fail"].iter().position(|verdict| finding["verdict"] == *verdict));
    let text = |field: &str| worst.and_then(|finding| finding[field].as_str()).unwrap_or_default().to_owned();
    Ok((text("verdict"), text("mend")))
}

#[test]
fn the_doctor_names_what_is_missing_and_its_command_mends_it() -> Result<()> {
    let scene = scene()?;
    scene.follow(&[])?;
    scene.bitbuilder(&["sync", "--wait"])?;
    // Of the test host itself: controllers and the clock belong to the machine below.
    let well = scene.host.sh("bitbuilder doctor")?;
    assert_eq!(well.code, 0, "{}", well.stdout);
    assert!(!well.stdout.contains("FAIL") && well.stdout.contains("OK    base images"), "{}", well.stdout);

    let broken_and_mended = [
        ("networkd", "systemctl stop systemd-networkd.service systemd-networkd.socket systemd-networkd-varlink.socket"),
        ("io.bitbuilder.Network", "systemctl mask --now bitbuilder-network.socket"),
        ("io.bitbuilder.Storage", "systemctl stop bitbuilder-storage.socket bitbuilder-storage.service"),
        ("forwarding", "echo 0 > /proc/sys/net/ipv4/conf/all/forwarding"),
    ];
    for (check, break_it) in broken_and_mended {
        assert_eq!(finding(&scene, check)?.0, "ok", "{check} before");
        scene.must(break_it)?;
        let (verdict, mend) = finding(&scene, check)?;
        assert_eq!(verdict, "fail", "{check} after: {break_it}");
        scene.must(&mend)?;
        assert_eq!(finding(&scene, check)?.0, "ok", "{check} mended by: {mend}");
    }

    let broken = [
        (
            "base images",
            "mv /var/lib/machines/debian /var/lib/machines/.debian.away",
            "mmdebstrap",
            "mv /var/lib/machines/.debian.away /var/lib/machines/debian",
        ),
        ("git", "mv /usr/bin/git /usr/bin/git.away", "apt install git", "mv /usr/bin/git.away /usr/bin/git"),
        (
            "system repository",
            "mv /srv/git/system /srv/git/away; bitbuilder sync --wait || true",
            "bitbuilder sync system --wait",
            "mv /srv/git/away /srv/git/system; bitbuilder sync system --wait",
        ),
    ];
    for (check, break_it, mend, repair) in broken {
        scene.must(break_it)?;
        let (verdict, said) = finding(&scene, check)?;
        assert!(verdict == "fail" && said.contains(mend), "{check}: {verdict}, {said}");
        scene.must(repair)?;
        assert_eq!(finding(&scene, check)?.0, "ok", "{check} after: {repair}");
    }

    let stranger = scene.host.sh(&format!("setpriv --reuid=65534 --regid=65534 --clear-groups {COMMAND}"))?;
    assert!(stranger.code == 0 && stranger.stdout.contains("not known"), "{stranger:?}");
    Ok(())
}
