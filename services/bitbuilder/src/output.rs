//! What is printed, in text or JSON, and what an end means to a script.

use clap::ValueEnum;
use interfaces::orchestrator::{HostStatus, TenantState, TenantStatus};
use serde::Serialize;
use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

/// The command line is wrong (sysexits.h, EX_USAGE).
pub(crate) const USAGE: u8 = 64;
/// It failed.
const FAILED: u8 = 1;
/// A commit was refused.
pub(crate) const REFUSED: u8 = 3;

/// Why a verb did not do what it was for.
pub(crate) type Failure = Box<dyn std::error::Error>;

/// How JSON is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Json {
    /// Over several lines.
    Pretty,
    /// A line per object.
    Short,
    /// Not at all.
    Off,
}

/// Prints what failed and why, each cause once.
pub(crate) fn failed(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("bitbuilder: {}", runtime::chain(error));
    ExitCode::from(FAILED)
}

/// Prints text.
pub(crate) fn text(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Whether all that failed is that nobody reads on, as `head` does not.
pub(crate) fn is_unread(error: &(dyn std::error::Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

/// Prints an object as JSON.
pub(crate) fn json<T: Serialize>(form: Json, value: &T) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match form {
        Json::Pretty => serde_json::to_writer_pretty(&mut out, value)?,
        Json::Short => serde_json::to_writer(&mut out, value)?,
        Json::Off => return Ok(()),
    }
    writeln!(out)
}

/// What a script should know of the registry and of these tenants' states: the worst of them.
pub(crate) fn exit_code(host: &HostStatus, tenants: &[TenantStatus]) -> u8 {
    let code = |state| match state {
        TenantState::Verified | TenantState::Stopped => 0,
        TenantState::Refused => REFUSED,
        TenantState::RolledBack => 4,
        TenantState::Pending | TenantState::Applying | TenantState::Verifying | TenantState::Failed => FAILED,
    };
    let worst = |code: &u8| if *code == FAILED { u8::MAX } else { *code };
    let registry = if host.reason.is_some() { REFUSED } else { 0 };
    tenants.iter().map(|tenant| code(tenant.state)).chain([registry]).max_by_key(worst).unwrap_or(0)
}

/// A colour for a state.
pub(crate) fn paint(state: TenantState, text: &str) -> String {
    if !colours() {
        return text.to_owned();
    }
    let colour = match state {
        TenantState::Verified => 32,
        TenantState::Pending | TenantState::Applying | TenantState::Verifying => 36,
        TenantState::Stopped => 90,
        TenantState::Refused | TenantState::RolledBack => 33,
        TenantState::Failed => 31,
    };
    format!("\u{1b}[{colour}m{text}\u{1b}[0m")
}

/// A diagnostic's text, its `error:` in red where colours are wanted.
pub(crate) fn error_head(text: &str) -> String {
    match text.strip_prefix("error:") {
        Some(rest) if colours() => format!("\u{1b}[1;31merror:\u{1b}[0m{rest}"),
        Some(_) | None => text.to_owned(),
    }
}

/// Whether colours are wanted (<https://no-color.org>).
fn colours() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty())
}

/// Microseconds since 1970.
pub(crate) fn now_usec() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
