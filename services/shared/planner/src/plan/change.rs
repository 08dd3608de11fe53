//! What has to happen to a tenant that runs so that it runs something else: no more than the difference needs.

use super::words;
use model::{InstanceSpec, UnitName, observed::InstanceState};

/// The difference between what runs and what should.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Change {
    /// Why all of it has to be started anew.
    pub(super) restart: Option<String>,
    /// Why something of it is replaced while it runs.
    pub(super) hot: Option<String>,
    /// The services that have to be started anew, if not all of it.
    pub(super) services: Vec<UnitName>,
}

impl Change {
    pub(super) fn between(running: Option<&InstanceSpec>, wanted: &InstanceSpec, state: InstanceState) -> Self {
        let Some(running) = running else {
            return Self { restart: Some("it is not known what runs".to_owned()), ..Self::default() };
        };
        if running == wanted {
            return Self::default();
        }
        if running.hot(wanted) == *wanted {
            let why = match () {
                () if running.limits != wanted.limits => "only its limits change",
                () if running.wake != wanted.wake => "what wakes it changes",
                () => "what it waits for changes",
            };
            return Self { hot: Some(why.to_owned()), ..Self::default() };
        }
        let mut shown = reasons(running, wanted);
        let services: Vec<UnitName> = wanted.changed_services(running).map(|service| service.unit.clone()).collect();
        // Nothing is shown to one that is still on its way, or already ends.
        if wanted.stands_on_the_same(running) && state == InstanceState::Active {
            let hot = (!shown.is_empty()).then(|| shown.join(", "));
            return Self { restart: None, hot, services };
        }
        if let Some(changed) = words::services(&services, "changes", "change") {
            shown.push(changed);
        }
        if running.sysext != wanted.sysext {
            shown.push("its extensions change".to_owned());
        }
        if running.inherited != wanted.inherited {
            shown.push("what its processes are started with changes".to_owned());
        }
        if running.security != wanted.security {
            shown.push("what confines it changes".to_owned());
        }
        if running.image != wanted.image {
            shown.push("its image changes".to_owned());
        }
        let why = if shown.is_empty() { "its identity changes".to_owned() } else { shown.join(", ") };
        Self { restart: Some(why), ..Self::default() }
    }
}

/// What of it can be replaced while it runs.
fn reasons(running: &InstanceSpec, wanted: &InstanceSpec) -> Vec<String> {
    let units = |beyond: &mut dyn Iterator<Item = &UnitName>| beyond.cloned().collect::<Vec<_>>();
    let added = units(&mut wanted.services_beyond(running));
    let removed = units(&mut running.services_beyond(wanted));
    let reasons = [
        (running.revision != wanted.revision)
            .then(|| format!("the configuration changes to {}", words::commit(&wanted.revision))),
        (running.limits != wanted.limits).then(|| "its limits change".to_owned()),
        (running.depends_on != wanted.depends_on).then(|| "what it waits for changes".to_owned()),
        (running.wake != wanted.wake).then(|| "what wakes it changes".to_owned()),
        words::services(&added, "is new", "are new"),
        words::services(&removed, "goes", "go"),
        (running.hooks != wanted.hooks).then(|| "its hooks change".to_owned()),
        (running.secrets != wanted.secrets).then(|| words::secrets(&running.secrets, &wanted.secrets)),
    ];
    reasons.into_iter().flatten().chain(reordered(running, wanted)).collect()
}

/// The same services in another order are nothing to anybody, but what is written down has to be what is wanted.
fn reordered(running: &InstanceSpec, wanted: &InstanceSpec) -> Option<String> {
    let units = |spec: &InstanceSpec| spec.services.iter().map(|service| service.unit.clone()).collect::<Vec<_>>();
    let (before, after) = (units(running), units(wanted));
    let same = before.len() == after.len() && before.iter().all(|unit| after.contains(unit));
    (same && before != after).then(|| "its services are in another order".to_owned())
}
