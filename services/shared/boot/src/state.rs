//! What was written down of the tenants, parsed: what each start needs of a record, and what could not be used.

use crate::{Polling, order};
use model::{InstanceSpec, TenantName, Wake, record::Record, text::printable};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};
use thiserror::Error;

/// What a reason may have of somebody else's words, in characters.
const LONGEST: usize = 200;

/// What a tenant's start needs to be put in its place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Start {
    /// The tenants that are started before it.
    pub depends_on: BTreeSet<TenantName>,
    /// Whether it has system extensions.
    pub extended: bool,
    /// What wakes it, if it is not started at boot itself.
    pub wake: Option<Wake>,
}

/// Something that could not be used, in words that can be shown.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{what}: {reason}")]
pub struct Fault {
    what: String,
    reason: String,
}

impl Fault {
    /// Of `what`, for `reason`; both may hold whatever somebody wrote.
    #[must_use]
    pub fn new(what: &str, reason: &dyn fmt::Display) -> Self {
        let shown = |text: &str| printable(text).chars().take(LONGEST).collect::<String>();
        Self { what: shown(what), reason: shown(&reason.to_string().replace('\n', " ")) }
    }
}

/// What was written down of the tenants, as far as it could be understood.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// The tenants that are started at boot. Nobody waits for himself in the end.
    pub tenants: BTreeMap<TenantName, Start>,
    /// The repositories that are polled.
    pub polling: Polling,
    /// What could not be used.
    pub faults: Vec<Fault>,
}

impl State {
    /// Takes in a tenant's record; one that is not understood is a fault.
    pub fn tenant(&mut self, file: &str, bytes: &[u8]) {
        let name = file.strip_suffix(".json").map(str::parse::<TenantName>);
        let Some(Ok(name)) = name else { return self.fault(file, &"no record of a tenant is called that") };
        match record(bytes) {
            Ok(start) => drop(self.tenants.insert(name, start)),
            Err(cause) => self.fault(file, &cause),
        }
    }

    /// Takes in how often repositories are polled.
    pub fn polling(&mut self, file: &str, bytes: &[u8]) {
        match serde_json::from_slice(bytes) {
            Ok(polling) => self.polling = polling,
            Err(cause) => self.fault(file, &cause),
        }
    }

    /// Notes what could not be used.
    pub fn fault(&mut self, what: &str, reason: &dyn fmt::Display) {
        self.faults.push(Fault::new(what, reason));
    }

    /// Takes circles away, when everything is in.
    #[must_use]
    pub fn in_order(mut self) -> Self {
        let waits = self.tenants.iter_mut().map(|(name, start)| (name.clone(), std::mem::take(&mut start.depends_on)));
        let mut waits: order::Waits = waits.collect();
        for (tenant, other) in order::break_circles(&mut waits) {
            self.fault(&format!("{tenant}.json"), &format_args!("it would wait for itself by waiting for {other}"));
        }
        for (name, depends_on) in waits {
            if let Some(start) = self.tenants.get_mut(&name) {
                start.depends_on = depends_on;
            }
        }
        self
    }
}

/// What a start needs of a tenant's record. All of it has to be right: the tenant manager starts nothing else.
fn record(bytes: &[u8]) -> Result<Start, serde_json::Error> {
    let Record { spec, .. } = serde_json::from_slice::<Record<InstanceSpec>>(bytes)?;
    Ok(Start { depends_on: spec.depends_on.into_iter().collect(), extended: !spec.sysext.is_empty(), wake: spec.wake })
}
