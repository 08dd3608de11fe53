//! What is changed of a tenant that runs, and what a kill in between leaves.

use crate::{
    fault::Fault,
    held::NotShown,
    manager::tests::{Fixture, fixture, service, spec},
};
use model::{InstanceSpec, Limits, ServiceSpec, observed::InstanceState, secrets::Digest};
use std::fs;

const NOTHING: [&str; 0] = [];

/// At the second commit: hello changes, gone goes, and more comes.
fn second() -> InstanceSpec {
    InstanceSpec { services: vec![service("hello.service", "b"), service("more.service", "a")], ..spec("b") }
}

fn with(services: &[ServiceSpec]) -> InstanceSpec {
    InstanceSpec { services: services.to_vec(), ..spec("a") }
}

async fn running() -> Fixture {
    let fixture = fixture();
    for digit in ["a", "b"] {
        let units = fixture.manager.paths().checkout(&fixture.web, &digit.repeat(40).parse().unwrap()).join("units");
        for unit in ["gone.service", "more.service"] {
            fs::write(units.join(unit), "[Service]\nExecStart=true\n").unwrap();
        }
    }
    let first = with(&[service("hello.service", "a"), service("gone.service", "a")]);
    fixture.manager.ensure(&fixture.web, 1, first).await.unwrap();
    fixture.manager.start(&fixture.web, 1).await.unwrap();
    fixture.fake.asked();
    fixture
}

async fn runs(fixture: &Fixture) -> InstanceSpec {
    fixture.manager.list(None).await.unwrap()[0].running.clone().unwrap()
}

#[tokio::test]
async fn no_more_is_disturbed_than_what_differs() {
    let fixture = running().await;
    let Fixture { fake, manager, web, .. } = &fixture;
    let limits = Limits { cpu_cores: Some(2), ..Limits::default() };
    let wanted = InstanceSpec { limits, ..second() };
    assert!(manager.ensure(web, 2, wanted.clone()).await.unwrap());
    let asked = fake.asked();
    assert_eq!(
        asked,
        [
            "limit web to Some(2) cores",
            "stop in web: gone.service",
            "show web",
            "reload in web",
            "start in web: more.service"
        ]
    );
    let shown =
        InstanceSpec { services: vec![service("hello.service", "a"), service("more.service", "a")], ..wanted.clone() };
    assert_eq!(runs(&fixture).await, shown, "hello goes on as it was");
    assert!(!manager.ensure(web, 2, wanted.clone()).await.unwrap());
    assert_eq!(fake.asked(), NOTHING);
    assert!(matches!(manager.restart_services(web, 1).await, Err(Fault::Stale(_))));
    assert!(manager.restart_services(web, 2).await.unwrap());
    assert_eq!(fake.asked(), ["restart in web: hello.service"]);
    assert_eq!(runs(&fixture).await, wanted);
    assert!(!manager.restart_services(web, 3).await.unwrap());
    assert_eq!(fake.asked(), NOTHING);
}

#[tokio::test]
async fn whoever_goes_on_after_a_kill_does_all_of_it_in_either_direction() {
    let back = with(&[service("hello.service", "a"), service("gone.service", "a")]);
    for wanted in [second(), back] {
        for at in ["stop", "reload", "start", "restart"] {
            let fixture = running().await;
            let Fixture { fake, manager, web, .. } = &fixture;
            fake.kill_at(at);
            let killed = match manager.ensure(web, 2, second()).await {
                Ok(_) => manager.restart_services(web, 2).await,
                killed => killed,
            };
            assert!(matches!(killed, Err(Fault::GoingDown)), "{at}: {killed:?}");
            fake.asked();
            let between = runs(&fixture).await;
            assert!(between != second() && between != wanted, "{at}: {between:?}");
            manager.ensure(web, 3, wanted.clone()).await.unwrap();
            manager.restart_services(web, 3).await.unwrap();
            assert_eq!(runs(&fixture).await, wanted, "{at}");
            let asked = fake.asked().join(", ");
            match at {
                "restart" => assert!(asked.contains("restart in web: hello.service"), "{at}: {asked}"),
                _ => assert!(asked.contains("show web, reload in web"), "{at}: {asked}"),
            }
            let touched = |unit: &str| asked.contains(unit);
            assert!(
                at == "restart" || touched("gone.service") || wanted == second() && touched("more.service"),
                "{asked}"
            );
        }
    }
}

#[tokio::test]
async fn a_tenant_that_cannot_be_shown_anything_is_started_anew_if_that_is_its_own_doing() {
    let fixture = running().await;
    let Fixture { fake, manager, web, .. } = &fixture;
    fake.does_not_show(NotShown { tenants: false, reason: "no memory".to_owned() });
    let fault = manager.ensure(web, 2, second()).await.unwrap_err();
    assert_eq!(fault.to_string(), "web was not shown its commit: no memory");
    assert!(runs(&fixture).await.revision.is_unborn());
    fake.does_not_show(NotShown { tenants: true, reason: "it has no /srv".to_owned() });
    fake.asked();
    assert!(manager.ensure(web, 3, second()).await.unwrap());
    assert_eq!(fake.asked(), ["stop in web: gone.service", "show web", "start web"]);
    assert_eq!(runs(&fixture).await, second(), "also what changes was started");
    assert!(!manager.restart_services(web, 3).await.unwrap());
}

#[tokio::test]
async fn what_is_on_its_way_is_shown_nothing() {
    let fixture = running().await;
    let Fixture { fake, manager, web, .. } = &fixture;
    for state in [InstanceState::Activating, InstanceState::Deactivating] {
        fake.is(state);
        assert!(manager.ensure(web, 2, second()).await.is_ok());
        assert!(matches!(manager.restart_services(web, 2).await, Err(Fault::NotRunning(_))));
        assert_eq!(fake.asked(), NOTHING);
    }
    assert_eq!(runs(&fixture).await.services[0], service("hello.service", "a"));
    fake.is(InstanceState::Active);
    assert!(!manager.restart_services(web, 2).await.unwrap(), "its files are not shown yet");
    assert_ne!(runs(&fixture).await.services[0].digest, Digest::unknown());
}
