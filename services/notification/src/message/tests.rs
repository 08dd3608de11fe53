//! What each event makes of its commit at a forge, and that nothing that a tenant says becomes more than a text.

use super::*;
use model::text::is_hidden;
use proptest::prelude::*;

pub(crate) fn target(kind: Kind) -> Target {
    let address = "https://git.test/api/v1".parse().unwrap();
    let name = if kind == Kind::Webhook { "hook" } else { "forge" }.parse().unwrap();
    let events = EVERY.into_iter().map(Occasion::from).collect();
    Target { name, kind, address, project: None, events, tenants: None, since_u_sec: 0 }
}

const EVERY: [EventKind; 17] = [
    EventKind::Registered,
    EventKind::Left,
    EventKind::Admitted,
    EventKind::Refused,
    EventKind::Planned,
    EventKind::Verified,
    EventKind::Stopped,
    EventKind::RolledBack,
    EventKind::Failed,
    EventKind::FloorLost,
    EventKind::Suspended,
    EventKind::Resumed,
    EventKind::Retried,
    EventKind::Confirming,
    EventKind::Confirmed,
    EventKind::Kept,
    EventKind::Removed,
];

pub(crate) fn event(kind: EventKind, at_u_sec: u64, digit: char, reason: Option<&str>) -> Event {
    let revision = digit.to_string().repeat(40).parse().ok();
    Event { kind, at_u_sec, revision, generation: 1, reason: reason.map(str::to_owned), plan: vec!["start".to_owned()] }
}

pub(crate) fn told(targets: Vec<Target>, events: Vec<Event>) -> Notify {
    let url = "https://git.test/owner/web.git".parse().ok();
    Notify { targets, repository: "web".parse().unwrap(), url, events }
}

fn composed(target: &Target, told: &Notify) -> Vec<String> {
    let messages = (0..told.events.len()).filter_map(|index| compose(target, told, index));
    messages
        .map(|message| match message.content {
            Content::Status { project, revision, state, description } => {
                format!("{project} {} {state:?}: {description}", &revision.as_str()[..1])
            }
            Content::Event { revision, failed, reason, .. } => {
                let short =
                    |revision: Option<Revision>| revision.map_or("-".to_owned(), |it| it.as_str()[..1].to_owned());
                format!("{} {} {} {}", message.occasion, short(revision), short(failed), reason.unwrap_or_default())
            }
        })
        .collect()
}

#[test]
fn a_commit_that_fails_is_the_one_that_is_told_of() {
    use EventKind::{Admitted, Failed, Planned, Refused, Retried, RolledBack, Verified};
    let story = [
        (Admitted, 'a', None),
        (Planned, 'a', None),
        (Verified, 'a', None),
        (Admitted, 'b', None),
        (Planned, 'b', None),
        (Failed, 'b', Some("a.service failed (exit-code)\n  no")),
        (Planned, 'a', None),
        (RolledBack, 'a', Some("a.service failed (exit-code)\n  no")),
        (Retried, 'b', None),
        (Planned, 'b', None),
        (Verified, 'b', None),
        (Refused, 'c', Some("error: \"x\" is not a size\n --> web:metadata.json:1:1")),
    ];
    let events = story.into_iter().zip(1..).map(|((kind, digit, reason), at)| event(kind, at, digit, reason)).collect();
    let story = told(Vec::new(), events);
    insta::assert_snapshot!(composed(&target(Kind::Gitea), &story).join("\n"), @r#"
    owner/web a Pending: is about to be applied
    owner/web a Pending: is being applied
    owner/web a Success: runs
    owner/web b Pending: is about to be applied
    owner/web b Pending: is being applied
    owner/web b Failure: did not hold: a.service failed (exit-code)
    owner/web b Failure: did not hold, and the last verified commit runs again: a.service failed (exit-code)
    owner/web b Pending: is tried again
    owner/web b Pending: is being applied
    owner/web b Success: runs
    owner/web c Failure: refused: "x" is not a size
    "#);
    let webhook = composed(&target(Kind::Webhook), &story);
    assert_eq!(webhook.len(), story.events.len());
    assert!(webhook[7].starts_with("rolled_back a b a.service failed"), "{webhook:?}");
}

#[test]
fn who_is_not_concerned_is_told_nothing() {
    let story = told(Vec::new(), vec![event(EventKind::Verified, 10, 'a', None)]);
    let told_of = |target: Target| compose(&target, &story, 0).is_some();
    assert!(told_of(target(Kind::Gitea)));
    assert!(!told_of(Target { since_u_sec: 11, ..target(Kind::Gitea) }), "it was before");
    assert!(!told_of(Target { events: vec![Occasion::Failed], ..target(Kind::Gitea) }));
    assert!(!told_of(Target { tenants: Some(vec!["mail".parse().unwrap()]), ..target(Kind::Webhook) }));
    assert!(!told_of(Target { address: "https://other.test/api/v1".parse().unwrap(), ..target(Kind::Gitea) }));
    assert!(compose(&target(Kind::Gitea), &story, 1).is_none());
}

proptest! {
    #[test]
    fn whatever_a_reason_says_is_one_line_that_can_be_shown(reason in "[\\s\\S]{0,400}|(\\PC|\\n|https://u:canary@h/){0,60}") {
        for kind in EVERY {
            let story = told(Vec::new(), vec![event(EventKind::Failed, 1, 'b', None), event(kind, 2, 'a', Some(&reason))]);
            let Some(message) = compose(&target(Kind::Github), &Notify { url: "https://git.test/o/r".parse().ok(), ..story }, 1) else { continue };
            let Content::Status { description, revision, .. } = message.content else { panic!("no status") };
            prop_assert!(description.chars().count() <= LONGEST_DESCRIPTION);
            prop_assert!(!description.chars().any(is_hidden));
            prop_assert!(!description.contains("u:canary@"));
            prop_assert_eq!(revision.as_str().starts_with('b'), kind == EventKind::RolledBack);
        }
    }
}
