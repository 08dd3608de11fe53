//! Commands in a tenant, its console, and copies into it and out of it: what is meant for the tenant arrives as it is, and
//! nothing that a tenant does with it reaches the host.

use anyhow::Result;
use integration_tests::{Registration, Scene, manifest};
use serde_json::{Value, json};
use test_host::Host;

fn scene() -> Result<Scene> {
    let scene = Scene::boot(Host::builder(""))?;
    scene.repository("web")?.commit("First", &[("metadata.json", &manifest("web", &[], &json!({})))])?;
    let mut off: Value = serde_json::from_str(&manifest("mail", &[], &json!({})))?;
    off["tenant"]["enabled"] = json!(false);
    scene.repository("mail")?.commit("Off", &[("metadata.json", &off.to_string())])?;
    scene.follow(&[Registration::new("web"), Registration::new("mail")])?;
    assert_eq!(scene.bitbuilder(&["sync", "--wait"])?.code, 0);
    Ok(scene)
}

#[test]
fn a_command_ends_here_as_it_ends_there() -> Result<()> {
    let scene = scene()?;
    let exec = |words: &[&str]| {
        let mut line = vec!["timeout", "60", "bitbuilder", "exec", "web", "--"];
        line.extend(words);
        scene.host.run(&line)
    };
    for (words, code) in [
        (&["true"][..], 0),
        (&["sh", "-c", "exit 7"], 7),
        (&["sh", "-c", "exit 203"], 203),
        (&["sh", "-c", "kill -KILL $$"], 137),
        (&["sh", "-c", "kill -TERM $$"], 143),
        (&["/no/such/program"], 127),
    ] {
        let ended = exec(words)?;
        assert_eq!(ended.code, code, "{words:?}: {}{}", ended.stdout, ended.stderr);
    }
    let absent = exec(&["no-such-program"])?;
    assert!(absent.code == 127 && absent.stderr.contains("no-such-program"), "{}", absent.stderr);
    let both = exec(&["sh", "-c", "echo out; echo err >&2"])?;
    assert_eq!((both.stdout.as_str(), both.stderr.as_str()), ("out\n", "err\n"));
    // No shell, no variable, no specifier: each is one word, and the same word.
    let words = ["a b", "\"'`$(id)", "${HOME} $HOME $$", "%i %%", "line\nline", "", "\\x41", ";reboot", "-x", "é"];
    let mut line = vec!["printf", "<%s>"];
    line.extend(words);
    let expected: String = words.iter().map(|word| format!("<{word}>")).collect();
    assert_eq!(exec(&line)?.stdout, expected);
    let user = |user: &str| scene.bitbuilder(&["exec", "--user", user, "web", "id", "-un"]);
    assert_eq!(user("nobody")?.stdout, "nobody\n");
    assert!(user("nosuchuser")?.stderr.contains("no such user"), "{}", user("nosuchuser")?.stderr);
    // Nothing of a command that ended is left.
    let left = scene.must("systemctl -M web list-units --all --no-legend --plain 'bitbuilder-exec-*'")?;
    assert_eq!(left, "");
    for (tenant, next) in [("mail", "bitbuilder status mail"), ("nobody", "bitbuilder status nobody")] {
        let refused = scene.bitbuilder(&["exec", tenant, "true"])?;
        assert!(refused.code == 1 && refused.stderr.contains(next), "{}", refused.stderr);
    }
    let stranger = scene
        .host
        .sh("timeout 20 setpriv --reuid=65534 --regid=65534 --clear-groups bitbuilder exec web id </dev/null")?;
    assert!(stranger.code != 0 && stranger.stdout.is_empty(), "{}{}", stranger.stdout, stranger.stderr);
    Ok(())
}

#[test]
fn what_streams_through_a_command_arrives_whole() -> Result<()> {
    let scene = scene()?;
    scene.must("head -c 100M /dev/urandom >/srv/large")?;
    let sum = |of: &str| scene.must(&format!("{of} | cut -d' ' -f1"));
    let here = sum("sha256sum /srv/large")?;
    assert_eq!(sum("timeout 120 bitbuilder exec web sha256sum </srv/large")?, here, "into the tenant");
    assert_eq!(sum("timeout 120 bitbuilder exec web cat </srv/large | sha256sum")?, here, "and back");
    // Who does not read on ends nothing but himself; what nobody reads keeps no command from ending.
    assert_eq!(scene.must("(timeout 60 bitbuilder exec web yes || [ $? = 141 ]) | head -n 1")?, "y\n");
    assert_eq!(scene.must("(yes || true) | timeout 60 bitbuilder exec web true; echo $?")?, "0\n");
    // A tenant's process that keeps the output open keeps nobody waiting.
    let kept = "timeout 30 bitbuilder exec web sh -c 'systemd-run --quiet --collect -p StandardOutput=null sleep 1; echo said'";
    assert_eq!(scene.must(kept)?, "said\n");
    // Told to end, it tells the command.
    let told = scene.must(
        "bitbuilder exec web sh -c 'trap \"echo told; exit 9\" TERM; echo ready; while :; do sleep 0.1; done' >/run/told & command=$!
         timeout 30 bash -c 'until grep -q ready /run/told; do sleep 0.1; done'
         kill -TERM $command; wait $command || echo $?; cat /run/told",
    )?;
    assert_eq!(told, "9\nready\ntold\n");
    Ok(())
}

#[test]
fn a_terminal_is_one_there_too() -> Result<()> {
    let scene = scene()?;
    let size = scene.must(
        "timeout 60 script --quiet --return --command 'stty rows 33 cols 77; bitbuilder exec -t web -- sh -c \"stty size; tty; exit 5\"' /dev/null || echo $?",
    )?;
    assert!(size.contains("33 77") && size.contains("/dev/pts/") && size.trim().ends_with('5'), "{size:?}");
    let interrupted = scene.must(
        "coproc command { exec timeout 60 script --quiet --return --command 'bitbuilder exec -t web -- sh -c \"echo begun; sleep 1000\"' /dev/null; }
         exec 3<&${command[0]} 4>&${command[1]}; pid=$command_PID
         until IFS= read -r -u 3 line && [[ $line == *begun* ]]; do :; done
         printf '\\003' >&4
         wait $pid || echo $?",
    )?;
    assert_eq!(interrupted.trim(), "130");
    // The console asks who is there, and is left by its keys.
    let asked = scene.must(
        "coproc console { exec timeout 60 script --quiet --return --command 'bitbuilder console web' /dev/null; }
         exec 3<&${console[0]} 4>&${console[1]}; pid=$console_PID
         IFS= read -r -t 50 -u 3 -d ':' prompt
         printf '\\035\\035\\035' >&4
         code=0; wait $pid || code=$?; echo \"$code $prompt\"",
    )?;
    assert!(asked.starts_with("0 ") && asked.contains("web login"), "{asked:?}");
    Ok(())
}

#[test]
fn copies_keep_what_they_are_and_the_host_what_it_has() -> Result<()> {
    let scene = scene()?;
    let cp = |words: &[&str]| {
        let mut line = vec!["cp"];
        line.extend(words);
        scene.bitbuilder(&line)
    };
    let did = |words: &[&str]| -> Result<()> {
        let done = cp(words)?;
        anyhow::ensure!(done.success(), "{words:?}: {}", done.stderr);
        Ok(())
    };
    scene.must("mkdir -p /srv/tree/deep && head -c 1M /dev/urandom >/srv/tree/deep/file && ln -s deep/file /srv/tree/link && chown 1234:1234 /srv/tree/deep/file && chmod 640 /srv/tree/deep/file && mkdir /srv/back")?;
    did(&["/srv/tree", "web:/srv/data/"])?;
    let inside =
        scene.must("bitbuilder exec web stat -c '%u:%g %a %N' /srv/data/tree/deep/file /srv/data/tree/link")?;
    assert_eq!(inside, "0:0 640 '/srv/data/tree/deep/file'\n0:0 777 '/srv/data/tree/link' -> 'deep/file'\n");
    did(&["web:/srv/data/tree", "/srv/back/"])?;
    scene.must("diff --recursive --no-dereference /srv/tree /srv/back/tree")?;
    assert_eq!(scene.must("stat -c %u:%g /srv/back/tree/deep/file")?, "0:0\n");
    // What is there stays there, unless it is said.
    assert_eq!(cp(&["/srv/tree/deep/file", "web:/srv/data/tree/link"])?.code, 1);
    assert_eq!(cp(&["web:/srv/data/tree/deep/file", "/srv/back/tree"])?.code, 1);
    did(&["--force", "web:/srv/data/tree/deep/file", "/srv/back/tree"])?;
    scene.must("cmp /srv/tree/deep/file /srv/back/tree")?;
    // By streams.
    scene.must("printf 'a\\0b' | bitbuilder cp - web:/srv/data/stream && bitbuilder cp web:/srv/data/stream - | cmp - <(printf 'a\\0b')")?;
    assert_eq!(cp(&["web:/srv/data/tree", "-"])?.code, 1, "a tree is no stream");

    // What a tenant would like to leave on the host.
    scene.must(
        "bitbuilder exec web sh -c 'cd /srv/data && mkdir evil && cd evil && cp /bin/sh shell && chmod 6755 shell && mkfifo pipe && ln -s /etc/shadow shadow && ln -s ../../../../../../etc up
         ln -s /var/lib/bitbuilder ../host && ln -s /proc/1/root/etc ../root'",
    )?;
    let copied = cp(&["web:/srv/data/evil", "/srv/back/evil"])?;
    assert!(
        copied.success() && copied.stderr.contains("left out") && copied.stderr.contains("pipe"),
        "{}",
        copied.stderr
    );
    assert_eq!(scene.must("stat -c '%a %F' /srv/back/evil/shell && readlink /srv/back/evil/shadow /srv/back/evil/up && ls /srv/back/evil")?, "755 regular file\n/etc/shadow\n../../../../../../etc\nshadow\nshell\nup\n");
    let before = scene.must("ls -la --time-style=full-iso /var/lib/bitbuilder /etc | sha256sum")?;
    for way in ["host", "root", "evil/up"] {
        // It ends in the tenant or not at all.
        let _either = cp(&["/srv/tree/deep/file", &format!("web:/srv/data/{way}/planted")])?;
    }
    assert_eq!(
        scene.must("ls -la --time-style=full-iso /var/lib/bitbuilder /etc | sha256sum")?,
        before,
        "the host was changed"
    );
    assert!(!scene.host.sh("ls /var/lib/bitbuilder/planted /etc/planted")?.success());
    // What its links lead to is the tenant's, and never the host's.
    scene.must("echo secret-of-the-host >/etc/only-here")?;
    for path in [
        "/srv/data/root/only-here",
        "/srv/data/evil/up/only-here",
        "/../../../etc/only-here",
        "/proc/1/root/etc/only-here",
    ] {
        let leaked = cp(&[&format!("web:{path}"), "-"])?;
        assert!(leaked.code == 1 && !leaked.stdout.contains("secret"), "{path}: {}", leaked.stdout);
    }
    assert_eq!(
        scene.must("ls -A /srv/back /var/tmp | grep -c bitbuilder-cp || [ $? = 1 ]")?,
        "0\n",
        "nothing is left behind"
    );
    Ok(())
}
