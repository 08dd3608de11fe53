//! A tenant's own socket.

use std::process::ExitCode;

fn main() -> ExitCode {
    runtime::run("guest", guest::serve(std::env::args().nth(1).unwrap_or_default()))
}
