//! A test that cannot run here says so: a visible line, counted at the end of a run.

use std::io::Write as _;

/// Names the file to which each skip is appended, for whoever counts them.
pub const SKIPS_VARIABLE: &str = "BITBUILDER_SKIPS";

/// Says that the calling test is skipped and why. The test returns after it.
pub fn skip(reason: &str) {
    let thread = std::thread::current();
    let name = std::env::var("NEXTEST_TEST_NAME").ok();
    let line = format!("SKIP {}: {reason}", name.as_deref().or_else(|| thread.name()).unwrap_or("a test"));
    println!("{line}");
    let Some(path) = std::env::var_os(SKIPS_VARIABLE) else { return };
    let appended = std::fs::OpenOptions::new().create(true).append(true).open(&path);
    if let Err(error) = appended.and_then(|mut file| writeln!(file, "{line}")) {
        println!("cannot record the skip in {}: {error}", path.display());
    }
}
