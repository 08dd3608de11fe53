//! What a connection to a port that wakes a tenant starts.

use std::{cell::Cell, process::ExitCode};
use wake::WakeError;

/// The tenant was not found, and may be later (EX_TEMPFAIL of sysexits.h(3head)).
const GAVE_UP: u8 = 75;

fn main() -> ExitCode {
    let gone = Cell::new(false);
    let code = runtime::run("wake", async {
        let served = wake::serve(std::env::args().nth(1).unwrap_or_default()).await;
        served.inspect_err(|fault| gone.set(matches!(fault, WakeError::Gone(_))))
    });
    if gone.get() { ExitCode::from(GAVE_UP) } else { code }
}
