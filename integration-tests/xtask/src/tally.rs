//! Counting tests from what the runners say, so that the last line of a run is a sum and not a hope.

use std::io::{BufRead as _, BufReader, Read, Write as _};

use anyhow::Result;

/// How many tests came to what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }

    /// The sums in one line of a runner: nextest's summary, or the result of one test program.
    fn read(line: &str) -> Option<Self> {
        let (_, sums) =
            if line.contains("Summary [") { line.split_once(" run: ")? } else { line.split_once("test result: ")? };
        let mut tally = Self::default();
        for sum in sums.split([',', ';', '.']) {
            let mut words = sum.split_whitespace();
            let Some(count) = words.next().and_then(|word| word.parse::<u64>().ok()) else { continue };
            match words.next() {
                Some("passed") => tally.passed += count,
                Some("failed" | "timed" | "exec") => tally.failed += count,
                Some("skipped" | "ignored") => tally.skipped += count,
                _ => {}
            }
        }
        Some(tally)
    }

    /// Passes a runner's output on as it comes and adds up what it says.
    pub(crate) fn follow(output: impl Read) -> Result<Self> {
        let mut tally = Self::default();
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        while output.read_until(b'\n', &mut line)? > 0 {
            std::io::stderr().write_all(&line)?;
            if let Some(sums) = Self::read(&plain(&String::from_utf8_lossy(&line))) {
                tally.add(sums);
            }
            line.clear();
        }
        Ok(tally)
    }
}

/// A line without its colours.
fn plain(line: &str) -> String {
    let mut text = String::new();
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' {
            characters.by_ref().find(char::is_ascii_alphabetic);
        } else {
            text.push(character);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_runners_are_understood() {
        let coloured = "\u{1b}[32;1m     Summary\u{1b}[0m [   0.005s] 9 tests run: 5 passed (1 slow), 2 failed, 1 timed out, 1 exec failed, 3 skipped";
        assert_eq!(Tally::read(&plain(coloured)), Some(Tally { passed: 5, failed: 4, skipped: 3 }));
        let libtest = "test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 7 filtered out; finished in 0.00s";
        assert_eq!(Tally::read(libtest), Some(Tally { passed: 5, failed: 0, skipped: 1 }));
        assert_eq!(Tally::read("test tests::it ... ok"), None);
    }
}
