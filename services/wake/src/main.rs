//! What a connection to a port that wakes a tenant starts.

use std::process::ExitCode;

fn main() -> ExitCode {
    runtime::run("wake", wake::serve(std::env::args().nth(1).unwrap_or_default()))
}
