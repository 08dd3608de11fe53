//! The generator as a program and as a reader: the same bytes each time, and whatever lies where records should be.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests run the program and end where it does not do its part"
)]

use proptest::prelude::*;
use serde_json::json;
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Output},
};
use tenant_generator::{at_boot, complaints, late, write};

fn record(depends_on: &[&str]) -> String {
    json!({ "generation": 1, "spec": {
        "revision": "a".repeat(40), "image": "debian", "uids": { "first": 0x4000_0000_u32, "count": 65536 },
        "bridge": "bb-9e3779b1", "mac": "06:00:00:00:00:01", "address": "10.88.0.2",
        "limits": { "cpuCores": null, "cpuWeight": null, "memory": null, "swap": null },
        "sysext": [], "services": [], "secrets": [], "dependsOn": depends_on,
    }})
    .to_string()
}

/// Every file and link below a directory.
fn tree(directory: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let kind = fs::symlink_metadata(&path).unwrap().file_type();
        if kind.is_dir() {
            found.extend(tree(&path));
        } else if kind.is_symlink() {
            found.insert(path.clone(), format!("-> {}", fs::read_link(&path).unwrap().display()));
        } else {
            found.insert(path.clone(), fs::read_to_string(&path).unwrap());
        }
    }
    found
}

fn generator(arguments: &[&Path]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tenant-generator")).args(arguments).output().unwrap()
}

#[test]
fn a_dry_run_shows_what_is_written_and_the_same_each_time() {
    let root = tempfile::tempdir().unwrap();
    let state = root.path().join("boot");
    fs::create_dir_all(state.join("stopped")).unwrap();
    fs::write(state.join("db.json"), record(&[])).unwrap();
    fs::write(state.join("web.json"), record(&["db"])).unwrap();
    fs::write(state.join("stopped/mail.json"), record(&[])).unwrap();
    fs::write(state.join(".new-web"), "half").unwrap();
    fs::write(state.join("polling"), r#"{"system":{"interval":"30s","jitter":"10s"}}"#).unwrap();
    let shown = generator(&[Path::new("--dry-run"), &state]);
    let text = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.status.success() && shown.stderr.is_empty(), "{}", String::from_utf8_lossy(&shown.stderr));
    assert!(
        text.contains("# tenant-web.target\n[Unit]\n")
            && text.contains("# multi-user.target.wants/tenant-db.target -> ../tenant-db.target")
    );
    assert!(!text.contains("mail") && !text.contains("boot-state"), "{text}");
    assert!(text.contains("ExecStart=systemctl start --no-block git-sync@system.timer\n"));

    let (first, second) = (root.path().join("first"), root.path().join("second"));
    for directory in [&first, &second, &second] {
        write::all(directory, &at_boot(&state).0).unwrap();
    }
    let below = |directory: &Path| -> Vec<_> {
        let strip = |(path, text): (PathBuf, String)| (path.strip_prefix(directory).unwrap().to_owned(), text);
        tree(directory).into_iter().map(strip).collect()
    };
    assert_eq!(below(&first), below(&second));
    assert_eq!(below(&first).len(), 7, "{:?}", below(&first));
}

#[test]
fn whatever_lies_there_the_others_are_started() {
    let root = tempfile::tempdir().unwrap();
    let state = root.path().join("boot");
    fs::create_dir(&state).unwrap();
    for (name, content) in [
        ("web.json", record(&[])),
        ("cut.json", record(&[])[..40].to_owned()),
        ("more.json", record(&[]).replace("\"image\"", "\"exec\":1,\"image\"")),
        ("UPPER.json", record(&[])),
        ("system.json", record(&[])),
        ("evil\n[Service].json", record(&[])),
        ("noise", String::new()),
        ("polling", "[".to_owned()),
    ] {
        fs::write(state.join(name), content).unwrap();
    }
    fs::File::create(state.join("huge.json")).unwrap().set_len(100 << 20).unwrap();
    fs::create_dir(state.join("folder.json")).unwrap();
    symlink("web.json", state.join("link.json")).unwrap();
    symlink("/dev/zero", state.join("zero.json")).unwrap();
    assert!(Command::new("mkfifo").arg(state.join("pipe.json")).status().unwrap().success());
    let (output, read) = at_boot(&state);
    assert_eq!(read.tenants.keys().map(ToString::to_string).collect::<Vec<_>>(), ["web"]);
    assert_eq!(read.faults.len(), 12, "{:#?}", read.faults);
    assert!(output.contains_key("tenant-web.target") && output.contains_key("bitbuilder-boot-state.service"));
    assert!(complaints(&read, "").iter().all(|line| !line.contains('\n')));
    assert!(!format!("{output:?}").contains("evil"), "its name is in no unit");
}

#[test]
fn ten_thousand_of_them_are_counted_and_not_all_told() {
    let root = tempfile::tempdir().unwrap();
    for number in 0..10_000 {
        fs::write(root.path().join(format!("t{number}.json")), "{}").unwrap();
    }
    let (output, read) = at_boot(root.path());
    assert_eq!((output.len(), read.faults.len(), complaints(&read, "<4>").len()), (2, 10_000, 21));
}

#[test]
fn without_a_state_it_is_started_when_there_is_one() {
    let root = tempfile::tempdir().unwrap();
    let (output, read) = at_boot(&root.path().join("absent"));
    assert!(read.faults.is_empty() && output.contains_key("bitbuilder-late.service") && output.len() == 2);
    // One that cannot be read is not one that is not there.
    fs::write(root.path().join("file"), "").unwrap();
    let (output, read) = at_boot(&root.path().join("file"));
    assert!(read.faults.len() == 1 && !output.contains_key("bitbuilder-late.service"));
    let (output, _) = late(&root.path().join("absent"));
    assert_eq!(output.keys().collect::<Vec<_>>(), ["bitbuilder-late.target"]);
}

#[test]
fn where_nothing_can_be_written_it_says_so() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let (output, _) = at_boot(&file.path().join("absent"));
    assert!(write::all(file.path(), &output).is_err());
    let ended = generator(&[]);
    assert!(!ended.status.success());
}

proptest! {
    #[test]
    fn no_bytes_in_the_directory_stop_the_others(name in "[^/\\x00]{1,40}", bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let root = tempfile::tempdir().unwrap();
        if !["web.json", ".", ".."].contains(&name.as_str()) {
            fs::write(root.path().join(&name), &bytes).unwrap();
        }
        fs::write(root.path().join("web.json"), record(&[])).unwrap();
        let (output, read) = at_boot(root.path());
        prop_assert!(output.contains_key("tenant-web.target"));
        prop_assert!(read.tenants.len() == 1);
    }
}
