//! Writes the units that start the tenants into the directories that systemd names.

use boot::units::STATE;
use clap::Parser;
use std::{
    env,
    path::{Path, PathBuf},
    process::ExitCode,
};
use tenant_generator::{at_boot, complain_early, complaints, late, shown, write};

/// Makes the units that start the tenants at boot (systemd.generator(7))
#[derive(Debug, Parser)]
struct Arguments {
    /// Where to write: the directories that the service manager names, of which the first is used
    #[arg(value_name = "DIRECTORY", num_args = 1..=3, required_unless_present_any = ["dry_run", "check"])]
    directories: Vec<PathBuf>,
    /// Print what would be written, and write nothing
    #[arg(long, value_name = "STATE", num_args = 0..=1, default_missing_value = STATE, conflicts_with_all = ["late", "check", "directories"])]
    dry_run: Option<PathBuf>,
    /// Write what can be started without PID 1 having read it before (for bitbuilder-late.service)
    #[arg(long, conflicts_with = "check")]
    late: bool,
    /// Say what of the state cannot be used (for bitbuilder-boot-state.service)
    #[arg(long, conflicts_with = "directories")]
    check: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let state = Path::new(STATE);
    if let Some(state) = &arguments.dry_run {
        let (output, state) = at_boot(state);
        print!("{}", shown(&output));
        complaints(&state, "").iter().for_each(|line| eprintln!("{line}"));
        return ExitCode::SUCCESS;
    }
    if arguments.check {
        // With the priority of a warning (sd-daemon(3)).
        complaints(&at_boot(state).1, "<4>").iter().for_each(|line| eprintln!("{line}"));
        return ExitCode::SUCCESS;
    }
    // The host's own state is not there.
    if env::var_os("SYSTEMD_IN_INITRD").is_some_and(|said| said == "1") {
        return ExitCode::SUCCESS;
    }
    let (output, state) = if arguments.late { late(state) } else { at_boot(state) };
    if !arguments.late {
        complain_early(&state);
    }
    // Required above.
    let Some(directory) = arguments.directories.first() else { return ExitCode::FAILURE };
    match write::all(directory, &output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("<3>{fault}: {}", std::error::Error::source(&fault).map(ToString::to_string).unwrap_or_default());
            ExitCode::FAILURE
        }
    }
}
