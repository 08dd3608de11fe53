//! `bitbuilder`: what a person or a script says to this host. A client of the Varlink interfaces and nothing more.

mod cli;
mod output;
mod table;
mod verbs;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = match cli::Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(usage) => {
            // Nothing is left to say it to if the terminal is gone.
            let _unheard = usage.print();
            return if usage.use_stderr() { ExitCode::from(output::USAGE) } else { ExitCode::SUCCESS };
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(cause) => return output::failed(&cause),
    };
    let code = match runtime.block_on(cli::run(arguments)) {
        Ok(code) => ExitCode::from(code),
        Err(error) if output::is_unread(&*error) => ExitCode::SUCCESS,
        Err(error) => output::failed(&*error),
    };
    // A thread may still wait for a key that nobody presses.
    runtime.shutdown_background();
    code
}
