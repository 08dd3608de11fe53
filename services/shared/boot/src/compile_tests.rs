//! The same units for the same state, and none but those of checked names with directives that are known here.

use super::*;
use crate::{Fault, Start, Timing};
use model::{
    Forward, InstanceSpec, Limits, Protocol, TenantName, Wake, identity::Slot, names::RepositoryName, record::Record,
};
use proptest::prelude::*;

/// The bytes of a record of a tenant that waits for others.
pub(crate) fn record(depends_on: &[&str], sysext: &[&str]) -> Vec<u8> {
    woken(depends_on, sysext, &[])
}

/// The same of one that is woken by connections to these ports, if there are any.
fn woken(depends_on: &[&str], sysext: &[&str], ports: &[u16]) -> Vec<u8> {
    let slot = Slot::new(3).unwrap();
    let spec = InstanceSpec {
        revision: "a".repeat(40).parse().unwrap(),
        image: "debian".parse().unwrap(),
        uids: slot.uids(),
        bridge: slot.bridge(),
        mac: slot.mac(),
        address: slot.address(),
        limits: Limits::default(),
        inherited: model::inherited::Inherited::default(),
        security: model::security::Security::default(),
        sysext: sysext.iter().map(|name| name.parse().unwrap()).collect(),
        services: Vec::new(),
        secrets: Vec::new(),
        depends_on: depends_on.iter().map(|name| name.parse().unwrap()).collect(),
        hooks: Vec::new(),
        wake: (!ports.is_empty())
            .then(|| Wake { forwards: ports.iter().map(forward).collect(), sleep_after: "1h".parse().unwrap() }),
    };
    serde_json::to_vec(&Record { generation: 1, spec }).unwrap()
}

fn forward(port: &u16) -> Forward {
    Forward { host: i64::from(*port).try_into().unwrap(), tenant: 80.try_into().unwrap(), protocol: Protocol::Tcp }
}

fn shown(output: &Output) -> String {
    let entry = |(path, entry): (&String, &Entry)| match entry {
        Entry::File(text) => format!("# {path}\n{text}\n"),
        Entry::Link(to) => format!("# {path} -> {to}\n\n"),
    };
    output.iter().map(entry).collect()
}

fn state() -> State {
    let mut state = State::default();
    state.tenant("web.json", &record(&["db"], &["tools"]));
    state.tenant("db.json", &record(&[], &[]));
    state.tenant("mail.json", b"{");
    state.tenant("shop.json", &woken(&["db"], &[], &[8080, 8443]));
    state.polling.insert(RepositoryName::system(), Timing::default());
    let seldom = Timing { interval: "1d".parse().unwrap(), ..Timing::default() };
    state.polling.insert("web".parse().unwrap(), seldom);
    state.in_order()
}

#[test]
fn golden() {
    insta::assert_snapshot!(shown(&compile(&state(), Moment::Boot)));
}

#[test]
fn late_nothing_is_linked_into_a_target_that_is_loaded() {
    let late = compile(&state(), Moment::Late);
    assert!(late.values().all(|entry| matches!(entry, Entry::File(_))), "{late:?}");
    let Some(Entry::File(target)) = late.get(units::LATE_TARGET) else { panic!("{late:?}") };
    for unit in ["tenant-web.target", "tenant-db.target", "bitbuilder-polling.service", "bitbuilder-boot-state.service"]
    {
        assert!(target.lines().any(|line| line == format!("Wants={unit}")), "{target}");
    }
    let boot = compile(&state(), Moment::Boot);
    assert_eq!(late.get("tenant-web.target"), boot.get("tenant-web.target"));
}

#[test]
fn nothing_is_made_of_nothing() {
    assert!(compile(&State::default(), Moment::Boot).is_empty());
    assert_eq!(later().len(), 2);
}

#[test]
fn a_circle_is_broken_and_said() {
    let mut state = State::default();
    state.tenant("a.json", &record(&["b"], &[]));
    state.tenant("b.json", &record(&["a"], &[]));
    let state = state.in_order();
    assert_eq!(
        state.faults.iter().map(Fault::to_string).collect::<Vec<_>>(),
        ["b.json: it would wait for itself by waiting for a"]
    );
    let Some(Entry::File(text)) = compile(&state, Moment::Boot).remove("tenant-b.target") else { panic!("no target") };
    assert!(!text.contains("tenant-a"), "{text}");
}

/// Whether a line is one of those that a unit of ours may have, with names that are checked.
fn is_ours(line: &str) -> bool {
    let unit = |unit: &str| {
        let inner = |before: &str, after: &str| unit.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
        let tenant = inner("tenant-", ".target").or_else(|| inner("bitbuilder-container@", ".service"));
        tenant.is_some_and(|name| name.parse::<TenantName>().is_ok())
            || inner("git-sync@", ".timer").is_some_and(|name| name.parse::<RepositoryName>().is_ok())
            || ["bitbuilder-extension.service", units::FAULTS, units::POLLING, units::LISTENING].contains(&unit)
    };
    let is_socket = |name: &str| {
        let inner = name.strip_prefix("bitbuilder-wake@").and_then(|rest| rest.strip_suffix(".socket"));
        inner.is_some_and(|name| name.parse::<TenantName>().is_ok())
    };
    let port = |text: &str| text.parse::<u16>().is_ok();
    let span = |text: &str| text.is_empty() || text.parse::<model::time::TimeSpan>().is_ok();
    match line.split_once('=') {
        None => ["", "[Unit]", "[Timer]", "[Service]", "[Socket]"].contains(&line),
        Some(("Wants" | "After", words)) => words.split(' ').all(unit),
        Some(("OnActiveSec" | "OnUnitInactiveSec" | "RandomizedDelaySec", text)) => span(text),
        Some(("ListenStream", text)) => text.strip_prefix("0.0.0.0:").is_some_and(port),
        Some(("X-LeadsTo", text)) => port(text),
        Some(("Type" | "RemainAfterExit", text)) => ["oneshot", "yes"].contains(&text),
        Some(("ExecStart", text)) => {
            let started = text.strip_prefix("systemctl start --no-block ");
            started.is_some_and(|started| {
                started.split(' ').all(|name| name.ends_with(".timer") && unit(name) || is_socket(name))
            })
        }
        Some(("Description", text)) => {
            let known =
                text.strip_prefix("BitBuilder tenant ").and_then(|rest| rest.strip_suffix(" and what belongs to it"));
            known.is_some_and(|name| name.parse::<TenantName>().is_ok())
                || [
                    "BitBuilder tenants whose state came late",
                    "BitBuilder polling of repositories",
                    "BitBuilder sockets of tenants that are activated on demand",
                ]
                .contains(&text)
        }
        Some(_) => false,
    }
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("web.json".to_owned()),
        Just("db.json".to_owned()),
        "\\PC{0,20}",
        "[a-z\n%=\\[\\]./-]{1,12}\\.json"
    ]
}

fn content() -> impl Strategy<Value = Vec<u8>> {
    let right = || proptest::collection::vec("[a-d]|web|db", 0..4);
    let made = |(names, ports): (Vec<String>, Vec<u16>)| {
        woken(&names.iter().map(String::as_str).collect::<Vec<_>>(), &[], &ports)
    };
    let right = move || (right(), proptest::collection::vec(1..=u16::MAX, 0..3));
    let bent = (right(), any::<prop::sample::Index>(), any::<u8>()).prop_map(move |(right, at, byte)| {
        let mut bytes = made(right);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        bytes
    });
    prop_oneof![right().prop_map(made), bent, proptest::collection::vec(any::<u8>(), 0..200)]
}

proptest! {
    #[test]
    fn whatever_the_state_holds_units_are_named_and_directed_by_us(
        files in proptest::collection::vec((name(), content()), 0..8),
        polling in prop_oneof![Just(b"{\"web\":{\"interval\":\"1d\",\"jitter\":\"0\"}}".to_vec()), content()],
    ) {
        let mut state = State::default();
        files.iter().for_each(|(name, bytes)| state.tenant(name, bytes));
        state.polling("polling", &polling);
        let state = state.in_order();
        for moment in [Moment::Boot, Moment::Late] {
            let output = compile(&state, moment);
            prop_assert_eq!(&output, &compile(&state.clone(), moment));
            for (path, entry) in &output {
                prop_assert!(path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-@./".contains(&byte)), "{}", path);
                prop_assert!(!path.contains("..") && !path.starts_with('/'));
                match entry {
                    Entry::File(text) if path == units::FAULTS => prop_assert_eq!(text, &units::faults_text(state.faults.len())),
                    Entry::File(text) => text.lines().for_each(|line| assert!(is_ours(line), "{path}: {line:?}")),
                    Entry::Link(to) => prop_assert!(to.starts_with("../")),
                }
            }
        }
        for fault in &state.faults {
            let said = fault.to_string();
            prop_assert!(said.len() < 2000 && model::text::printable(&said) == said, "{:?}", said);
        }
    }

    #[test]
    fn what_is_right_is_used(names in proptest::collection::btree_set("[a-z]{1,6}", 1..6)) {
        let mut state = State::default();
        names.iter().for_each(|name| state.tenant(&format!("{name}.json"), &record(&[], &[])));
        let right: Vec<&String> = names.iter().filter(|name| name.parse::<TenantName>().is_ok()).collect();
        prop_assert_eq!(state.tenants.len(), right.len());
        prop_assert_eq!(state.faults.len(), names.len() - right.len());
        prop_assert!(state.tenants.values().all(|start| *start == Start::default()));
    }
}
