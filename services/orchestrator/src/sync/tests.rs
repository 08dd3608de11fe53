//! What becomes of a ledger when a look ends.

use super::*;
use crate::store::Store;
use model::names::RepositoryName;
use std::path::Path;

fn engine(directory: &Path) -> Engine {
    Engine::new(Store::open(directory).unwrap(), &directory.join("floors"), runtime::Client::default())
}

#[tokio::test]
async fn nobody_has_left_a_registry_that_was_never_read() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(directory.path());
    let web: TenantName = "web".parse().unwrap();
    engine.store.remember(&web, TenantLedger::new(1)).unwrap();
    assert!(engine.register().is_empty() && engine.store.tenant(&web).unwrap().registered);
    engine.store.change_host(|host| host.revision = "a".repeat(40).parse().ok()).unwrap();
    assert_eq!(engine.register(), std::slice::from_ref(&web));
    assert!(!engine.store.tenant(&web).unwrap().registered);
}

#[tokio::test]
async fn what_was_fetched_of_a_tenant_that_is_suspended_meanwhile_is_not_looked_at() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(directory.path());
    let web: TenantName = "web".parse().unwrap();
    let mut ledger = TenantLedger::new(1);
    ledger.suspend(2);
    engine.store.remember(&web, ledger.clone()).unwrap();
    let entry = Registration::unregistered(web.clone(), "git://h/web".parse().unwrap());
    let looked = Seen::by_nobody();
    let refused = || Err(Unusable::Refused("a".repeat(40).parse().unwrap(), "schema".to_owned()));
    engine.admit(&entry, refused(), &looked);
    assert_eq!(engine.store.tenant(&web), Some(ledger));
    engine.resume(&web).unwrap();
    engine.admit(&entry, refused(), &looked);
    assert_eq!(engine.store.tenant(&web).unwrap().reason.as_deref(), Some("schema"));
}

#[tokio::test]
async fn a_host_without_a_free_uid_range_refuses_instead_of_trying_for_ever() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(directory.path());
    let web: TenantName = "web".parse().unwrap();
    engine.store.remember(&web, TenantLedger::new(1)).unwrap();
    let entry = Registration::unregistered(web.clone(), "git://h/web".parse().unwrap());
    let request = Request::read("web", &judge::tests::Files("web", None)).unwrap();
    let asked = Asked { revision: "a".repeat(40).parse().unwrap(), request, ground: None };
    engine.admit(&entry, Ok(asked), &Seen::by_nobody());
    let ledger = engine.store.tenant(&web).unwrap();
    assert_eq!((ledger.state, ledger.target), (model::progress::TenantState::Refused, None));
    assert!(ledger.reason.is_some_and(|reason| reason.contains("no uid range is free")));
}

#[tokio::test]
async fn a_server_that_answers_is_polled_as_usual_and_one_that_does_not_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(directory.path());
    let web: TenantName = "web".parse().unwrap();
    engine.store.remember(&web, TenantLedger::new(1)).unwrap();
    let entry = Registration::unregistered(web.clone(), "git://h/web".parse().unwrap());
    let after = |unusable| {
        engine.admit(&entry, Err(unusable), &Seen::by_nobody());
        engine.store.flush(&web).unwrap();
        Store::open(directory.path()).unwrap().tenant(&web).unwrap()
    };
    let waits = |ledger: &TenantLedger| Cause::Polled.waits(ledger.back_off);
    for count in 1..4 {
        let ledger = after(Unusable::Unreachable("away".to_owned()));
        assert_eq!((ledger.back_off.count(), waits(&ledger)), (count, true));
        assert!(!Cause::Asked.waits(ledger.back_off), "who asks is not put off");
    }
    let ledger = after(Unusable::Absent("no such branch".to_owned()));
    assert_eq!((ledger.unreachable.as_deref(), waits(&ledger)), (Some("no such branch"), false));
    after(Unusable::Unreachable("away".to_owned()));
    let ledger = after(Unusable::Refused("a".repeat(40).parse().unwrap(), "schema".to_owned()));
    assert_eq!((ledger.unreachable.as_deref(), waits(&ledger)), (None, false));
}

#[tokio::test]
async fn a_look_that_somebody_asks_for_while_a_poll_waits_is_no_poll_any_more() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(directory.path());
    let web: TenantName = "web".parse().unwrap();
    let causes = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let look = |cause| {
        let (causes, web) = (causes.clone(), web.clone());
        engine.look(RepositoryName::from(&web.clone()), cause, |engine, begun| async move {
            let _turn = engine.turns.take(&web).await;
            causes.lock().unwrap().push(begun.now());
            Vec::new()
        })
    };
    for causes in [[Cause::Polled, Cause::Polled], [Cause::Polled, Cause::Asked], [Cause::Asked, Cause::Polled]] {
        let turn = engine.turns.take(&web).await;
        let looks = causes.map(look);
        drop(turn);
        futures_util::future::join_all(looks).await;
    }
    assert_eq!(*causes.lock().unwrap(), [Cause::Polled, Cause::Asked, Cause::Asked]);
}

#[tokio::test]
async fn a_kill_after_the_registry_was_written_leaves_no_floor_of_another_repository() {
    let directory = tempfile::tempdir().unwrap();
    let web: TenantName = "web".parse().unwrap();
    let revision = || "a".repeat(40).parse::<Revision>().ok();
    let entry = |url: &str| Registration::unregistered(web.clone(), url.parse().unwrap());
    let follow = |engine: &Engine, entries: Vec<Registration>| {
        engine.store.change_host(|host| (host.revision, host.registry) = (revision(), entries)).unwrap();
    };
    let before = engine(directory.path());
    follow(&before, vec![entry("git://h/web")]);
    before.register();
    before.change(&web, |ledger, _| ledger.floor = revision()).unwrap();
    follow(&before, vec![entry("git://h/other")]);
    drop(before);

    let after = engine(directory.path());
    // What is under way with the former repository is nobody's.
    let refused = Err(Unusable::Refused("b".repeat(40).parse().unwrap(), "schema".to_owned()));
    assert_eq!(after.register(), std::slice::from_ref(&web));
    after.admit(&entry("git://h/web"), refused, &Seen::by_nobody());
    let ledger = after.store.tenant(&web).unwrap();
    assert_eq!((ledger.bound(), &ledger.wanted), (None, &None));
    assert!(after.register().is_empty());

    // The same for who left and comes back, also if an older version did not write down whose the memory is.
    after.change(&web, |ledger, _| ledger.floor = revision()).unwrap();
    follow(&after, Vec::new());
    after.register();
    let path = directory.path().join("tenants/web.json");
    let mut old: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    for field in ["origin", "former"] {
        assert!(old.as_object_mut().unwrap().remove(field).is_some());
    }
    for (url, floor) in [("git://h/other", revision()), ("git://h/third", None)] {
        std::fs::write(&path, old.to_string()).unwrap();
        let engine = engine(directory.path());
        follow(&engine, vec![entry(url)]);
        engine.register();
        assert_eq!(engine.store.tenant(&web).unwrap().floor, floor, "{url}");
    }
}
