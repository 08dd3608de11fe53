//! What is printed, in text or JSON, and what the state of the tenants means to a script.

use crate::{
    exit::{self, FAILED, REFUSED, ROLLED_BACK},
    hint,
};
use clap::ValueEnum;
use interfaces::orchestrator::{HostStatus, TenantState, TenantStatus};
use serde::Serialize;
use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
    sync::OnceLock,
    time::{SystemTime, UNIX_EPOCH},
};

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

/// Prints what failed and why, each cause once, and what to run next.
pub(crate) fn failed(error: &(dyn std::error::Error + 'static)) -> ExitCode {
    eprintln!("bitbuilder: {}", runtime::chain(error));
    if let Some(next) = hint::next(error) {
        eprintln!("  next: {next}");
    }
    ExitCode::from(exit::of(error))
}

/// Prints text.
pub(crate) fn text(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Says what a change made, to a person or a script.
pub(crate) fn changed(form: Json, changed: &impl Serialize, said: &str) -> Result<u8, Failure> {
    match form {
        Json::Off => text(said)?,
        Json::Pretty | Json::Short => json(form, changed)?,
    }
    Ok(0)
}

/// Whether all that failed is that nobody reads on, as `head` does not.
pub(crate) fn is_unread(error: &(dyn std::error::Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

/// Prints an object as JSON.
pub(crate) fn json<T: Serialize>(form: Json, value: &T) -> io::Result<()> {
    let written = match form {
        Json::Pretty => serde_json::to_string_pretty(value)?,
        Json::Short => serde_json::to_string(value)?,
        Json::Off => return Ok(()),
    };
    text(&format!("{}\n", inert(&written)))
}

/// The same JSON without what moves a terminal's cursor: of that, JSON itself escapes only the half below the space.
fn inert(json: &str) -> String {
    let escaped = |c: char| match c {
        '\u{7f}'..='\u{9f}' => format!("\\u{:04x}", u32::from(c)),
        _ => c.to_string(),
    };
    json.chars().map(escaped).collect()
}

/// What a script should know of the registry and of these tenants' states: the worst of them. What could not be fetched was
/// not looked at, whatever runs.
pub(crate) fn exit_code(host: &HostStatus, tenants: &[TenantStatus]) -> u8 {
    let code = |state| match state {
        TenantState::Verified | TenantState::Confirming | TenantState::Stopped | TenantState::Leaving => 0,
        TenantState::Refused => REFUSED,
        TenantState::RolledBack => ROLLED_BACK,
        TenantState::Pending | TenantState::Applying | TenantState::Verifying | TenantState::Failed => FAILED,
    };
    let worst = |code: &u8| if *code == FAILED { u8::MAX } else { *code };
    let away = |unreachable: &Option<String>| if unreachable.is_some() { FAILED } else { 0 };
    let registry = if host.reason.is_some() { REFUSED } else { 0 };
    let tenants =
        tenants.iter().flat_map(|tenant| [code(tenant.state), away(&tenant.unreachable), away(&tenant.unconverged)]);
    tenants.chain([registry, away(&host.unreachable)]).max_by_key(worst).unwrap_or(0)
}

/// A colour for a state.
pub(crate) fn paint(state: TenantState, text: &str) -> String {
    let colour = match state {
        TenantState::Verified => 32,
        TenantState::Pending | TenantState::Applying | TenantState::Verifying => 36,
        TenantState::Stopped | TenantState::Leaving => 90,
        TenantState::Refused | TenantState::RolledBack | TenantState::Confirming => 33,
        TenantState::Failed => 31,
    };
    in_colour(colour, text)
}

/// A diagnostic's text, its `error:` in red where colours are wanted.
pub(crate) fn error_head(text: &str) -> String {
    match text.strip_prefix("error:") {
        Some(rest) => format!("{}{rest}", in_colour(31, "error:")),
        None => text.to_owned(),
    }
}

/// Whether colours are wanted (<https://no-color.org>). Asked first before a pager stands between here and the terminal.
pub(crate) fn colours() -> bool {
    static WANTED: OnceLock<bool> = OnceLock::new();
    *WANTED.get_or_init(|| {
        io::stdout().is_terminal()
            && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty())
            && std::env::var_os("TERM").is_none_or(|kind| kind != "dumb")
    })
}

/// Text in one of the terminal's colours, if colours are wanted.
pub(crate) fn in_colour(colour: u8, text: &str) -> String {
    if colours() { format!("\u{1b}[{colour}m{text}\u{1b}[0m") } else { text.to_owned() }
}

/// Microseconds since 1970.
pub(crate) fn now_usec() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_says_the_same_and_moves_no_cursor() {
        let said = "a\u{1b}[2J\u{9b}2J\u{7f}é\n";
        let written = inert(&serde_json::to_string(said).unwrap());
        assert!(!written.chars().any(char::is_control), "{written:?}");
        assert_eq!(serde_json::from_str::<String>(&written).unwrap(), said);
    }
}
