//! What a system is and what an extension extends (os-release(5)), and whether they fit as systemd-sysext(8) sees it. The
//! texts come from images and tenants: whatever they hold, reading them ends in fields or in a refusal.

use std::{collections::BTreeMap, fmt};
use thiserror::Error;

/// The largest release file that is read, in bytes.
pub const LARGEST: usize = 64 << 10;
/// The longest value that is kept, in bytes: it is shown to people when systems do not fit.
const LONGEST_VALUE: usize = 1024;
/// What fits everything.
const ANY: &str = "_any";

/// Why a text is not a release file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidRelease {
    /// Nobody writes that much.
    #[error("it is larger than {LARGEST} bytes")]
    TooLarge,
    /// Not text.
    #[error("it is not UTF-8")]
    NotText,
    /// Not an assignment that a shell would take as one.
    #[error("line {0} is not KEY=VALUE")]
    Line(usize),
}

/// The fields of a release file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Release(BTreeMap<String, String>);

impl Release {
    /// Reads a release file.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidRelease> {
        if bytes.len() > LARGEST {
            return Err(InvalidRelease::TooLarge);
        }
        let text = str::from_utf8(bytes).map_err(|_| InvalidRelease::NotText)?;
        let mut fields = BTreeMap::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (key, value) = assignment(line).ok_or(InvalidRelease::Line(index + 1))?;
            fields.insert(key.to_owned(), value);
        }
        Ok(Self(fields))
    }

    /// A field that says something.
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn shown(&self, keys: &[&str]) -> String {
        let fields: Vec<String> = keys.iter().filter_map(|key| Some(format!("{key}={}", self.get(key)?))).collect();
        if fields.is_empty() { format!("without {}", keys.join(" or ")) } else { fields.join(" ") }
    }
}

fn assignment(line: &str) -> Option<(&str, String)> {
    let (key, value) = line.split_once('=')?;
    let named = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let value = value_of(value)?;
    (named && value.len() <= LONGEST_VALUE && !value.chars().any(char::is_control)).then_some((key, value))
}

/// A value as a shell would take it, without what a shell would run.
fn value_of(text: &str) -> Option<String> {
    let (quote, mut rest) = match text.chars().next() {
        Some(quote @ ('"' | '\'')) => (Some(quote), text[1..].chars()),
        Some(_) | None => (None, text.chars()),
    };
    let mut value = String::new();
    while let Some(c) = rest.next() {
        match (quote, c) {
            (Some(quote), c) if c == quote => return rest.as_str().is_empty().then_some(value),
            (Some('"') | None, '\\') => value.push(rest.next()?),
            (Some('"') | None, '$' | '`') | (None, '"' | '\'') => return None,
            (None, c) if c.is_whitespace() => return None,
            (_, c) => value.push(c),
        }
    }
    quote.is_none().then_some(value)
}

/// An extension and a tenant that do not fit.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("it was made for {wants}, and the tenant is {tenant}")]
pub struct Mismatch {
    /// What the extension asks for.
    pub wants: String,
    /// What the tenant is.
    pub tenant: String,
}

/// Why an extension cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unfit {
    /// It does not say what it extends.
    #[error("its release file has no ID=")]
    SaysNothing,
    /// It extends something else.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
}

/// Whether an extension fits a system on this machine, by the rules of systemd-sysext(8).
///
/// # Errors
/// It does not.
pub fn fits(extension: &Release, system: &Release, architecture: Architecture) -> Result<(), Unfit> {
    let id = extension.get("ID").ok_or(Unfit::SaysNothing)?;
    let mismatch = |wants: &[&str], tenant: String| Err(Mismatch { wants: extension.shown(wants), tenant }.into());
    if extension.get("SYSEXT_SCOPE").is_some_and(|scope| !words(scope).any(|word| word == "system")) {
        return mismatch(&["SYSEXT_SCOPE"], "a system".to_owned());
    }
    if extension.get("ARCHITECTURE").is_some_and(|wanted| wanted != ANY && wanted != architecture.0) {
        return mismatch(&["ARCHITECTURE"], format!("ARCHITECTURE={architecture}"));
    }
    if id == ANY {
        return Ok(());
    }
    // os-release(5): a system that does not say is "linux".
    let like = system.get("ID_LIKE").into_iter().flat_map(words);
    if !std::iter::once(system.get("ID").unwrap_or("linux")).chain(like).any(|name| name == id) {
        return mismatch(
            &["ID", "VERSION_ID", "SYSEXT_LEVEL"],
            system.shown(&["ID", "ID_LIKE", "VERSION_ID", "SYSEXT_LEVEL"]),
        );
    }
    let fits = match (system.get("SYSEXT_LEVEL"), extension.get("SYSEXT_LEVEL"), system.get("VERSION_ID")) {
        (Some(level), Some(wanted), _) => level == wanted,
        (_, _, Some(version)) => extension.get("VERSION_ID") == Some(version),
        // A rolling release; or a level that the extension does not know of, and nothing else to compare.
        (_, _, None) => true,
    };
    let keys = ["ID", "VERSION_ID", "SYSEXT_LEVEL"];
    if fits { Ok(()) } else { mismatch(&keys, system.shown(&keys)) }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_ascii_whitespace()
}

/// A processor architecture by the name that systemd has for it (systemd.unit(5), ConditionArchitecture=).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Architecture(&'static str);

impl Architecture {
    /// This machine's.
    #[must_use]
    pub const fn native() -> Self {
        // Rust's names beside systemd's, where they differ.
        Self(match std::env::consts::ARCH.as_bytes() {
            b"x86_64" => "x86-64",
            b"aarch64" => "arm64",
            b"powerpc64" if cfg!(target_endian = "little") => "ppc64-le",
            b"powerpc64" => "ppc64",
            _ => std::env::consts::ARCH,
        })
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn release(text: &str) -> Release {
        Release::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn values_are_read_as_a_shell_reads_them() {
        for (text, value) in [
            ("ID=debian", Some("debian")),
            ("  ID=debian \r", Some("debian")),
            ("ID=\"a b\"", Some("a b")),
            ("ID='a \"b\" $c'", Some("a \"b\" $c")),
            ("ID=\"a \\\"b\\\" \\$c\"", Some("a \"b\" $c")),
            ("ID=", None),
            ("ID=\"\"", None),
            ("# ID=x", None),
            ("ID=first\nID=second", Some("second")),
            ("ID=ümlaut", Some("ümlaut")),
        ] {
            assert_eq!(release(text).get("ID"), value, "{text:?}");
        }
    }

    #[test]
    fn what_a_shell_would_run_or_nobody_would_write_is_refused() {
        let long = format!("ID={}", "a".repeat(LONGEST_VALUE + 1));
        for text in [
            "ID",
            "=debian",
            "I D=debian",
            "ID=a b",
            "ID=$(reboot)",
            "ID=`reboot`",
            "ID=\"$HOME\"",
            "ID=\"open",
            "ID='open",
            "ID=a\"b\"",
            "ID='a' b",
            "ID=a\\",
            "ID=a\u{1b}[2J",
            "ID='\u{7}'",
            "ID=a\0b",
            "export ID=a",
            &long,
        ] {
            assert_eq!(Release::parse(text.as_bytes()), Err(InvalidRelease::Line(1)), "{text:?}");
        }
        assert_eq!(Release::parse(b"ID=\xff"), Err(InvalidRelease::NotText));
        assert_eq!(Release::parse(&vec![b'\n'; LARGEST + 1]), Err(InvalidRelease::TooLarge));
    }

    #[test]
    fn the_rules_of_sysext() {
        let native = format!("ID=_any\nARCHITECTURE={}", Architecture::native());
        let debian = "ID=debian\nVERSION_ID=13";
        for (extension, system, expected) in [
            ("ID=_any", "ID=anything", Ok(())),
            ("ID=_any\nVERSION_ID=99", debian, Ok(())),
            (&native, debian, Ok(())),
            ("ID=_any\nARCHITECTURE=_any", debian, Ok(())),
            ("ID=_any\nARCHITECTURE=alpha", debian, Err("ARCHITECTURE=alpha")),
            ("ID=_any\nSYSEXT_SCOPE=\"initrd system\"", debian, Ok(())),
            ("ID=_any\nSYSEXT_SCOPE=initrd", debian, Err("SYSEXT_SCOPE=initrd")),
            ("ID=debian\nVERSION_ID=13", debian, Ok(())),
            ("ID=debian\nVERSION_ID=12", debian, Err("ID=debian VERSION_ID=12")),
            ("ID=debian", debian, Err("ID=debian")),
            ("ID=debian", "ID=debian", Ok(())),
            ("ID=debian\nVERSION_ID=13", "ID=debian", Ok(())),
            ("ID=fedora\nVERSION_ID=13", debian, Err("ID=fedora VERSION_ID=13")),
            ("ID=debian", "ID=ubuntu\nID_LIKE=\"other debian\"", Ok(())),
            ("ID=deb", "ID=ubuntu\nID_LIKE=debian", Err("ID=deb")),
            ("ID=linux", "NAME=x", Ok(())),
            ("ID=a\nSYSEXT_LEVEL=2", "ID=a\nSYSEXT_LEVEL=2\nVERSION_ID=7", Ok(())),
            (
                "ID=a\nSYSEXT_LEVEL=1\nVERSION_ID=7",
                "ID=a\nSYSEXT_LEVEL=2\nVERSION_ID=7",
                Err("ID=a VERSION_ID=7 SYSEXT_LEVEL=1"),
            ),
            ("ID=a\nVERSION_ID=7", "ID=a\nSYSEXT_LEVEL=2\nVERSION_ID=7", Ok(())),
            ("ID=a\nSYSEXT_LEVEL=2", "ID=a\nVERSION_ID=7", Err("ID=a SYSEXT_LEVEL=2")),
        ] {
            let found = fits(&release(extension), &release(system), Architecture::native());
            let expected = expected.map_err(str::to_owned);
            let found = found.map_err(|unfit| match unfit {
                Unfit::Mismatch(mismatch) => mismatch.wants,
                Unfit::SaysNothing => "nothing".to_owned(),
            });
            assert_eq!(found, expected, "{extension:?} on {system:?}");
        }
        let silent = fits(&release("VERSION_ID=13"), &release(debian), Architecture::native());
        assert_eq!(silent, Err(Unfit::SaysNothing));
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_bounded_and_shown_in_one_line(bytes: Vec<u8>, text in "[A-Z=\\\\\"'$ a\n#]{0,60}") {
            for input in [bytes.as_slice(), text.as_bytes()] {
                if let Ok(release) = Release::parse(input) {
                    prop_assert!(release.0.values().all(|value| value.len() <= LONGEST_VALUE && !value.contains(char::is_control)));
                }
            }
        }
    }
}
