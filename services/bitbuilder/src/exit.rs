//! What the command's end means to a script: one table for the help, the manual and the documentation.

use crate::inside::WayError;
use host::inside::{InsideError, NotRun};
use interfaces::orchestrator;
use runtime::client::CallError;
use std::error::Error;

/// It failed.
pub(crate) const FAILED: u8 = 1;
/// Something would be done.
pub(crate) const CHANGES: u8 = 2;
/// A commit was refused.
pub(crate) const REFUSED: u8 = 3;
/// A commit failed, and the last verified one runs again.
pub(crate) const ROLLED_BACK: u8 = 4;
/// The tenant is suspended.
pub(crate) const SUSPENDED: u8 = 5;
/// There is no such program in the tenant, as a shell says it.
pub(crate) const NOT_FOUND: u8 = 127;
/// The command line is wrong (sysexits.h, EX_USAGE).
pub(crate) const USAGE: u8 = 64;

/// Each code and what it means.
pub(crate) const CODES: [(u8, &str); 8] = [
    (0, "done, or nothing to do"),
    (FAILED, "it failed; `doctor`: this host lacks something"),
    (CHANGES, "`plan --exit-code`: something would be done"),
    (REFUSED, "`sync --wait`: a commit was refused; `plan`, `validate`: a host would refuse it"),
    (ROLLED_BACK, "`sync --wait`: a commit failed and the last verified one runs again"),
    (SUSPENDED, "`sync`, `retry`: the tenant is suspended"),
    (USAGE, "the command line is wrong"),
    (
        NOT_FOUND,
        "`exec`: the tenant has no such program; else its code is the program's, or 128 and the signal that ended it",
    ),
];

/// The code of a failure.
pub(crate) fn of(error: &(dyn Error + 'static)) -> u8 {
    if let Some(WayError::Inside { cause, .. }) = error.downcast_ref()
        && matches!(**cause, InsideError::NotRun { reason: NotRun::Command, .. })
    {
        return NOT_FOUND;
    }
    match error.downcast_ref() {
        Some(CallError::Failed(orchestrator::Error::TenantSuspended { .. })) => SUSPENDED,
        Some(_) | None => FAILED,
    }
}

/// As the help shows them.
pub(crate) fn help() -> String {
    let lines = CODES.iter().map(|(code, meaning)| format!("\n  {code:<3} {}", meaning.replace('`', "")));
    format!("Exit codes:{}", lines.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, path::Path};

    #[test]
    fn the_documentation_has_the_same_table() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/command.md");
        let text = fs::read_to_string(&page).unwrap();
        let (before, rest) = text.split_once("<!-- exit codes -->\n").unwrap();
        let (_, after) = rest.split_once("<!-- end -->").unwrap();
        let rows: String = CODES.iter().map(|(code, meaning)| format!("| {code} | {meaning} |\n")).collect();
        let said =
            format!("{before}<!-- exit codes -->\n| exit code | meaning |\n|---|---|\n{rows}<!-- end -->{after}");
        if std::env::var_os("BITBUILDER_UPDATE").is_some() {
            fs::write(&page, &said).unwrap();
        } else {
            assert!(said == text, "docs/command.md is not what the code says; run: cargo xtask update");
        }
    }

    #[test]
    fn each_code_has_one_meaning() {
        assert!(CODES.is_sorted_by(|(one, _), (next, _)| one < next));
    }
}
