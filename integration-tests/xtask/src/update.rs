//! What is committed and made from the code: the tests that hold it to the code write it when they are told to.

use std::process::ExitCode;

use anyhow::Result;

use crate::workspace::{cargo, succeed};

/// Tells those tests.
const VARIABLE: &str = "BITBUILDER_UPDATE";
/// Each test that holds something of the kind, in the order in which one reads what another wrote.
const TESTS: &[&[&str]] = &[
    &["--package", "model", "--test", "refused"],
    &["--package", "interfaces", "--test", "schemas"],
    &["--package", "integration-tests", "--test", "documentation"],
    &["--package", "bitbuilder"],
];

pub(crate) fn run() -> Result<ExitCode> {
    for test in TESTS {
        succeed(cargo().arg("test").arg("--quiet").args(*test).env(VARIABLE, "1"))?;
    }
    Ok(ExitCode::SUCCESS)
}
