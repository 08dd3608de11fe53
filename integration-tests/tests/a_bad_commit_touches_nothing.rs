//! What somebody wrote wrongly is refused with its place, before anything is touched.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use anyhow::Result;
use integration_tests::{Registration, Scene, manifest, registry, service};
use serde_json::json;
use test_host::Host;

#[test]
fn a_bad_request_is_refused_with_its_place_and_the_tenant_runs_on() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    let good =
        manifest("web", &["hello.service"], &json!({ "network": { "forward": [{ "host": 8001, "tenant": 80 }] } }));
    let web = scene.repository("web")?;
    let first =
        web.commit("First", &[("metadata.json", &good), ("units/hello.service", &service("sleep infinity"))])?;
    let mail = scene.repository("mail")?;
    mail.commit("First", &[("metadata.json", &manifest("mail", &[], &json!({})))])?;
    let system = scene.follow(&[Registration::new("web"), Registration::new("mail")])?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    let started = "systemctl show bitbuilder-container@web.service -p MainPID -p ActiveEnterTimestampMonotonic";
    let before = scene.must(started)?;

    let line = |text: &str, what: &str| text.lines().position(|line| line.contains(what)).unwrap() + 1;
    let mut cases: Vec<(String, String)> = Vec::new();
    let mut case = |content: String, reason: &str| cases.push((content, reason.to_owned()));
    case("{ \"version\": ".to_owned(), "web:metadata.json:1:");
    case("\u{feff}{}".to_owned(), "web:metadata.json:1:");
    case(good.replace("\"image\"", "\"imagine\""), &format!("web:metadata.json:{}:3", line(&good, "\"image\"")));
    case(good.replace("\"debian\"", "7"), "a number stands where a string is wanted");
    for name in ["a/b", "..", "a\\nb", "a%i", ""] {
        case(
            good.replace("\"name\": \"web\"", &format!("\"name\": \"{name}\"")),
            "is not a tenant name: 1 to 24 of a-z",
        );
    }
    for size in ["-1", "9E", "1.5G", "4GB"] {
        let with = good.replacen('{', &format!("{{ \"resources\": {{ \"memory\": {{ \"limit\": \"{size}\" }} }},"), 1);
        case(with, "is not a size: a whole number of bytes");
    }
    case(good.replace("8001", "22"), "allowed: 8000-8999");
    case(good.replace("8001", "70000"), "is not a port: 1 to 65535");
    case(good.replace("\"container\"", "\"vm\""), "virtual machines are not supported on this host yet");
    case(good.replace("\"forward\"", "\"mode\": \"bridge\", \"forward\""), "ports are forwarded in nat mode");
    case(good.replace("hello.service", "absent.service"), "no file units/absent.service");
    case(good.replace("hello.service", "../../etc/passwd"), "is not a service unit name");
    for (content, reason) in cases {
        web.commit("Bad", &[("metadata.json", &content)])?;
        let synced = scene.sync("web")?;
        let status = scene.expect_state("web", "refused")?;
        let said = status["reason"].as_str().unwrap();
        assert!(said.contains(&reason) && said.contains("web:metadata.json"), "{content}\n{said}\nnot: {reason}");
        assert_eq!((synced.code, &status["verified"]), (3, &json!(first)), "{content}");
    }

    // A port that somebody else holds, a link out of the tree, a submodule, no manifest at all.
    mail.commit(
        "Taken",
        &[(
            "metadata.json",
            &manifest("mail", &[], &json!({ "network": { "forward": [{ "host": 8001, "tenant": 25 }] } })),
        )],
    )?;
    assert_eq!(scene.sync("mail")?.code, 3);
    let reason = scene.status("mail")?["reason"].as_str().unwrap().to_owned();
    assert!(
        reason.contains("mail:metadata.json:") && reason.contains("belongs to another tenant of this host already"),
        "{reason}"
    );
    web.git("checkout --quiet -B main HEAD && ln -s /etc/shadow units/leak && git add -A && git commit -qm leak && git push -q origin HEAD:main")?;
    assert_eq!(scene.sync("web")?.code, 3);
    assert!(scene.status("web")?["reason"].as_str().unwrap().contains("units/leak"));
    web.git("rm -q --cached units/leak && rm units/leak && git rm -q metadata.json && git commit -qm gone && git push -q origin HEAD:main")?;
    assert_eq!(scene.sync("web")?.code, 3);
    assert!(scene.status("web")?["reason"].as_str().unwrap().contains("there is no such file"));

    assert_eq!(scene.must(started)?, before, "the tenant was touched");

    // The registry is held to the same; the one before stays in effect.
    let entry = |name: &str| Registration::new(name);
    let twice = registry(&[entry("web"), entry("web")]);
    for (content, reason) in [
        (twice.as_str(), "the tenant web is registered already, at system:tenants/registry.json:"),
        ("{}", "the field version is missing"),
        ("[", "system:tenants/registry.json:1:"),
        (r#"{"version":"1.0","tenants":[{"name":"web","repository":"ext::sh -c id"}]}"#, "is not a repository address"),
        (
            r#"{"version":"1.0","tenants":[{"name":"web","repository":"https://u:secret@h/x"}]}"#,
            "is not a repository address",
        ),
        (
            r#"{"version":"1.0","tenants":[{"name":"web","repository":"git://h/x","reference":"--upload-pack=id"}]}"#,
            "is not a reference",
        ),
    ] {
        system.commit("Bad", &[("tenants/registry.json", content)])?;
        assert_eq!(scene.bitbuilder(&["sync", "system", "--wait"])?.code, 3, "{content}");
        assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 3, "{content}");
        let shown = scene.must("bitbuilder status")?;
        assert!(shown.contains(reason), "{shown}\nnot: {reason}");
    }
    assert_eq!(scene.must("bitbuilder list")?, "mail\nweb\n");

    // All is well again once it is written right.
    web.commit("Good again", &[("metadata.json", &good)])?;
    mail.git("revert --no-edit HEAD && git push --quiet origin HEAD:main")?;
    system.commit("Good again", &[("tenants/registry.json", &registry(&[entry("web"), entry("mail")]))])?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    scene.expect_state("web", "verified")?;
    scene.expect_state("mail", "verified")?;
    Ok(())
}

#[test]
fn a_git_server_that_is_away_is_said_and_harms_nobody() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    let web = scene.repository("web")?;
    let first = web.commit("First", &[("metadata.json", &manifest("web", &[], &json!({})))])?;
    scene.follow(&[Registration::new("web")])?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    scene.must("systemctl stop git-daemon.socket 'git-daemon@*'")?;
    assert_eq!(scene.sync("web")?.code, 1, "what nobody looked at counts as done");
    let status = scene.expect_state("web", "verified")?;
    assert!(status["unreachable"].as_str().is_some_and(|reason| !reason.is_empty()), "{status:#}");
    assert!(scene.must("bitbuilder status")?.contains("not fetched (next try in "));
    scene.must("systemctl start git-daemon.socket")?;
    assert_eq!(scene.sync("web")?.code, 0);
    let status = scene.status("web")?;
    assert_eq!((&status["unreachable"], &status["verified"]), (&json!(null), &json!(first)));
    Ok(())
}

#[test]
fn a_repository_that_follows_another_one_needs_force() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    let before = scene.bitbuilder(&["sync"])?;
    assert_eq!(before.code, 1);
    assert!(before.stderr.contains("bitbuilder init --repository URL"), "{}", before.stderr);
    scene.follow(&[])?;
    assert_eq!(scene.bitbuilder(&["init", "--repository", "git://127.0.0.1/system"])?.code, 0);
    let other = scene.bitbuilder(&["init", "--repository", "git://127.0.0.1/other"])?;
    assert_eq!(other.code, 1);
    assert!(other.stderr.contains("--force"), "{}", other.stderr);
    assert_eq!(scene.bitbuilder(&["init", "--force", "--repository", "git://127.0.0.1/other"])?.code, 0);
    assert_eq!(scene.bitbuilder(&["init"])?.code, 64);
    Ok(())
}

#[test]
fn a_reference_that_names_no_commit_is_refused() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    let web = scene.repository("web")?;
    let first = web.commit("First", &[("metadata.json", &manifest("web", &[], &json!({})))])?;
    web.git("tag v1 && git push --quiet origin v1")?;
    let system = scene.follow(&[])?;
    let entry = json!({ "name": "web", "repository": "git://127.0.0.1/web", "reference": "refs/tags/v1" });
    let tenants = json!({ "version": "1.0", "tenants": [entry] }).to_string();
    system.commit("By a tag", &[("tenants/registry.json", &tenants)])?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    assert_eq!(scene.expect_state("web", "verified")?["verified"], json!(first));

    let tag =
        |what: &str| scene.must(&format!("cd /srv/git/web && git update-ref refs/tags/v1 $(git rev-parse {what})"));
    tag("main^{tree}")?;
    assert_eq!(scene.sync("web")?.code, 3);
    let refused = scene.expect_state("web", "refused")?;
    assert!(refused["reason"].as_str().unwrap().contains("web:refs/tags/v1"), "{refused}");
    assert_eq!((&refused["wanted"], &refused["unreachable"]), (&json!(null), &json!(null)));
    assert_eq!(refused["verified"], json!(first));
    let history = scene.must("bitbuilder history web")?;
    assert!(history.contains("refused") && history.contains("web:refs/tags/v1"), "{history}");
    tag("main")?;
    assert_eq!(scene.sync("web")?.code, 0);
    let verified = scene.expect_state("web", "verified")?;
    assert_eq!((&verified["verified"], &verified["reason"]), (&json!(first), &json!(null)));
    Ok(())
}
