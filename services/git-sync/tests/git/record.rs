//! What became of commits, as plain Git reads it from the mirror.

use crate::scene::{Scene, fetch, git, web};
use interfaces::git_sync::{Error, Event, EventKind, Record};
use model::Revision;
use std::fs;

pub(crate) fn event(revision: &Revision, kind: EventKind, seconds: u64, reason: Option<&str>) -> Event {
    let (at_u_sec, reason) = (seconds * 1_000_000, reason.map(str::to_owned));
    Event { revision: revision.clone(), kind, at_u_sec, reason, plan: Vec::new() }
}

pub(crate) fn in_mirror(scene: &Scene, arguments: &[&str]) -> String {
    let mirror = scene.state().join("web/mirror.git");
    let shown = git().args(arguments).current_dir(mirror).output().unwrap();
    assert!(shown.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&shown.stderr));
    String::from_utf8(shown.stdout).unwrap()
}

#[tokio::test]
async fn plain_git_reads_what_became_of_each_commit() {
    let scene = Scene::new();
    let session = scene.session();
    let first = scene.push_file("1");
    let record = |events: &[Event], wanted: &Revision, verified: Option<&Revision>| Record {
        repository: web(),
        events: events.to_vec(),
        wanted: Some(wanted.clone()),
        target: verified.cloned(),
        verified: verified.cloned(),
    };
    let nothing_yet = session.record(record(&[], &first, None)).await;
    assert!(matches!(nothing_yet, Err(Error::NoSuchRepository { .. })), "{nothing_yet:?}");
    session.fetch(fetch(&scene.url())).await.unwrap();
    let stranger: Revision = "f".repeat(40).parse().unwrap();
    let verified = event(&first, EventKind::Verified, 2, None);
    let of_stranger = event(&stranger, EventKind::Failed, 3, None);
    let told = [event(&first, EventKind::Admitted, 1, None), verified.clone(), of_stranger];
    assert!(session.record(record(&told, &first, Some(&first))).await.unwrap().changed);
    assert!(!session.record(record(&told, &first, Some(&first))).await.unwrap().changed);

    let second = scene.push_file("2");
    session.fetch(fetch(&scene.url())).await.unwrap();
    // A kill while a reference was written.
    fs::write(scene.state().join("web/mirror.git/refs/notes/bitbuilder.lock"), "").unwrap();
    let refused = [verified, event(&second, EventKind::Refused, 4, Some("schema\n  | ^^^"))];
    assert!(session.record(record(&refused, &second, Some(&first))).await.unwrap().changed);
    assert_eq!(
        in_mirror(&scene, &["log", "-1", "--format=%s%n%N", "--notes=bitbuilder", "refs/bitbuilder/wanted"]),
        "change\n1970-01-01T00:00:04.000000Z refused\n    schema\n      | ^^^\n\n"
    );
    let note = in_mirror(&scene, &["notes", "--ref=bitbuilder", "show", first.as_str()]);
    assert_eq!(note, "1970-01-01T00:00:01.000000Z admitted\n1970-01-01T00:00:02.000000Z verified\n");
    assert_eq!(in_mirror(&scene, &["notes", "--ref=bitbuilder", "list"]).lines().count(), 2);
    in_mirror(&scene, &["fsck", "--strict"]);
    session.record(Record { verified: None, ..record(&[], &second, None) }).await.unwrap();
    let named = in_mirror(&scene, &["for-each-ref", "--format=%(refname) %(objectname)", "refs/bitbuilder/"]);
    assert_eq!(named, format!("refs/bitbuilder/wanted {second}\n"));
}
