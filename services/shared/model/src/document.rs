//! From the text of a JSON file to a type, or to a diagnostic that points at the fault.

use crate::diagnostic::Diagnostic;
use jsonc_parser::{CollectOptions, ParseOptions, ast::Value, common::Ranged};
use serde::de::DeserializeOwned;
use std::ops::Range;

/// A file larger than this is refused unread: no manifest that a person wrote comes near.
pub const LARGEST_DOCUMENT: usize = 1 << 20;

/// A parsed file that still knows its text, so that what is found out later can be shown in its place.
#[derive(Debug, Clone)]
pub struct Document<T> {
    /// What the file says.
    pub content: T,
    origin: String,
    text: String,
}

/// One step from a JSON value to a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    /// The value of an object's field.
    Field(&'a str),
    /// An element of an array, from 0.
    Element(usize),
}

impl<T: DeserializeOwned> Document<T> {
    /// Parses the file `origin` (`repository:path`).
    ///
    /// # Errors
    /// The first fault, at its place.
    pub fn parse(origin: &str, bytes: &[u8]) -> Result<Self, Diagnostic> {
        if bytes.len() > LARGEST_DOCUMENT {
            return Err(Diagnostic::of_file(
                origin,
                &format!("the file has {} bytes; at most {LARGEST_DOCUMENT} are read", bytes.len()),
            ));
        }
        let text = std::str::from_utf8(bytes).map_err(|fault| {
            Diagnostic::of_file(origin, &format!("the file is not UTF-8 from byte {} on", fault.valid_up_to()))
        })?;
        let content = serde_json::from_str(text).map_err(|fault| {
            let end = offset(text, fault.line(), fault.column());
            let message = fault.to_string();
            let place = format!(" at line {} column {}", fault.line(), fault.column());
            Diagnostic::at(origin, text, token_before(text, end), message.strip_suffix(&place).unwrap_or(&message))
        })?;
        Ok(Self { content, origin: origin.to_owned(), text: text.to_owned() })
    }

    /// A fault of the value that `path` leads to.
    #[must_use]
    pub fn fault(&self, path: &[Step<'_>], message: &str) -> Diagnostic {
        match locate(&self.text, path) {
            Some(span) => Diagnostic::at(&self.origin, &self.text, span, message),
            None => Diagnostic::of_file(&self.origin, message),
        }
    }

    /// `repository:path:line` of the value that `path` leads to, for a message about another file.
    #[must_use]
    pub fn place(&self, path: &[Step<'_>]) -> String {
        let fault = self.fault(path, "");
        format!("{}:{}", fault.origin, fault.line)
    }
}

/// The byte offset of serde_json's line and column, both from 1; its column counts bytes.
fn offset(text: &str, line: usize, column: usize) -> usize {
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    (start + column).min(text.len())
}

/// serde_json reports where it stood *after* the offending token; a person wants to see the token.
fn token_before(text: &str, end: usize) -> Range<usize> {
    let bytes = text.as_bytes();
    let Some(last) = end.checked_sub(1).filter(|last| *last < bytes.len()) else { return end..end };
    if bytes[last] == b'"' {
        let opening = (0..last).rev().find(|at| {
            let escapes = bytes[..*at].iter().rev().take_while(|b| **b == b'\\').count();
            bytes[*at] == b'"' && escapes % 2 == 0
        });
        return opening.unwrap_or(last)..end;
    }
    let word = |b: &u8| b.is_ascii_alphanumeric() || b"+-.".contains(b);
    let length = bytes[..end].iter().rev().take_while(|b| word(b)).count();
    end - length.max(1)..end
}

fn locate(text: &str, path: &[Step<'_>]) -> Option<Range<usize>> {
    let root = jsonc_parser::parse_to_ast(text, &CollectOptions::default(), &ParseOptions::default()).ok()?.value?;
    let value = path.iter().try_fold(&root, |value, step| match (value, step) {
        (Value::Object(object), Step::Field(name)) => {
            object.properties.iter().find(|property| property.name.as_str() == *name).map(|property| &property.value)
        }
        (Value::Array(array), Step::Element(index)) => array.elements.get(*index),
        _ => None,
    })?;
    let range = value.range();
    Some(range.start..range.end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TenantName;
    use proptest::prelude::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[allow(dead_code)]
        name: TenantName,
        #[allow(dead_code)]
        ports: Vec<u16>,
    }

    fn fault(text: &str) -> String {
        Document::<Sample>::parse("web:metadata.json", text.as_bytes()).unwrap_err().text
    }

    #[test]
    fn each_kind_of_fault_points_at_its_token() {
        insta::assert_snapshot!(fault("{\"name\": \"a/b\", \"ports\": []}"), @r#"
        error: "a/b" is not a tenant name: 1 to 24 of a-z, 0-9 and '-', beginning with a letter, not ending in '-', and not system, host or localhost
         --> web:metadata.json:1:10
          |
        1 | {"name": "a/b", "ports": []}
          |          ^^^^^
        "#);
        insta::assert_snapshot!(fault("{\n  \"nam\": \"a\"\n}"), @r#"
        error: unknown field `nam`, expected `name` or `ports`
         --> web:metadata.json:2:3
          |
        2 |   "nam": "a"
          |   ^^^^^
        "#);
        insta::assert_snapshot!(fault("{\"name\": \"a\", \"ports\": [80, 65536]}"), @r#"
        error: invalid value: integer `65536`, expected u16
         --> web:metadata.json:1:29
          |
        1 | {"name": "a", "ports": [80, 65536]}
          |                             ^^^^^
        "#);
        insta::assert_snapshot!(fault("{\"name\": \"a\",}"), @r#"
        error: trailing comma
         --> web:metadata.json:1:14
          |
        1 | {"name": "a",}
          |              ^
        "#);
    }

    #[test]
    fn a_later_finding_is_shown_in_its_place() {
        let document: Document<Sample> =
            Document::parse("web:metadata.json", b"{\"name\": \"a\", \"ports\": [80, 81]}").unwrap();
        assert_eq!(document.fault(&[Step::Field("ports"), Step::Element(1)], "taken").column, 29);
        assert_eq!(document.fault(&[Step::Field("absent")], "taken").line, 0);
        assert_eq!(document.content.ports, [80, 81]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_fail(bytes: Vec<u8>) {
            let _either_way = Document::<Sample>::parse("r:p", &bytes).is_ok();
        }

        #[test]
        fn no_near_json_makes_it_fail(text in "[\\[\\]{}\":,a-z0-9\\\\ é\n]{0,60}") {
            let _either_way = Document::<Sample>::parse("r:p", text.as_bytes()).is_ok();
        }
    }
}
