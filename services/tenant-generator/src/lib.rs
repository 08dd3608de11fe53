//! The systemd generator (systemd.generator(7)) of the units that start the tenants at boot, from what was written down of
//! them. It talks to nobody, so that tenants start without any of our services.

pub mod read;
pub mod write;

use boot::{Moment, Output, State, compile, units};
use std::{fmt::Write as _, io, path::Path};

/// The units of this boot from the state in `directory`, and what of it could not be used. Without a state it is started
/// later: the file system that it is on may not be there yet.
#[must_use]
pub fn at_boot(directory: &Path) -> (Output, State) {
    match read::state(directory) {
        Some(state) => (compile(&state, Moment::Boot), state),
        None => (boot::compile::later(), State::default()),
    }
}

/// The same when the state is there at last.
#[must_use]
pub fn late(directory: &Path) -> (Output, State) {
    let state = read::state(directory).unwrap_or_default();
    (compile(&state, Moment::Late), state)
}

/// All that would be written, for people.
#[must_use]
pub fn shown(output: &Output) -> String {
    let mut text = String::new();
    for (path, entry) in output {
        // Writing to a String cannot fail.
        let _infallible = match entry {
            boot::Entry::File(content) => writeln!(text, "# {path}\n{content}"),
            boot::Entry::Link(to) => writeln!(text, "# {path} -> {to}\n"),
        };
    }
    text
}

/// What could not be used, a line each, with `prefix`; not more lines than somebody reads.
#[must_use]
pub fn complaints(state: &State, prefix: &str) -> Vec<String> {
    const MOST: usize = 20;
    let mut lines: Vec<String> =
        state.faults.iter().take(MOST).map(|fault| format!("{prefix}not used: {}/{fault}", units::STATE)).collect();
    if state.faults.len() > MOST {
        lines.push(format!("{prefix}and {} more", state.faults.len() - MOST));
    }
    lines
}

/// Says it in the kernel's log: nobody else listens yet.
pub fn complain_early(state: &State) {
    // Daemons' warnings (syslog(3)).
    for line in complaints(state, &format!("<28>tenant-generator[{}]: ", std::process::id())) {
        // Where there is no such log nobody can be told; a boot does not wait for that.
        let _unsaid = std::fs::OpenOptions::new()
            .write(true)
            .open("/dev/kmsg")
            .and_then(|mut log| io::Write::write_all(&mut log, line.as_bytes()));
    }
}
