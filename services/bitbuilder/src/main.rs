//! `bitbuilder`: what a person or a script says to this host. A client of the Varlink interfaces and nothing more.

mod cli;
mod doctor;
mod exit;
mod hint;
mod inside;
mod output;
mod pager;
mod services;
mod sleep;
mod table;
mod verbs;

use clap::Parser;
use std::process::ExitCode;
use tokio::{
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
};

fn main() -> ExitCode {
    let arguments = match cli::Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(usage) => {
            // Nothing is left to say it to if the terminal is gone.
            let _unheard = usage.print();
            return if usage.use_stderr() { ExitCode::from(exit::USAGE) } else { ExitCode::SUCCESS };
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(cause) => return output::failed(&cause),
    };
    output::colours();
    let done = if arguments.is_paged() { paged(&runtime, arguments) } else { runtime.block_on(cli::run(arguments)) };
    let code = match done {
        Ok(code) => ExitCode::from(code),
        Err(error) if output::is_unread(&*error) => ExitCode::SUCCESS,
        Err(error) => output::failed(&*error),
    };
    // A thread may still wait for a key that nobody presses.
    runtime.shutdown_background();
    code
}

/// The same with a pager, whose reader's Ctrl-C is for the pager. What failed is said after it.
fn paged(runtime: &Runtime, arguments: cli::Arguments) -> Result<u8, output::Failure> {
    let Some(pager) = pager::Pager::open() else { return runtime.block_on(cli::run(arguments)) };
    let _handled = {
        let _entered = runtime.enter();
        signal(SignalKind::interrupt())?
    };
    let done = runtime.block_on(cli::run(arguments));
    pager.close()?;
    done
}
