//! A model world for the planner's properties: it does what the services do, at once and without fail.

use crate::plan::{Action, Class, Plan, Step, plan, plan_absence, plan_removal};
use model::{
    DesiredTenant, InstanceSpec, Limits, ServiceSpec, Size, UnitName,
    identity::Slot,
    observed::{Held, InstanceState, Known, ObservedInstance, ObservedTenant},
    secrets::SecretSpec,
};
use proptest::prelude::*;

/// A tenant named `name` at a commit of forty times `digit`.
pub(crate) fn desired(name: &str, digit: char) -> DesiredTenant {
    DesiredTenant {
        name: name.parse().unwrap(),
        revision: digit.to_string().repeat(40).parse().unwrap(),
        enabled: true,
        image: "debian".parse().unwrap(),
        depends_on: Vec::new(),
        limits: Limits::default(),
        forwards: Vec::new(),
        claims: Vec::new(),
        sysext: Vec::new(),
        services: Vec::new(),
        secrets: Vec::new(),
        healthy_for_usec: 5_000_000,
        noticing: model::Noticing::default(),
        confirm: None,
        retention: model::Retention::default(),
        not_in_effect: Vec::new(),
    }
}

fn any_desired() -> impl Strategy<Value = DesiredTenant> {
    let any_forward = (1i64..4, 1i64..4).prop_map(|(host, tenant)| forward(host, tenant));
    (
        proptest::sample::select(vec!['a', 'b', 'c']),
        any::<bool>(),
        proptest::sample::select(vec!["debian", "fedora"]),
        proptest::option::of(1u64..3),
        proptest::collection::vec(any_forward, 0..2),
        proptest::sample::subsequence(vec!["tools", "trace"], 0..=2),
        proptest::sample::subsequence(
            vec![("a.service", 'a'), ("a.service", 'b'), ("b.service", 'a'), ("c.service", 'a')],
            0..=3,
        ),
        proptest::collection::vec(proptest::sample::select(vec![('t', 'a'), ('t', 'b'), ('u', 'a')]), 0..2),
    )
        .prop_map(|(digit, enabled, image, memory, forwards, sysext, services, secrets)| DesiredTenant {
            enabled,
            image: image.parse().unwrap(),
            limits: Limits { memory: memory.and_then(Size::from_bytes), ..Limits::default() },
            forwards,
            sysext: sysext.iter().map(|name| name.parse().unwrap()).collect(),
            services: each_once(services.iter().map(|(name, digit)| service(name, *digit))),
            secrets: secrets.into_iter().map(|(name, digit)| secret(name, digit)).collect(),
            ..desired("web", digit)
        })
}

fn each_once(services: impl Iterator<Item = ServiceSpec>) -> Vec<ServiceSpec> {
    services.fold(Vec::new(), |mut each, service| {
        if each.iter().all(|had: &ServiceSpec| had.unit != service.unit) {
            each.push(service);
        }
        each
    })
}

fn service(unit: &str, digit: char) -> ServiceSpec {
    ServiceSpec { unit: unit.parse().unwrap(), digest: digit.to_string().repeat(64).parse().unwrap() }
}

fn secret(name: char, digit: char) -> SecretSpec {
    SecretSpec { name: name.to_string().parse().unwrap(), digest: digit.to_string().repeat(64).parse().unwrap() }
}

fn forward(host: i64, tenant: i64) -> model::Forward {
    model::Forward {
        host: host.try_into().unwrap(),
        tenant: tenant.try_into().unwrap(),
        protocol: model::Protocol::Tcp,
    }
}

/// What the services would say after any history: parts absent, stale, damaged, or another request's.
fn any_observed() -> impl Strategy<Value = ObservedTenant> {
    let held = || proptest::option::of((any_desired(), any::<bool>()));
    let state = proptest::sample::select(vec![
        InstanceState::Inactive,
        InstanceState::Activating,
        InstanceState::Active,
        InstanceState::Deactivating,
        InstanceState::Failed,
    ]);
    (held(), held(), held(), proptest::option::of((any_desired(), state, proptest::option::of(any_desired()))))
        .prop_map(|(storage, network, extensions, instance)| ObservedTenant {
            storage: Known::Known(storage.map(|(d, intact)| Held { generation: 1, spec: d.storage(), intact })),
            network: Known::Known(network.map(|(d, intact)| Held { generation: 1, spec: d.network(slot()), intact })),
            extensions: Known::Known(extensions.map(|(d, intact)| Held {
                generation: 1,
                spec: d.extensions(),
                intact,
            })),
            instance: Known::Known(instance.map(|(d, state, running)| {
                ObservedInstance {
                    generation: 1,
                    spec: d.instance(slot()),
                    state,
                    running: running
                        .filter(|_| state != InstanceState::Inactive && state != InstanceState::Failed)
                        .map(|d| d.instance(slot())),
                }
            })),
        })
}

fn manifest() -> model::archive::Manifest {
    model::archive::Manifest {
        tenant: "web".parse().unwrap(),
        left_u_sec: 1_795_488_910_000_000,
        repository: None,
        reference: None,
        revision: None,
        image: None,
        uids: None,
    }
}

fn slot() -> Slot {
    Slot::new(7).unwrap()
}

fn known<T>(part: &mut Known<Option<T>>) -> &mut Option<T> {
    match part {
        Known::Known(held) => held,
        Known::Unknown => panic!("a step about something that nobody looked at"),
    }
}

/// Does a step as the services do, and holds them to what a step may count on.
fn apply(world: &mut ObservedTenant, action: &Action) {
    match action {
        Action::Stop => {
            let instance = known(&mut world.instance).as_mut().expect("stopping something");
            instance.state = InstanceState::Inactive;
            instance.running = None;
        }
        Action::EnsureStorage(spec) => {
            let replaces = known(&mut world.storage).as_ref().is_some_and(|held| held.spec != *spec);
            let up = known(&mut world.instance).as_ref().is_some_and(|instance| {
                matches!(
                    instance.state,
                    InstanceState::Active | InstanceState::Activating | InstanceState::Deactivating
                )
            });
            assert!(!(replaces && up), "a new root under a running tenant");
            *known(&mut world.storage) = Some(Held { generation: 2, spec: spec.clone(), intact: true });
        }
        Action::EnsureNetwork(spec) => {
            *known(&mut world.network) = Some(Held { generation: 2, spec: spec.clone(), intact: true });
        }
        Action::RemoveNetwork => *known(&mut world.network) = None,
        Action::Archive(_) => assert!(known(&mut world.storage).is_some(), "archived after it was removed"),
        Action::RemoveExtensions => *known(&mut world.extensions) = None,
        Action::RemoveStorage => {
            let up = known(&mut world.instance).as_ref().is_some_and(|instance| instance.running.is_some());
            assert!(!up, "removed under a running tenant");
            *known(&mut world.storage) = None;
        }
        Action::RemoveInstance => {
            assert!(known(&mut world.storage).is_none(), "its uids are free while its files are there");
            *known(&mut world.instance) = None;
        }
        Action::EnsureExtensions(spec) => {
            *known(&mut world.extensions) = Some(Held { generation: 2, spec: spec.clone(), intact: true });
        }
        Action::EnsureInstance(spec) => {
            let instance = known(&mut world.instance);
            let (state, running) =
                instance.take().map_or((InstanceState::Inactive, None), |held| (held.state, held.running));
            let running = running.map(|running: InstanceSpec| {
                let limited = running.hot(spec);
                match () {
                    () if limited == *spec => limited,
                    // What comes is started and what goes stopped; what changes goes on as it was.
                    () if spec.stands_on_the_same(&running) && state == InstanceState::Active => InstanceSpec {
                        services: spec.services.iter().map(|wanted| of_unit(&running, wanted).clone()).collect(),
                        ..spec.clone()
                    },
                    () => running,
                }
            });
            *instance = Some(ObservedInstance { generation: 2, spec: spec.clone(), state, running });
        }
        Action::RestartServices(units) => {
            let instance = known(&mut world.instance).as_mut().expect("restarting something");
            assert_eq!(instance.state, InstanceState::Active, "restarted in something that is not up");
            let running = instance.running.as_mut().expect("restarting something known");
            for unit in units {
                let wanted = instance.spec.services.iter().find(|service| service.unit == *unit).expect("a service");
                let runs = running.services.iter_mut().find(|service| service.unit == *unit).expect("one that runs");
                assert_ne!(runs, wanted, "restarted without a reason");
                *runs = wanted.clone();
            }
        }
        Action::Start | Action::Restart => {
            assert!(
                known(&mut world.storage).is_some() && known(&mut world.network).is_some(),
                "started without a ground"
            );
            let restart = *action == Action::Restart;
            let instance = known(&mut world.instance).as_mut().expect("starting something");
            // A start waits for one that is on its way up and begins one that is on its way down anew.
            if restart || instance.state != InstanceState::Activating || instance.running.is_none() {
                instance.running = Some(instance.spec.clone());
            }
            instance.state = InstanceState::Active;
        }
    }
}

/// What runs of the unit that is wanted like this.
fn of_unit<'a>(running: &'a InstanceSpec, wanted: &'a ServiceSpec) -> &'a ServiceSpec {
    running.services.iter().find(|service| service.unit == wanted.unit).unwrap_or(wanted)
}

pub(crate) fn converge(world: &mut ObservedTenant, desired: &DesiredTenant) {
    let steps = plan(desired, slot(), world).steps;
    for step in &steps {
        apply(world, &step.action);
    }
    assert_eq!(plan(desired, slot(), world), Plan::default(), "after {steps:?}");
}

fn hardest(plan: &Plan) -> Class {
    plan.class().unwrap_or(Class::Hot)
}

proptest! {
    #[test]
    fn it_converges_from_anything(mut world in any_observed(), desired in any_desired()) {
        converge(&mut world, &desired);
    }

    #[test]
    fn from_every_prefix_it_converges_back(a in any_desired(), b in any_desired(), mut world in any_observed()) {
        converge(&mut world, &a);
        let steps = plan(&b, slot(), &world).steps;
        for cut in 0..=steps.len() {
            let mut killed = world.clone();
            steps[..cut].iter().for_each(|step| apply(&mut killed, &step.action));
            converge(&mut killed, &a);
        }
    }

    #[test]
    fn the_lanes_of_a_stage_may_go_in_any_order(mut world in any_observed(), desired in any_desired(), second_first in any::<bool>()) {
        let planned = plan(&desired, slot(), &world);
        let mut taken = 0;
        for [first, second] in planned.stages() {
            let order = if second_first { [second, first] } else { [first, second] };
            for step in order.into_iter().flatten() {
                apply(&mut world, &step.action);
                taken += 1;
            }
        }
        prop_assert_eq!(taken, planned.steps.len());
        prop_assert_eq!(plan(&desired, slot(), &world), Plan::default());
    }

    #[test]
    fn nothing_is_done_about_what_is_not_known(mut world in any_observed(), desired in any_desired(), part in 0..4) {
        match part {
            0 => world.storage = Known::Unknown,
            1 => world.network = Known::Unknown,
            2 => world.extensions = Known::Unknown,
            _ => world.instance = Known::Unknown,
        }
        let plan = plan(&desired, slot(), &world);
        prop_assert!(plan.steps.is_empty() && plan.unknown.len() == 1 && !plan.is_empty());
    }

    #[test]
    fn a_tenant_that_should_run_loses_only_what_it_gets_anew(world in any_observed(), desired in any_desired()) {
        let desired = DesiredTenant { enabled: true, ..desired };
        let steps = plan(&desired, slot(), &world).steps;
        let at = |wanted: fn(&Action) -> bool| steps.iter().position(|step| wanted(&step.action));
        prop_assert!(at(|action| *action == Action::RemoveNetwork).is_none());
        if let Some(stop) = at(|action| *action == Action::Stop) {
            prop_assert!(at(|action| *action == Action::Start).is_some_and(|start| start > stop));
        }
    }

    #[test]
    fn nothing_is_left_of_who_is_removed_from_every_prefix_and_data_goes_only_after_it_was_archived(
        world in any_observed(), archived in any::<bool>(),
    ) {
        let manifest = manifest();
        let plan_of = |world: &ObservedTenant| plan_removal(world, archived.then_some(&manifest), "it left");
        let steps = plan_of(&world).steps;
        let at = |wanted: fn(&Action) -> bool| steps.iter().position(|step| wanted(&step.action));
        let (archive, remove) = (at(|a| matches!(a, Action::Archive(_))), at(|a| *a == Action::RemoveStorage));
        prop_assert!(remove.is_none_or(|remove| !archived || archive.is_some_and(|archive| archive < remove)));
        prop_assert_eq!(plan_of(&world).stages().into_iter().flatten().flatten().count(), steps.len());
        for cut in 0..=steps.len() {
            let mut killed = world.clone();
            steps[..cut].iter().for_each(|step| apply(&mut killed, &step.action));
            let rest = plan_of(&killed).steps;
            rest.iter().for_each(|step| apply(&mut killed, &step.action));
            prop_assert_eq!(&killed, &ObservedTenant::absent());
            prop_assert_eq!(plan_of(&killed), Plan::default());
        }
    }

    #[test]
    fn nothing_is_removed_of_what_is_not_known(mut world in any_observed(), part in 0..4) {
        match part {
            0 => world.storage = Known::Unknown,
            1 => world.network = Known::Unknown,
            2 => world.extensions = Known::Unknown,
            _ => world.instance = Known::Unknown,
        }
        let plan = plan_removal(&world, Some(&manifest()), "it left");
        prop_assert!(plan.steps.is_empty() && plan.unknown.len() == 1);
    }

    #[test]
    fn who_comes_back_in_the_middle_of_its_removal_runs_again(world in any_observed(), desired in any_desired()) {
        let steps = plan_removal(&world, Some(&manifest()), "it left").steps;
        for cut in 0..=steps.len() {
            let mut back = world.clone();
            steps[..cut].iter().for_each(|step| apply(&mut back, &step.action));
            converge(&mut back, &desired);
        }
        let mut stopped = world.clone();
        plan_absence(&stopped, "it left").steps.iter().for_each(|step| apply(&mut stopped, &step.action));
        prop_assert_eq!((&stopped.storage, &stopped.extensions), (&world.storage, &world.extensions), "a grace costs data");
        converge(&mut stopped, &desired);
    }

    #[test]
    fn more_change_is_never_milder(a in any_desired(), b in any_desired(), image in any::<bool>()) {
        let (a, b) = (DesiredTenant { enabled: true, ..a }, DesiredTenant { enabled: true, ..b });
        let mut world = ObservedTenant::absent();
        converge(&mut world, &a);
        let some = hardest(&plan(&b, slot(), &world));
        let more = if image {
            DesiredTenant { image: if a.image.as_str() == "debian" { "fedora" } else { "debian" }.parse().unwrap(), ..b }
        } else if b.revision == a.revision {
            DesiredTenant { revision: desired("web", 'f').revision, ..b }
        } else {
            b
        };
        prop_assert!(hardest(&plan(&more, slot(), &world)) >= some);
    }

    #[test]
    fn another_try_starts_the_tenant_once(mut world in any_observed(), desired in any_desired()) {
        let desired = DesiredTenant { enabled: true, ..desired };
        let again = plan(&desired, slot(), &world).anew("somebody asked");
        let starts = |step: &&Step| matches!(step.action, Action::Start | Action::Restart);
        prop_assert_eq!(again.steps.iter().filter(starts).count(), 1);
        again.steps.iter().for_each(|step| apply(&mut world, &step.action));
        prop_assert_eq!(plan(&desired, slot(), &world), Plan::default());
    }

    #[test]
    fn a_running_tenant_is_disturbed_no_more_than_it_needs(a in any_desired(), b in any_desired()) {
        let (a, b) = (DesiredTenant { enabled: true, ..a }, DesiredTenant { enabled: true, ..b });
        let mut world = ObservedTenant::absent();
        converge(&mut world, &a);
        let plan = plan(&b, slot(), &world);
        let does = |wanted: fn(&Action) -> bool| plan.steps.iter().any(|step| wanted(&step.action));
        let restarts = does(|action| matches!(action, Action::Restart | Action::Stop));
        prop_assert_eq!(restarts, a.image != b.image || a.sysext != b.sysext, "{:?}", plan);
        let running = a.instance(slot());
        let changed: Vec<UnitName> = b.instance(slot()).changed_services(&running).map(|service| service.unit.clone()).collect();
        let restarted = plan.steps.iter().filter_map(|step| {
            if let Action::RestartServices(units) = &step.action { Some(units.clone()) } else { None }
        });
        let restarted: Vec<UnitName> = restarted.flatten().collect();
        prop_assert_eq!(&restarted, if restarts { &[] } else { &changed[..] });
        let class = if a.image != b.image { Class::Reprovision } else if restarts || !changed.is_empty() { Class::Restart } else { Class::Hot };
        prop_assert_eq!(hardest(&plan), class, "{:?}", plan);
    }

    #[test]
    fn only_limits_and_forwards_are_one_step(a in any_desired(), memory in 5u64..9) {
        let a = DesiredTenant { enabled: true, ..a };
        let mut world = ObservedTenant::absent();
        converge(&mut world, &a);
        let limited = DesiredTenant { limits: Limits { memory: Size::from_bytes(memory), ..Limits::default() }, ..a.clone() };
        let limits = plan(&limited, slot(), &world);
        prop_assert!(matches!(&limits.steps[..], [step] if matches!(step.action, Action::EnsureInstance(_)) && step.class == Class::Hot));
        converge(&mut world.clone(), &limited);
        let forwarded = DesiredTenant { forwards: vec![forward(9, 9)], ..a };
        let forwards = plan(&forwarded, slot(), &world);
        prop_assert!(matches!(&forwards.steps[..], [step] if matches!(step.action, Action::EnsureNetwork(_)) && step.class == Class::Hot));
    }
}

#[test]
fn a_plan_reads_as_a_person_would_say_it() {
    let mut world = ObservedTenant::absent();
    let first = DesiredTenant { forwards: vec![forward(8080, 80)], ..desired("web", 'a') };
    let mut text = vec!["# a new tenant".to_owned()];
    text.extend(plan(&first, slot(), &world).lines());
    converge(&mut world, &first);
    let second =
        DesiredTenant { services: vec![service("a.service", 'a'), service("b.service", 'a')], ..desired("web", 'b') };
    text.push("# a commit with two services".to_owned());
    text.extend(plan(&second, slot(), &world).lines());
    converge(&mut world, &second);
    text.push("# another unit, one less, and another secret".to_owned());
    let third = DesiredTenant {
        services: vec![service("a.service", 'b')],
        secrets: vec![secret('t', 'a')],
        ..desired("web", 'c')
    };
    text.extend(plan(&third, slot(), &world).lines());
    text.push("# another file".to_owned());
    text.extend(plan(&DesiredTenant { revision: third.revision.clone(), ..second.clone() }, slot(), &world).lines());
    text.push("# an extension".to_owned());
    text.extend(plan(&DesiredTenant { sysext: vec!["tools".parse().unwrap()], ..third }, slot(), &world).lines());
    text.push("# another image".to_owned());
    text.extend(plan(&DesiredTenant { image: "fedora".parse().unwrap(), ..first.clone() }, slot(), &world).lines());
    text.push("# disabled".to_owned());
    text.extend(plan(&DesiredTenant { enabled: false, ..first.clone() }, slot(), &world).lines());
    text.push("# removed".to_owned());
    converge(&mut world, &DesiredTenant { sysext: vec!["tools".parse().unwrap()], ..first });
    text.extend(plan_removal(&world, Some(&manifest()), "it has left, and its grace is over").lines());
    insta::assert_snapshot!(text.join("\n"));
}
