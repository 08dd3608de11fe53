//! The state of a boot: how often repositories are polled and, each behind a NUL, records of tenants.

use boot::{Entry, Moment, State, compile};
use model::{TenantName, names::RepositoryName, time::TimeSpan};

/// Lines that are the same each time.
const FIXED: [&str; 7] = [
    "",
    "[Unit]",
    "[Timer]",
    "[Service]",
    "Type=oneshot",
    "RemainAfterExit=yes",
    "Description=BitBuilder polling of repositories",
];
/// The first words of other lines in a unit of ours.
const DIRECTIVES: [&str; 6] =
    ["Wants=", "After=", "OnActiveSec=", "OnUnitInactiveSec=", "RandomizedDelaySec=", "Description=BitBuilder tenant"];

/// Whatever it holds, the units are ours by name, directive and value, and what cannot be used can be shown.
pub fn boot(data: &[u8]) {
    let mut state = State::default();
    let mut parts = data.split(|byte| *byte == 0);
    state.polling("polling", parts.next().unwrap_or_default());
    for (number, record) in parts.enumerate() {
        state.tenant(&format!("t{number}.json"), record);
    }
    let state = state.in_order();
    // One more look for circles finds none.
    assert_eq!(state.clone().in_order(), state);
    for fault in &state.faults {
        let said = fault.to_string();
        assert!(said.len() < 2000 && model::text::printable(&said) == said, "{said:?}");
    }
    for moment in [Moment::Boot, Moment::Late] {
        let output = compile(&state, moment);
        assert_eq!(output, compile(&state, moment));
        for (path, entry) in &output {
            assert!(path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-@./".contains(&byte)), "{path}");
            let Entry::File(text) = entry else { continue };
            if path != "bitbuilder-boot-state.service" {
                text.lines().for_each(is_ours);
            }
        }
    }
}

fn is_ours(line: &str) {
    if FIXED.contains(&line) {
        return;
    }
    if let Some(timers) = line.strip_prefix("ExecStart=systemctl start --no-block ") {
        return timers.split(' ').for_each(|timer| assert!(timer.ends_with(".timer") && is_unit(timer), "{line:?}"));
    }
    let directive = DIRECTIVES.iter().find(|directive| line.starts_with(**directive));
    let value = &line[directive.unwrap_or_else(|| panic!("{line:?}")).len()..];
    match directive {
        Some(&("Wants=" | "After=")) => value.split(' ').for_each(|unit| assert!(is_unit(unit), "{line:?}")),
        Some(&"Description=BitBuilder tenant") => {
            assert!(value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b" -".contains(&byte)), "{line:?}");
        }
        _ => assert!(value.is_empty() || value.parse::<TimeSpan>().is_ok(), "{line:?}"),
    }
}

fn is_unit(unit: &str) -> bool {
    let inner = |before: &str, after: &str| unit.strip_prefix(before)?.strip_suffix(after);
    let tenant = inner("tenant-", ".target").or_else(|| inner("bitbuilder-container@", ".service"));
    tenant.is_some_and(|name| name.parse::<TenantName>().is_ok())
        || inner("git-sync@", ".timer").is_some_and(|name| name.parse::<RepositoryName>().is_ok())
        || ["bitbuilder-extension.service", "bitbuilder-boot-state.service", "bitbuilder-polling.service"]
            .contains(&unit)
}
