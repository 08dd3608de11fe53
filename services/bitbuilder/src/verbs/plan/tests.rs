//! Plans without a host: of a directory and of a commit, whatever their repository configures.

use super::*;
use interfaces::orchestrator::TenantPlan;
use std::{fs, process::Stdio};
use tempfile::TempDir;

const METADATA: &str = r#"{
  "version": "1.0",
  "tenant": { "name": "web", "type": "container" },
  "image": "debian",
  "network": { "forward": [{ "host": 8080, "tenant": 80 }] },
  "services": { "systemd": ["hello.service"] }
}
"#;

fn repository(metadata: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir_all(directory.path().join("units")).unwrap();
    fs::write(directory.path().join("metadata.json"), metadata).unwrap();
    fs::write(directory.path().join("units/hello.service"), "[Service]\nExecStart=sleep infinity\n").unwrap();
    directory
}

fn system(ports: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir_all(directory.path().join("tenants")).unwrap();
    let registry = format!(
        r#"{{"version":"1.0","tenants":[{{"name":"web","repository":"git://h/web","limits":{{"ports":["{ports}"]}}}}]}}"#
    );
    fs::write(directory.path().join("tenants/registry.json"), registry).unwrap();
    directory
}

async fn planned(path: &Path, revision: Option<&str>, system: Option<&Path>) -> TenantPlan {
    let words = Arguments {
        tenant: None,
        repository: Some(path.to_owned()),
        revision: revision.map(str::to_owned),
        offline: true,
        system: system.map(Path::to_owned),
        exit_code: true,
    };
    // Nobody listens there: who asks a host fails.
    of_repository(&Client::in_directory(Path::new("/nonexistent")), &words, path).await.unwrap()
}

#[allow(clippy::disallowed_methods, reason = "a test prepares what the product is to read")]
fn git(path: &Path, words: &[&str]) {
    let mut git = std::process::Command::new("git");
    git.arg("-C").arg(path).args(["-c", "user.name=T", "-c", "user.email=t@example.org"]).args(words);
    assert!(git.stdout(Stdio::null()).status().unwrap().success(), "{words:?}");
}

#[tokio::test]
async fn a_directory_is_planned_without_a_host() {
    let web = repository(METADATA);
    let plan = planned(web.path(), None, Some(system("8000-8999").path())).await;
    insta::assert_snapshot!(words::plans(std::slice::from_ref(&plan)));
    assert_eq!(exit_code(std::slice::from_ref(&plan), true), 2);
    assert_eq!(exit_code(&[plan], false), 0);
}

#[tokio::test]
async fn what_the_policy_forbids_is_shown_in_its_place() {
    let web = repository(METADATA);
    let plan = planned(web.path(), None, Some(system("9000").path())).await;
    insta::assert_snapshot!(words::plans(std::slice::from_ref(&plan)));
    assert_eq!(exit_code(&[plan], true), 3);
    let built_in = planned(web.path(), None, None).await;
    assert!(!built_in.registered && built_in.diagnostics[0].message.contains("the built-in policy"), "{built_in:?}");
    let broken = repository(&METADATA.replace("hello.service", "absent.service"));
    assert_eq!(planned(broken.path(), None, None).await.diagnostics[0].line, 6);
}

#[tokio::test]
async fn a_commit_is_read_without_a_checkout_and_runs_nothing() {
    let web = repository(METADATA);
    git(web.path(), &["init", "--quiet", "--initial-branch=main"]);
    git(web.path(), &["add", "--all"]);
    git(web.path(), &["commit", "--quiet", "--message=First"]);
    let allowed = system("8000-8999");
    // What the directory holds now is not what the commit does.
    fs::write(web.path().join("metadata.json"), "{").unwrap();
    let marked = web.path().join("ran");
    let run = format!("touch {}", marked.display());
    for (name, value) in [("core.fsmonitor", run.as_str()), ("core.pager", &run), ("filter.x.smudge", &run)] {
        git(web.path(), &["config", name, value]);
    }
    fs::write(web.path().join(".git/info/attributes"), "* filter=x\n").unwrap();
    let plan = planned(web.path(), Some("HEAD"), Some(allowed.path())).await;
    assert_eq!((plan.steps.len(), plan.diagnostics.len()), (4, 0), "{plan:?}");
    assert!(plan.revision.is_some_and(|revision| !revision.is_unborn()));
    assert!(!marked.exists(), "the repository's configuration ran something");
    assert_eq!(planned(web.path(), None, Some(allowed.path())).await.diagnostics.len(), 1);

    // A link instead of a file is as wrong as after a push.
    fs::remove_file(web.path().join("metadata.json")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", web.path().join("metadata.json")).unwrap();
    git(web.path(), &["add", "--all"]);
    git(web.path(), &["-c", "core.fsmonitor=", "commit", "--quiet", "--message=Link"]);
    let linked = planned(web.path(), Some("main"), None).await;
    assert_eq!(linked.diagnostics[0].message, "it is a symbolic link");
    for bad in ["absent", "--help", "HEAD:metadata.json", "-n", ""] {
        assert!(git::commit(web.path(), bad).await.is_err(), "{bad:?} was taken for a commit");
    }
}
