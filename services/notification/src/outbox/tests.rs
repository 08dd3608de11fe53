//! Whatever is put in comes out once, in order, over any restart; of a commit only the newest state.

use super::*;
use crate::message::{
    compose,
    tests::{event, target, told},
};
use model::{notification::Kind, progress::EventKind};
use proptest::prelude::*;

fn status(at: u64, digit: char, kind: EventKind) -> Message {
    compose(&target(Kind::Gitea), &told(Vec::new(), vec![event(kind, at, digit, None)]), 0).unwrap()
}

fn posted(at: u64) -> Message {
    compose(&target(Kind::Webhook), &told(Vec::new(), vec![event(EventKind::Verified, at, 'a', None)]), 0).unwrap()
}

fn drained(mut outbox: Outbox, target: &TargetName) -> Vec<Message> {
    let mut all = Vec::new();
    while let Some((number, message)) = outbox.head(target) {
        all.push(message);
        assert!(outbox.remove(target, number).unwrap());
    }
    assert!(outbox.is_empty() && fs::read_dir(&outbox.directory).unwrap().next().is_none());
    all
}

#[test]
fn a_kill_leaves_whole_messages_and_the_rest_goes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("outbox");
    let (forge, hook) = ("forge".parse().unwrap(), "hook".parse().unwrap());
    let mut outbox = Outbox::open(&path).unwrap();
    assert_eq!(outbox.add(&forge, &posted(1)).unwrap(), (true, 0));
    assert_eq!(outbox.add(&hook, &posted(1)).unwrap(), (true, 0));
    assert_eq!(outbox.add(&forge, &posted(2)).unwrap(), (true, 0));
    assert_eq!(outbox.add(&forge, &posted(2)).unwrap(), (false, 0), "it waits already");
    let whole = fs::read(outbox.path(&forge, 2)).unwrap();
    for (name, content) in [
        (".new-abc", &whole[..]),
        ("forge.00000000000000000003.json", &whole[..whole.len() / 2]),
        ("forge.00000000000000000004.json", b""),
        ("forge.5.json", &whole),
        ("../forge", b""),
        ("Forge.00000000000000000006.json", &whole),
        ("forge.00000000000000000007.json", b"{\"id\":\"x\",\"more\":1}"),
    ] {
        if let Some(name) = Path::new(name).file_name() {
            fs::write(path.join(name), content).unwrap();
        }
    }
    let outbox = Outbox::open(&path).unwrap();
    assert_eq!((outbox.count(&forge), outbox.count(&hook)), (2, 1));
    assert_eq!(fs::read_dir(&path).unwrap().count(), 3);
    assert_eq!(outbox.next, 3, "numbers go on");
    // One that is spoiled while the service runs.
    fs::write(outbox.path(&hook, 1), b"{").unwrap();
    let mut outbox = outbox;
    assert!(outbox.head(&hook).is_none());
    outbox.remove(&hook, 1).unwrap();
    assert_eq!(drained(outbox, &forge), [posted(1), posted(2)]);
}

#[test]
fn of_too_much_the_oldest_goes_and_of_who_is_not_named_all() {
    let directory = tempfile::tempdir().unwrap();
    let (forge, hook) = ("forge".parse().unwrap(), "hook".parse().unwrap());
    let mut outbox = Outbox::open(directory.path()).unwrap();
    let most = u64::try_from(MOST).unwrap();
    let lost: u64 = (0..most + 3).map(|at| outbox.add(&hook, &posted(at)).unwrap().1).sum();
    assert_eq!((lost, outbox.count(&hook)), (3, MOST));
    assert_eq!(outbox.head(&hook).unwrap().1, posted(3));
    outbox.add(&forge, &posted(1)).unwrap();
    outbox.add(&forge, &status(2, 'a', EventKind::Failed)).unwrap();
    // What was for a webhook is not for the forge that has its name now: who is shown a token is told nothing else.
    outbox.keep(&[target(Kind::Gitea)]).unwrap();
    assert_eq!((outbox.count(&hook), outbox.count(&forge)), (0, 1));
    outbox.keep(&[Target { kind: Kind::Gitlab, ..target(Kind::Gitea) }]).unwrap();
    assert_eq!(outbox.count(&forge), 1);
    outbox.keep(&[Target { name: forge.clone(), ..target(Kind::Webhook) }]).unwrap();
    assert!(outbox.is_empty() && fs::read_dir(directory.path()).unwrap().next().is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Told in order; the last state of each commit and no other, wherever the service was killed in between.
    #[test]
    fn the_newest_state_of_each_commit_is_told(story in proptest::collection::vec((0usize..4, 0usize..3, any::<bool>()), 1..20)) {
        let directory = tempfile::tempdir().unwrap();
        let forge: TargetName = "forge".parse().unwrap();
        let mut outbox = Outbox::open(directory.path()).unwrap();
        let mut expected: Vec<Message> = Vec::new();
        for ((commit, kind, killed), at) in story.into_iter().zip(1..) {
            let kind = [EventKind::Admitted, EventKind::Verified, EventKind::Failed][kind];
            let message = status(at, ['a', 'b', 'c', 'd'][commit], kind);
            outbox.add(&forge, &message).unwrap();
            expected.retain(|held| held.about() != message.about());
            expected.push(message);
            if killed {
                outbox = Outbox::open(directory.path()).unwrap();
            }
        }
        prop_assert_eq!(drained(outbox, &forge), expected);
    }
}
