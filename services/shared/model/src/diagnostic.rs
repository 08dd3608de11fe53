//! What is wrong with a text that somebody wrote, where, and what would be right: one line for machines, and the text
//! with a caret under the fault for people.

use crate::text::{printable, printable_lines};
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde::{Deserialize, Serialize};
use std::{fmt, ops::Range};

/// One fault in one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Diagnostic {
    /// `repository:path`.
    pub origin: String,
    /// From 1; 0 if the fault has no place.
    pub line: u32,
    /// In characters, from 1; 0 if the fault has no place.
    pub column: u32,
    /// What is wrong and what is allowed, in one line without control characters.
    pub message: String,
    /// The message with the text around the fault and a caret under it.
    pub text: String,
}

impl Diagnostic {
    /// A fault at the bytes `span` of `source`.
    #[must_use]
    pub fn at(origin: &str, source: &str, span: Range<usize>, message: &str) -> Self {
        let message = printable(message);
        let start = floor_char_boundary(source, span.start);
        let end = floor_char_boundary(source, span.end.max(span.start)).max(start);
        let before = &source[..start];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let report = [Group::with_title(Level::ERROR.primary_title(message.as_str()))
            .element(Snippet::source(source).path(origin).annotation(AnnotationKind::Primary.span(start..end)))];
        Self {
            origin: origin.to_owned(),
            line: count(before.matches('\n').count()),
            column: count(before[line_start..].chars().count()),
            text: printable_lines(&Renderer::plain().render(&report)),
            message,
        }
    }

    /// A fault of a whole file, or of its absence.
    #[must_use]
    pub fn of_file(origin: &str, message: &str) -> Self {
        let message = printable(message);
        let text = format!("error: {message}\n --> {origin}");
        Self { origin: origin.to_owned(), line: 0, column: 0, message, text }
    }
}

/// `repository:path:line:column: message`, as editors and scripts take it.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.origin, self.message),
            line => write!(f, "{}:{line}:{}: {}", self.origin, self.column, self.message),
        }
    }
}

impl std::error::Error for Diagnostic {}

fn count(before: usize) -> u32 {
    u32::try_from(before).unwrap_or(u32::MAX - 1) + 1
}

fn floor_char_boundary(text: &str, index: usize) -> usize {
    let index = index.min(text.len());
    (0..=index).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NEWLINE: char = '\n';

    #[test]
    fn a_fault_is_shown_where_it_is() {
        let source = "{\n  \"name\": \"a/b\"\n}\n";
        let shown = Diagnostic::at("web:metadata.json", source, 12..17, "\"a/b\" is not a tenant name");
        assert_eq!(shown.to_string(), "web:metadata.json:2:11: \"a/b\" is not a tenant name");
        insta::assert_snapshot!(shown.text, @r#"
        error: "a/b" is not a tenant name
         --> web:metadata.json:2:11
          |
        2 |   "name": "a/b"
          |           ^^^^^
        "#);
    }

    proptest! {
        #[test]
        fn no_text_and_no_span_makes_it_fail(source in "\\PC{0,80}|[\\s\\S]{0,80}", start in 0usize..200, length in 0usize..50, message in "[\\s\\S]{0,20}") {
            let shown = Diagnostic::at("r:p", &source, start..start + length, &message);
            prop_assert!(shown.line >= 1 && shown.column >= 1);
            prop_assert!(!shown.message.chars().any(char::is_control));
            prop_assert!(!shown.text.chars().any(|c| c.is_control() && c != NEWLINE));
        }
    }
}
