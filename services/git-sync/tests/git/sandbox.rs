//! Whatever a server makes of who works with what it sent: it reaches one repository, and what that needs.

use crate::scene::{Scene, fetch, fetched};
use git_sync::Session;
use interfaces::git_sync::Fetch;
use std::{fs, os::unix::fs::PermissionsExt};

#[tokio::test]
async fn a_child_reaches_its_own_repository_alone() {
    assert!(git_sync::is_confined(), "this kernel has no Landlock, and nothing can be seen here");
    let scene = Scene::new();
    let (state, shown) = (scene.state(), scene.directory.path().join("credentials"));
    let other = Fetch { repository: "mail".parse().unwrap(), ..fetch(&scene.url()) };
    scene.push_file("1");
    scene.session().fetch(other).await.unwrap();
    fs::create_dir_all(state.join("web/bin")).unwrap();
    fs::create_dir(&shown).unwrap();
    for name in ["ssh-key", "ssh-key.mail", "ssh-known-hosts", "https-login"] {
        fs::write(shown.join(format!("bitbuilder.{name}")), "x").unwrap();
    }
    // It is run in place of Git's own program, as if that had been taken over.
    let tries = format!(
        "#!/bin/sh\ncd {state}/web
try() {{ if (eval \"$2\") >/dev/null 2>&1; then echo \"$1\"; fi; }}
{{
try own-key 'cat {shown}/bitbuilder.ssh-key'
try own-mirror 'ls {state}/web/mirror.git || touch {state}/web/written'
try origin 'cat {origin}/HEAD'
try other-key 'cat {shown}/bitbuilder.ssh-key.mail'
try logins 'cat {shown}/bitbuilder.https-login'
try credentials 'ls {shown}'
try other-record 'cat {state}/mail/record.json'
try other-mirror 'ls {state}/mail/mirror.git'
try write-other 'touch {state}/mail/x'
try write-origin 'touch {origin}/x'
try write-beside 'mkdir {state}/evil'
try write-tmp 'touch /tmp/bitbuilder-sandbox-test'
try move-out 'mv {state}/web/report {state}/mail/report'
try signal 'kill -0 {test}'
}} >{state}/web/report
exec git upload-pack \"$@\"\n",
        state = state.display(),
        shown = shown.display(),
        origin = scene.origin().display(),
        test = std::process::id(),
    );
    let program = scene.directory.path().join("program");
    let real = env!("CARGO_BIN_EXE_git-sync");
    let text = format!("#!/bin/sh\nPATH={}/web/bin:$PATH exec {real} \"$@\"\n", state.display());
    for (path, text) in [(&state.join("web/bin/git-upload-pack"), tries), (&program, text)] {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let errands = scene.errands().with_program(program.to_str().unwrap()).with_credentials(&shown);
    let commit = scene.push_file("2");
    assert_eq!(Session::new(errands).fetch(fetch(&scene.url())).await, Ok(fetched(&commit, true)));
    let reached = fs::read_to_string(state.join("web/report")).unwrap();
    assert_eq!(reached.lines().collect::<Vec<_>>(), ["own-key", "own-mirror", "origin"]);
}
