//! From the state to the units: the same files for the same state, whatever is in it.

use crate::{State, units};
use std::collections::BTreeMap;

/// What has to be at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A file with this text.
    File(String),
    /// A symbolic link to this.
    Link(String),
}

/// What has to be where, by path below the directory that systemd reads.
pub type Output = BTreeMap<String, Entry>;

/// When the units are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Before PID 1 has read any.
    Boot,
    /// When its own targets are loaded, and want nothing new any more.
    Late,
}

/// The units that start the tenants as `state` says.
#[must_use]
pub fn compile(state: &State, moment: Moment) -> Output {
    let mut output = Output::new();
    let (mut wanted, mut timers, mut sockets) = (Vec::new(), Vec::new(), Vec::new());
    for (tenant, start) in &state.tenants {
        let (target, container) = (units::target(tenant), units::container(tenant));
        output.insert(target.clone(), Entry::File(units::target_text(tenant, &start.depends_on)));
        if let Some(order) = units::order_text(&start.depends_on, start.extended) {
            output.insert(format!("{container}.d/{}", units::DROP_IN), Entry::File(order));
        }
        match &start.wake {
            None => wanted.push(target),
            Some(wake) => {
                let socket = units::wake_socket(tenant);
                output.insert(format!("{socket}.d/{}", units::DROP_IN), Entry::File(units::listen_text(wake)));
                sockets.push(socket);
            }
        }
    }
    for (repository, timing) in &state.polling {
        let timer = units::timer(repository);
        if let Some(text) = timing.unusual() {
            output.insert(format!("{timer}.d/{}", units::DROP_IN), Entry::File(text));
        }
        timers.push(timer);
    }
    for (unit, what, started) in [
        (units::POLLING, "polling of repositories", timers),
        (units::LISTENING, "sockets of tenants that are activated on demand", sockets),
    ] {
        if !started.is_empty() {
            output.insert(unit.to_owned(), Entry::File(units::starting_text(what, &started)));
            wanted.push(unit.to_owned());
        }
    }
    if !state.faults.is_empty() {
        output.insert(units::FAULTS.to_owned(), Entry::File(units::faults_text(state.faults.len())));
        wanted.push(units::FAULTS.to_owned());
    }
    match moment {
        Moment::Boot => output.extend(wanted.iter().map(|unit| linked(unit))),
        Moment::Late => {
            let text = units::late_target_text(wanted.iter().map(String::as_str));
            output.insert(units::LATE_TARGET.to_owned(), Entry::File(text));
        }
    }
    output
}

/// What makes a unit be wanted at boot.
fn linked(unit: &str) -> (String, Entry) {
    (format!("multi-user.target.wants/{unit}"), Entry::Link(format!("../{unit}")))
}

/// What starts the tenants later, when their state is there.
#[must_use]
pub fn later() -> Output {
    Output::from([(units::LATE.to_owned(), Entry::File(units::late_text())), linked(units::LATE)])
}

#[cfg(test)]
#[path = "compile_tests.rs"]
mod tests;
