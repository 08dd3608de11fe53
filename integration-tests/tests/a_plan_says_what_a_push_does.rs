//! What a plan says before a push is what the push does, and the history says so afterwards; and a plan changes nothing.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use anyhow::Result;
use integration_tests::{Registration, Scene, manifest, service};
use serde_json::{Value, json};
use test_host::Host;

/// The only plan of `bitbuilder plan WORDS`, with its exit code.
fn plan(scene: &Scene, words: &str) -> Result<(i32, Value)> {
    let output = scene.host.sh(&format!("cd /srv/trees/web && bitbuilder plan {words} --exit-code --json=short"))?;
    let plans: Value = serde_json::from_str(&output.stdout)
        .map_err(|cause| anyhow::anyhow!("{cause}: {}{}", output.stdout, output.stderr))?;
    Ok((output.code, plans["plans"][0].clone()))
}

fn kinds(events: &Value) -> Vec<&str> {
    events["events"].as_array().unwrap().iter().filter_map(|event| event["kind"].as_str()).collect()
}

#[test]
fn from_a_tree_nobody_pushed_to_the_history() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    let forward = |port: u16| json!({ "network": { "forward": [{ "host": port, "tenant": 80 }] } });
    let web = scene.repository("web")?;
    let files = [
        ("metadata.json", manifest("web", &["hello.service"], &forward(8001))),
        ("units/hello.service", service("sleep infinity")),
    ];
    for (path, content) in &files {
        scene.host.write(&format!("/srv/trees/web/{path}"), content)?;
    }
    // A host that follows nothing yet plans too; so does one that is not asked.
    let (code, first) = plan(&scene, "--repository .")?;
    assert_eq!((code, &first["registered"]), (3, &json!(false)), "the built-in policy forwards no port: {first:#}");
    let offline = scene.host.sh("bitbuilder plan --repository /srv/trees/web --offline --sockets /nonexistent")?;
    assert!(offline.code == 3 && offline.stdout.contains("the built-in policy"), "{}", offline.stdout);
    scene.follow(&[Registration::new("web")])?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 1, "there is nothing to fetch yet");

    // Before the first push: it exists nowhere, and a plan leaves it at that.
    let ledger = "cd /var/lib/bitbuilder && find . -path ./git -prune -o -type f -printf '%p %T@\\n' | sort; ls /var/lib/tenants; ip -br link";
    let before = scene.must(ledger)?;
    let (code, first) = plan(&scene, "web --repository .")?;
    assert_eq!((code, &first["class"], first["steps"].as_array().unwrap().len()), (2, &json!("hot"), 4), "{first:#}");
    assert_eq!(first["steps"][0]["service"], "storage");
    let text = scene.must("bitbuilder plan --repository /srv/trees/web")?;
    assert!(text.contains("write down the commit to come") && text.contains("4 steps, hardest class hot"), "{text}");
    assert_eq!(scene.must(ledger)?, before, "a plan changed something");
    web.git("add --all && git commit --quiet --message=First")?;
    let (code, planned) = plan(&scene, "--repository . --revision HEAD")?;
    assert_eq!(code, 2);
    web.git("push --quiet origin HEAD:main")?;
    assert_eq!(scene.sync("web")?.code, 0);
    let history = scene.call("Orchestrator", "History", &json!({ "tenant": "web" }))?;
    assert_eq!(kinds(&history), ["registered", "admitted", "planned", "verified"], "{history:#}");
    assert_eq!(history["events"][2]["plan"], planned["text"], "the push did something else than was planned");
    assert_eq!(plan(&scene, "web")?.0, 0, "a plan after the push is not empty");
    assert_eq!(plan(&scene, "--repository . --revision HEAD")?.0, 0);

    // The next one: the same words again.
    scene.host.write("/srv/trees/web/metadata.json", manifest("web", &["hello.service"], &forward(8002)))?;
    let (_, hot) = plan(&scene, "--repository .")?;
    assert_eq!((&hot["class"], hot["steps"][0]["service"].as_str()), (&json!("hot"), Some("network")), "{hot:#}");
    web.git("commit --quiet --all --message=Second")?;
    let (_, planned) = plan(&scene, "--repository . --revision HEAD")?;
    web.git("push --quiet origin HEAD:main")?;
    assert_eq!(scene.sync("web")?.code, 0);
    let history = scene.call("Orchestrator", "History", &json!({ "tenant": "web", "limit": 2 }))?;
    assert_eq!((kinds(&history), &history["events"][0]["plan"]), (vec!["planned", "verified"], &planned["text"]));

    // What drifts is planned for without a push.
    scene.must("systemctl kill --signal=KILL bitbuilder-container@web.service; while systemctl is-active --quiet bitbuilder-container@web.service; do :; done; systemctl stop bitbuilder-orchestrator.service git-sync@web.timer")?;
    let (code, drift) = plan(&scene, "web")?;
    assert_eq!((code, drift["steps"][0]["action"].as_str()), (2, Some("start")), "{drift:#}");

    // What is wrong is shown in its place, by the host and by the command alone.
    scene.host.write("/srv/trees/web/metadata.json", manifest("web", &["hello.service"], &forward(22)))?;
    let (code, refused) = plan(&scene, "--repository .")?;
    assert_eq!((code, &refused["diagnostics"][0]["origin"]), (3, &json!("web:metadata.json")), "{refused:#}");
    let shown = scene.host.sh("bitbuilder plan --repository /srv/trees/web")?;
    assert!(shown.code == 3 && shown.stdout.contains("^^") && shown.stdout.contains("refused"), "{}", shown.stdout);
    assert_eq!(scene.bitbuilder(&["plan", "--revision", "HEAD"])?.code, 64);
    assert_eq!(scene.bitbuilder(&["plan", "--repository", "/srv/nowhere"])?.code, 1);

    // Who may look may plan, from outside too; strangers may not.
    scene.must("useradd --system --groups bitbuilder looker")?;
    scene.must("runuser -u looker -- bitbuilder plan && runuser -u looker -- bitbuilder history && runuser -u looker -- bitbuilder trace web")?;
    for verb in ["suspend", "resume", "retry"] {
        assert_eq!(scene.host.sh(&format!("runuser -u looker -- bitbuilder {verb} web"))?.code, 1, "{verb}");
    }
    let request = json!({ "request": { "metadata": "{", "files": [] } });
    let answer = scene.call("Orchestrator", "Plan", &request)?;
    assert_eq!(answer["plans"][0]["diagnostics"][0]["line"], 1, "{answer:#}");
    let streamed = "varlinkctl call -j --more /run/bitbuilder/io.bitbuilder.Orchestrator io.bitbuilder.Orchestrator.History '{}' | grep -c '\"events\":'";
    assert!(scene.must(streamed)?.trim().parse::<usize>()? >= 6);
    Ok(())
}

#[test]
fn a_commit_that_disturbs_more_than_its_repository_allows_is_refused() -> Result<()> {
    let scene = Scene::boot(Host::builder(""))?;
    let web = scene.repository("web")?;
    let unit = "units/hello.service";
    let files =
        [("metadata.json", &*manifest("web", &["hello.service"], &json!({}))), (unit, &service("sleep infinity"))];
    web.commit("First", &files)?;
    scene.follow(&[Registration::new("web")])?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    let limited = "version: \"1.0\"\nstrategy:\n  most: hot\n";
    let first = web.commit("Only hot", &[(".gitops/config.yaml", limited)])?;
    assert_eq!(scene.sync("web")?.code, 0, "this is hot itself");
    web.commit("Another unit", &[(unit, &service("sleep 1000000"))])?;
    assert_eq!(scene.sync("web")?.code, 3);
    let status = scene.expect_state("web", "refused")?;
    let reason = status["reason"].as_str().unwrap();
    assert!(reason.contains("class restart") && reason.contains("web:.gitops/config.yaml:3"), "{reason}");
    assert_eq!(status["verified"], json!(first));
    web.commit("Restarts too", &[(".gitops/config.yaml", &limited.replace("hot", "restart"))])?;
    assert_eq!(scene.sync("web")?.code, 0);
    let status = scene.expect_state("web", "verified")?;
    assert_eq!(status["notInEffect"], json!([]), "{status:#}");
    Ok(())
}
