//! The verbs against a service manager that remembers what it was asked.

use super::*;
use model::Limits;

#[path = "manager_fake.rs"]
mod fake;

use fake::Machine;
pub(crate) use fake::{Fixture, fixture, service, spec};

#[tokio::test]
async fn a_tenants_life_changes_what_differs_and_nothing_else() {
    let Fixture { fake, manager, web, root } = fixture();
    let config = root.path().join("var/lib/tenants/web/config");
    assert!(matches!(manager.start(&web, 1).await, Err(Fault::NoSuchTenant(_))));
    assert!(manager.ensure(&web, 1, spec("a")).await.unwrap());
    assert!(config.join("units/hello.service").is_file());
    fs::remove_file(&config).unwrap();
    assert!(manager.ensure(&web, 1, spec("a")).await.unwrap(), "the view is made anew");
    assert!(!manager.ensure(&web, 2, spec("a")).await.unwrap());
    assert!(matches!(manager.ensure(&web, 1, spec("b")).await, Err(Fault::Stale(_))));
    assert!(manager.start(&web, 2).await.unwrap());
    assert!(!manager.start(&web, 3).await.unwrap());
    assert!(matches!(manager.stop(&web, 2).await, Err(Fault::Stale(_))));
    assert_eq!(fake.asked(), ["start web"]);

    let limited = InstanceSpec { limits: Limits { cpu_cores: Some(2), ..Limits::default() }, ..spec("a") };
    assert!(manager.ensure(&web, 4, limited.clone()).await.unwrap());
    assert!(!manager.ensure(&web, 4, limited.clone()).await.unwrap());
    assert_eq!(fake.asked(), ["limit web to Some(2) cores"]);
    let listed = manager.list(None).await.unwrap();
    assert_eq!((listed[0].state, listed[0].running.as_ref()), (InstanceState::Active, Some(&limited)));

    // The ground changes: the running tenant keeps what it has until it is restarted.
    let extended = InstanceSpec { sysext: vec!["tools".parse().unwrap()], ..spec("b") };
    assert!(manager.ensure(&web, 5, extended.clone()).await.unwrap());
    assert!(fs::read_link(&config).unwrap().ends_with("b".repeat(40)));
    assert_eq!(fake.asked(), [""; 0]);
    assert_eq!(manager.list(Some(web.clone())).await.unwrap()[0].running, Some(limited));
    assert!(manager.restart(&web, 5).await.unwrap());
    assert_eq!(manager.list(None).await.unwrap()[0].running, Some(extended));

    assert!(manager.stop(&web, 6).await.unwrap());
    assert!(!manager.stop(&web, 6).await.unwrap());
    assert_eq!(fake.asked(), ["start web", "stop web"]);
    let stopped = &manager.list(None).await.unwrap()[0];
    assert_eq!((stopped.generation, stopped.state, &stopped.running), (6, InstanceState::Inactive, &None));
    assert!(matches!(manager.running_services(&web).await, Err(Fault::NotRunning(_))));

    assert!(matches!(manager.remove(&web, 5).await, Err(Fault::Stale(_))));
    assert!(manager.start(&web, 7).await.unwrap());
    assert!(matches!(manager.remove(&web, 8).await, Err(Fault::InUse(_))));
    assert!(manager.stop(&web, 8).await.unwrap());
    assert!(manager.remove(&web, 8).await.unwrap());
    assert!(!manager.remove(&web, 8).await.unwrap());
    assert!(manager.list(None).await.unwrap().is_empty());
    assert_eq!(fake.asked(), ["start web", "stop web", "forget web", "forget web"]);
}

#[tokio::test]
async fn a_limit_that_was_written_but_not_applied_is_applied_by_the_next_call() {
    let Fixture { fake, manager, web, root: _root } = fixture();
    manager.ensure(&web, 1, spec("a")).await.unwrap();
    manager.start(&web, 1).await.unwrap();
    let limited = InstanceSpec { limits: Limits { cpu_cores: Some(1), ..Limits::default() }, ..spec("a") };
    // As a kill between the two leaves it.
    fake.held.write(&web, &Record { generation: 2, spec: limited.clone() }).unwrap();
    assert!(manager.ensure(&web, 2, limited).await.unwrap());
    assert_eq!(fake.asked(), ["start web", "limit web to Some(1) cores"]);
}

#[tokio::test]
async fn a_tenant_that_does_not_come_up_is_not_tried_again() {
    let Fixture { fake, manager, web, root: _root } = fixture();
    manager.ensure(&web, 1, spec("a")).await.unwrap();
    *fake.machine.lock().unwrap() = Machine { refuses: true, enters: true, ..Machine::default() };
    let fault = manager.start(&web, 1).await.unwrap_err();
    assert_eq!(fault.to_string(), "web did not come up: its start ended as failed; result exit-code; status 1");
    assert_eq!(fake.asked(), ["start web", "stop web"]);
}

#[tokio::test]
async fn what_the_host_did_is_not_the_tenants_fault() {
    let Fixture { fake, manager, web, root: _root } = fixture();
    manager.ensure(&web, 1, spec("a")).await.unwrap();
    manager.start(&web, 1).await.unwrap();
    assert_eq!(fake.asked(), ["start web"]);
    let refusals = [
        (Machine { enters: true, job: Some("canceled"), ..Machine::default() }, vec!["start web"]),
        (Machine { enters: true, stopping: true, ..Machine::default() }, vec!["start web", "stop web"]),
        (Machine { enters: true, full: true, ..Machine::default() }, vec!["start web", "stop web"]),
        // The note that is there is of the start before.
        (Machine::default(), vec!["start web", "stop web"]),
    ];
    for (machine, asked) in refusals {
        *fake.machine.lock().unwrap() = Machine { refuses: true, ..machine };
        let fault = manager.restart(&web, 1).await.unwrap_err();
        assert!(matches!(fault, Fault::NotStarted { .. }), "{fault}");
        assert_eq!(fake.asked(), asked);
    }
    *fake.machine.lock().unwrap() = Machine { full: true, ..Machine::default() };
    let fault = manager.start(&web, 1).await.unwrap_err();
    assert!(fault.to_string().contains("fs.inotify.max_user_instances"), "{fault}");
    assert!(fake.asked().is_empty(), "it takes from nobody else");
    let silent = || Fault::Unanswered { tenant: "web".parse().unwrap(), reason: String::new() };
    fake.machine.lock().unwrap().states.insert(web.clone(), InstanceState::Active);
    assert!(matches!(manager.unanswered(&web, silent()).await, Fault::Unanswered { .. }));
    fake.machine.lock().unwrap().stopping = true;
    assert!(matches!(manager.unanswered(&web, silent()).await, Fault::GoingDown));
    *fake.machine.lock().unwrap() = Machine::default();
    assert!(matches!(manager.unanswered(&web, silent()).await, Fault::NotRunning(_)));
    assert!(matches!(manager.running_services(&web).await, Err(Fault::NotRunning(_))));
    fake.machine.lock().unwrap().stopping = true;
    assert!(matches!(manager.running_services(&web).await, Err(Fault::GoingDown)));
}

#[tokio::test]
async fn what_an_ended_start_left_is_no_tenant() {
    let Fixture { fake, manager, web, root: _root } = fixture();
    fake.held.note_started(&web, &Record { generation: 1, spec: spec("a") }).unwrap();
    assert_eq!(manager.list(None).await.unwrap(), []);
    fake.machine.lock().unwrap().states.insert(web.clone(), InstanceState::Active);
    assert_eq!(manager.list(None).await.unwrap()[0].running, Some(spec("a")));
}

#[tokio::test]
async fn what_cannot_run_is_not_written_down() {
    let Fixture { manager, web, root: _root, fake: _fake } = fixture();
    let services = vec![service("absent.service", "a")];
    assert!(matches!(manager.ensure(&web, 1, InstanceSpec { services, ..spec("a") }).await, Err(Fault::Unit(_))));
    assert!(matches!(manager.ensure(&web, 1, spec("c")).await, Err(Fault::File(_))));
    let mut of_the_host = spec("a");
    of_the_host.uids.first = 0;
    assert!(matches!(manager.ensure(&web, 1, of_the_host).await, Err(Fault::File(_))));
    assert_eq!(manager.list(None).await.unwrap(), []);
    assert_eq!(manager.list(Some(web)).await.unwrap(), []);
}

#[tokio::test]
async fn polling_follows_what_is_wanted() {
    let Fixture { manager, fake, root, .. } = fixture();
    let timer = |repository: &str, interval: &str| Timer {
        repository: repository.parse().unwrap(),
        interval: interval.parse().unwrap(),
        jitter: "10s".parse().unwrap(),
    };
    let drop_in = |repository: &str| {
        let path = format!("run/systemd/system/git-sync@{repository}.timer.d/50-bitbuilder.conf");
        fs::read_to_string(root.path().join(path)).ok()
    };
    let both = [timer("web", "1min"), timer("system", "30s")];
    assert!(manager.ensure_polling(&both).await.unwrap());
    let mut asked = fake.asked();
    asked.sort();
    assert_eq!(asked, ["poll system", "poll web"]);
    assert!(drop_in("web").unwrap().contains("OnUnitInactiveSec=1min") && drop_in("system").is_none());
    assert!(!manager.ensure_polling(&both).await.unwrap());
    assert_eq!(fake.asked(), [""; 0]);

    // One that changes is stopped and started, and no other.
    assert!(manager.ensure_polling(&[timer("web", "2min"), timer("system", "30s")]).await.unwrap());
    assert_eq!(fake.asked(), ["stop polling web", "poll web"]);
    let written = fs::read_to_string(root.path().join("var/lib/bitbuilder/boot/polling")).unwrap();
    assert_eq!(serde_json::from_str::<boot::Polling>(&written).unwrap().len(), 2);
    // One that somebody stopped is started, and one that was killed in between is made good.
    fake.machine.lock().unwrap().polled.clear();
    assert!(manager.ensure_polling(&[timer("web", "30s")]).await.unwrap());
    assert_eq!((fake.asked(), drop_in("web")), (vec!["poll web".to_owned()], None));
    assert!(manager.ensure_polling(&[timer("web", "5min")]).await.unwrap());
    fake.asked();
    fake.machine.lock().unwrap().polled.clear();
    assert!(manager.ensure_polling(&[]).await.unwrap());
    assert_eq!((fake.asked(), drop_in("web")), (vec!["stop polling web".to_owned()], None));
    assert!(!manager.ensure_polling(&[]).await.unwrap());

    // What was made at boot counts, and is outdone by what is wanted now, also where that is usual.
    let made = root.path().join("run/systemd/generator/git-sync@web.timer.d");
    fs::create_dir_all(&made).unwrap();
    fs::write(
        made.join("50-bitbuilder.conf"),
        boot::Timing { interval: "5min".parse().unwrap(), jitter: "10s".parse().unwrap() }.text(),
    )
    .unwrap();
    fake.machine.lock().unwrap().polled.insert("web".parse().unwrap());
    assert!(!manager.ensure_polling(&[timer("web", "5min")]).await.unwrap());
    assert_eq!(fake.asked(), [""; 0]);
    assert!(manager.ensure_polling(&[timer("web", "30s")]).await.unwrap());
    assert!(drop_in("web").unwrap().contains("OnUnitInactiveSec=30s"));
}

#[tokio::test]
async fn what_a_tenant_waits_for_changes_without_a_restart() {
    let Fixture { manager, fake, web, root } = fixture();
    manager.ensure(&web, 1, spec("a")).await.unwrap();
    manager.start(&web, 1).await.unwrap();
    fake.asked();
    let waiting = InstanceSpec { depends_on: vec!["db".parse().unwrap()], ..spec("a") };
    let target = root.path().join("run/systemd/system/tenant-web.target");
    assert!(target.exists());
    assert!(manager.ensure(&web, 2, waiting.clone()).await.unwrap());
    assert_eq!(fake.asked(), [""; 0], "nothing is limited, stopped or started");
    assert_eq!(manager.list(None).await.unwrap()[0].running, Some(waiting.clone()));
    assert!(!manager.ensure(&web, 3, waiting).await.unwrap());
    manager.stop(&web, 3).await.unwrap();
    assert!(!target.exists());
}
