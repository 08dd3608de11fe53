//! .gitops/config.yaml, which a repository of either kind may have. This host reads its version; the settings come with
//! the features they belong to.

use crate::{diagnostic::Diagnostic, manifest::Version};
use serde::Deserialize;

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The format's version.
    pub version: Version,
}

impl Config {
    /// Reads the file `origin` (`repository:path`).
    ///
    /// # Errors
    /// The first fault, at its place.
    pub fn parse(origin: &str, bytes: &[u8]) -> Result<Self, Diagnostic> {
        let text = std::str::from_utf8(bytes).map_err(|_| Diagnostic::of_file(origin, "the file is not UTF-8"))?;
        serde_saphyr::from_str(text).map_err(|fault| {
            let message = fault.to_string();
            let first_line = message.lines().next().unwrap_or_default();
            match fault.location() {
                Some(place) => {
                    let start: usize = text
                        .split_inclusive('\n')
                        .take(usize::try_from(place.line()).unwrap_or(1).saturating_sub(1))
                        .map(str::len)
                        .sum();
                    let at = start + usize::try_from(place.column()).unwrap_or(1).saturating_sub(1);
                    Diagnostic::at(origin, text, at..at + 1, first_line)
                }
                None => Diagnostic::of_file(origin, first_line),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_and_nothing_unknown_is() {
        assert!(Config::parse("system:.gitops/config.yaml", b"version: \"1.0\"\n").is_ok());
        for bad in
            [&b"version: \"2.0\"\n"[..], b"version: \"1.0\"\nsurprise: 1\n", b"", b"- a\n", b"\xff", b"version: [\n"]
        {
            assert!(Config::parse("system:.gitops/config.yaml", bad).is_err());
        }
        let fault = Config::parse("system:.gitops/config.yaml", b"version: \"1.0\"\nsurprise: 1\n").unwrap_err();
        assert!(fault.to_string().starts_with("system:.gitops/config.yaml:2:"), "{fault}");
    }
}
