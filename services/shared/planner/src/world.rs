//! A model world for the planner's properties: it does what the services do, at once and without fail.

use crate::plan::{Action, Class, Plan, Step, plan, plan_absence, plan_removal};
use model::{
    DesiredTenant, Hook, HookSpec, InstanceSpec, Limits, ServiceSpec, Size, UnitName,
    identity::Slot,
    inherited::Inherited,
    manifest::OomPolicy,
    observed::{Held, InstanceState, Known, Listening, ObservedInstance, ObservedTenant},
    secrets::SecretSpec,
    time::TimeSpan,
};
use proptest::prelude::*;

mod properties;

/// A tenant named `name` at a commit of forty times `digit`.
pub(crate) fn desired(name: &str, digit: char) -> DesiredTenant {
    DesiredTenant {
        name: name.parse().unwrap(),
        revision: digit.to_string().repeat(40).parse().unwrap(),
        enabled: true,
        image: "debian".parse().unwrap(),
        depends_on: Vec::new(),
        hooks: Vec::new(),
        limits: Limits::default(),
        inherited: Inherited::default(),
        security: model::security::Security::default(),
        forwards: Vec::new(),
        claims: Vec::new(),
        sysext: Vec::new(),
        services: Vec::new(),
        secrets: Vec::new(),
        healthy_for_usec: 5_000_000,
        noticing: model::Noticing::default(),
        confirm: None,
        sleep_after: None,
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
        proptest::sample::subsequence(vec![Hook::PreProvision, Hook::PreStop], 0..=2),
        (proptest::option::of(60u32..62), proptest::option::of(proptest::sample::select(vec![OomPolicy::Kill]))),
    )
        .prop_map(
            |(digit, enabled, image, memory, forwards, sysext, services, secrets, hooks, (sleep, oom_policy))| {
                DesiredTenant {
                    enabled,
                    image: image.parse().unwrap(),
                    limits: Limits { memory: memory.and_then(Size::from_bytes), ..Limits::default() },
                    inherited: Inherited { oom_policy, ..Inherited::default() },
                    forwards,
                    sysext: sysext.iter().map(|name| name.parse().unwrap()).collect(),
                    services: each_once(services.iter().map(|(name, digit)| service(name, *digit))),
                    secrets: secrets.into_iter().map(|(name, digit)| secret(name, digit)).collect(),
                    hooks: hooks.into_iter().map(hook).collect(),
                    sleep_after: sleep.and_then(TimeSpan::seconds),
                    ..desired("web", digit)
                }
            },
        )
}

fn hook(hook: Hook) -> HookSpec {
    HookSpec::new(hook, "scripts/check".parse().unwrap(), None)
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
    let listening = proptest::sample::select(vec![Listening::No, Listening::AsWritten, Listening::Otherwise]);
    let instance = (any_desired(), state, proptest::option::of(any_desired()), listening);
    (held(), held(), held(), proptest::option::of(instance)).prop_map(|(storage, network, extensions, instance)| {
        ObservedTenant {
            storage: Known::Known(storage.map(|(d, intact)| Held { generation: 1, spec: d.storage(), intact })),
            network: Known::Known(network.map(|(d, intact)| Held { generation: 1, spec: d.network(slot()), intact })),
            extensions: Known::Known(extensions.map(|(d, intact)| Held {
                generation: 1,
                spec: d.extensions(),
                intact,
            })),
            instance: Known::Known(instance.map(|(d, state, running, listening)| {
                ObservedInstance {
                    generation: 1,
                    spec: d.instance(slot()),
                    state,
                    running: running
                        .filter(|_| state != InstanceState::Inactive && state != InstanceState::Failed)
                        .map(|d| d.instance(slot())),
                    listening,
                }
            })),
        }
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
        Action::PreProvision(spec) => {
            let root = known(&mut world.storage).as_ref().map(|held| &held.spec.image);
            assert!(root != Some(&spec.image), "it runs before a new root only");
        }
        Action::Stop => {
            let instance = known(&mut world.instance).as_mut().expect("stopping something");
            instance.state = InstanceState::Inactive;
            instance.running = None;
            instance.listening = Listening::No;
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
            let listening = known(&mut world.instance).as_ref().map(|instance| instance.listening);
            assert!(listening.is_none_or(|listening| listening == Listening::No), "it would be woken");
            *known(&mut world.instance) = None;
        }
        Action::EnsureExtensions(spec) => {
            *known(&mut world.extensions) = Some(Held { generation: 2, spec: spec.clone(), intact: true });
        }
        Action::EnsureInstance(spec) => {
            let spec: &InstanceSpec = spec;
            let instance = known(&mut world.instance);
            let held = instance.take();
            let listening = match &held {
                None => Listening::No,
                Some(held) if held.listening == Listening::AsWritten && held.spec.wake != spec.wake => {
                    Listening::Otherwise
                }
                Some(held) => held.listening,
            };
            let (state, running) = held.map_or((InstanceState::Inactive, None), |held| (held.state, held.running));
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
            *instance = Some(ObservedInstance { generation: 2, spec: spec.clone(), state, running, listening });
        }
        Action::Listen => {
            let instance = known(&mut world.instance).as_mut().expect("listening for something");
            let listening = if instance.spec.wake.is_some() { Listening::AsWritten } else { Listening::No };
            instance.listening = listening;
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
