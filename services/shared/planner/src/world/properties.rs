//! What holds of every plan, whatever is there and whatever is wanted.

use super::*;
use model::manifest::IoClass;

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
        let stands = a.image == b.image && a.sysext == b.sysext && a.inherited == b.inherited;
        prop_assert_eq!(restarts, !stands, "{:?}", plan);
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
    fn who_sleeps_is_left_alone_and_is_woken_by_what_is_new_or_has_not_held(a in any_desired(), b in any_desired()) {
        let (a, b) = (DesiredTenant { enabled: true, ..a }, DesiredTenant { enabled: true, ..b });
        let mut world = ObservedTenant::absent();
        converge(&mut world, &a);
        let instance = known(&mut world.instance).as_mut().unwrap();
        (instance.state, instance.running) = (InstanceState::Inactive, None);
        prop_assert_eq!(world.sleeps(), a.sleep_after.is_some());
        let starts = |plan: &Plan| plan.steps.iter().filter(|step| step.action == Action::Start).count();
        let same = plan(&a, slot(), &world);
        prop_assert_eq!(same.is_empty(), a.sleep_after.is_some(), "{:?}", same);
        prop_assert_eq!(starts(&same.awake(&world)), 1);
        let changed = a.instance(slot()) != b.instance(slot());
        prop_assert!(!changed || starts(&plan(&b, slot(), &world)) == 1);
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
        let forwarded = DesiredTenant { forwards: vec![forward(9, 9)], sleep_after: None, ..a.clone() };
        let mut world = ObservedTenant::absent();
        converge(&mut world, &DesiredTenant { sleep_after: None, ..a });
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
    text.push("# another IO scheduling class, and another limit".to_owned());
    let idle = Inherited { io_class: Some(IoClass::Idle), ..Inherited::default() };
    let limits = Limits { cpu_cores: Some(2), ..Limits::default() };
    text.extend(plan(&DesiredTenant { inherited: idle, limits, ..second.clone() }, slot(), &world).lines());
    text.push("# another image".to_owned());
    text.extend(plan(&DesiredTenant { image: "fedora".parse().unwrap(), ..first.clone() }, slot(), &world).lines());
    text.push("# a script before it, or before a stop".to_owned());
    let asked = DesiredTenant { hooks: vec![hook(Hook::PreProvision), hook(Hook::PreStop)], ..first.clone() };
    text.extend(plan(&asked, slot(), &world).lines());
    text.extend(plan(&DesiredTenant { image: "fedora".parse().unwrap(), ..asked }, slot(), &world).lines());
    text.push("# one that is activated on demand".to_owned());
    let woken = DesiredTenant { sleep_after: TimeSpan::seconds(600), ..first.clone() };
    let mut slept = ObservedTenant::absent();
    text.extend(plan(&woken, slot(), &slept).lines());
    converge(&mut slept, &woken);
    text.push("# the same of one that always ran".to_owned());
    text.extend(plan(&woken, slot(), &world).lines());
    let instance = known(&mut slept.instance).as_mut().unwrap();
    (instance.state, instance.running) = (InstanceState::Inactive, None);
    text.push("# it sleeps, and another commit comes".to_owned());
    text.extend(plan(&DesiredTenant { sleep_after: woken.sleep_after, ..second.clone() }, slot(), &slept).lines());
    text.push("# disabled".to_owned());
    text.extend(plan(&DesiredTenant { enabled: false, ..first.clone() }, slot(), &world).lines());
    text.push("# removed".to_owned());
    converge(&mut world, &DesiredTenant { sysext: vec!["tools".parse().unwrap()], ..first });
    text.extend(plan_removal(&world, Some(&manifest()), "it has left, and its grace is over").lines());
    insta::assert_snapshot!(text.join("\n"));
}
