//! What is wrong with a text that somebody wrote, where, and what would be right: one line for machines, and the text
//! with a caret under the fault for people.

use crate::text::{is_hidden, printable, printable_lines, without_secrets};
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde::{Deserialize, Serialize};
use std::{fmt, ops::Range};

/// So much of a line is shown before a fault, of the fault, and behind it, in characters.
const SHOWN: usize = 60;

/// So many faults are shown; who made more is helped by the first ones.
pub(crate) const MOST_SHOWN: usize = 50;

/// Faults of several files, file by file and from top to bottom, as many as a person reads.
#[must_use]
pub fn in_order(mut faults: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let mut origins: Vec<String> = Vec::new();
    for fault in &faults {
        if !origins.contains(&fault.origin) {
            origins.push(fault.origin.clone());
        }
    }
    faults.sort_by_key(|fault| (origins.iter().position(|origin| *origin == fault.origin), fault.line, fault.column));
    if let Some(next) = faults.get(MOST_SHOWN) {
        let message = format!("there are more faults; the first {MOST_SHOWN} are shown");
        let more = Diagnostic::of_file(&next.origin, &message);
        faults.truncate(MOST_SHOWN);
        faults.push(more);
    }
    faults
}

/// A text that somebody wrote, and where its lines begin: a file may have as many faults as it has lines.
#[derive(Debug, Clone)]
pub struct Source {
    origin: String,
    text: String,
    lines: Vec<usize>,
    shown: bool,
}

impl Source {
    /// The text of the file `origin` (`repository:path`).
    #[must_use]
    pub fn new(origin: &str, text: &str) -> Self {
        let begins = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self {
            origin: origin.to_owned(),
            text: text.to_owned(),
            lines: std::iter::once(0).chain(begins).collect(),
            shown: true,
        }
    }

    /// The text of a file that may hold what nobody is to read: of a fault its place is shown alone.
    #[must_use]
    pub fn unshown(origin: &str, text: &str) -> Self {
        Self { shown: false, ..Self::new(origin, text) }
    }

    /// Which file it is: `repository:path`.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The line of the byte `at`, from 1.
    #[must_use]
    pub fn line(&self, at: usize) -> usize {
        self.lines.partition_point(|begin| *begin <= at).max(1)
    }

    /// A fault at the bytes `span`.
    #[must_use]
    pub fn fault(&self, span: &Range<usize>, message: &str) -> Diagnostic {
        let message = printable(message);
        let start = floor_char_boundary(&self.text, span.start);
        let line = self.line(start);
        let line_start = self.lines.get(line - 1).copied().unwrap_or(0);
        let line_end = self.lines.get(line).map_or(self.text.len(), |next| next - 1);
        // What goes on in the next line is seen from its beginning.
        let end = floor_char_boundary(&self.text, span.end).min(line_end).max(start);
        let column = self.text[line_start..start].chars().count() + 1;

        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let (origin, place) = (self.origin.clone(), format!("--> {}:{line}:{column}", self.origin));
        if !self.shown {
            let text = printable_lines(&format!("error: {message}\n {place}"));
            return Diagnostic { origin, line: number(line), column: number(column), text, message };
        }
        // A diagnostic ends in logs; the text does not.
        let shown = without_secrets(&self.text[line_start..line_end.max(start)]);
        let (before, at) = shown.split_at(start - line_start);
        let (at, after) = at.split_at(end - start);
        let after = after.trim_end_matches('\r');
        let (before, at, after) = (shown_end(before), shown_beginning(at), shown_beginning(after));
        let marked = before.len()..before.len() + at.len();
        let snippet = Snippet::source(format!("{before}{at}{after}"))
            .path(self.origin.as_str())
            .line_start(line)
            .annotation(AnnotationKind::Primary.span(marked));
        let report = [Group::with_title(Level::ERROR.primary_title(message.as_str())).element(snippet)];
        // The renderer counts the column in what is left of the line.
        let text: Vec<String> = Renderer::plain()
            .render(&report)
            .split('\n')
            .enumerate()
            .map(|(index, shown)| match shown.split_once("--> ") {
                Some((indent, _)) if index == 1 => format!("{indent}{place}"),
                Some(_) | None => shown.to_owned(),
            })
            .collect();
        Diagnostic {
            origin,
            line: number(line),
            column: number(column),
            text: printable_lines(&text.join("\n")),
            message,
        }
    }
}

/// The last characters of a text, fit to be shown in one line.
fn shown_end(text: &str) -> String {
    let from = text.char_indices().rev().nth(SHOWN - 1).map_or(0, |(at, _)| at);
    let cut = if from > 0 { "..." } else { "" };
    cut.chars().chain(text[from..].chars().map(visible)).collect()
}

/// The first characters of a text, fit to be shown in one line.
fn shown_beginning(text: &str) -> String {
    let to = text.char_indices().nth(SHOWN).map_or(text.len(), |(at, _)| at);
    let cut = if to < text.len() { "..." } else { "" };
    text[..to].chars().map(visible).chain(cut.chars()).collect()
}

/// What would otherwise not be seen where the caret points. Tabs stay, the renderer makes room for them.
fn visible(c: char) -> char {
    match c {
        '\t' => c,
        '\0'..='\u{1f}' => char::from_u32(0x2400 + u32::from(c)).unwrap_or(char::REPLACEMENT_CHARACTER),
        c if is_hidden(c) => char::REPLACEMENT_CHARACTER,
        c => c,
    }
}

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
        let shown = Source::new("web:metadata.json", source).fault(&(12..17), "\"a/b\" is not a tenant name");
        assert_eq!(shown.to_string(), "web:metadata.json:2:11: \"a/b\" is not a tenant name");
        insta::assert_snapshot!(shown.text, @r#"
        error: "a/b" is not a tenant name
         --> web:metadata.json:2:11
          |
        2 |   "name": "a/b"
          |           ^^^^^
        "#);
    }

    #[test]
    fn of_a_long_line_the_fault_is_shown() {
        let source = format!("first\n{}\"b\tad\u{202e}\u{1b}[2J\"{}\r\n", "é".repeat(200), "ü".repeat(200));
        let start = source.find('"').unwrap();
        let shown = Source::new("r:p", &source).fault(&(start..start + 13), "no");
        assert_eq!((shown.line, shown.column), (2, 201));
        insta::assert_snapshot!(shown.text);
    }

    proptest! {
        #[test]
        fn no_text_and_no_span_makes_it_fail(source in "\\PC{0,80}|[\\s\\S]{0,80}", start in 0usize..200, length in 0usize..50, message in "[\\s\\S]{0,20}") {
            let shown = Source::new("r:p", &source).fault(&(start..start + length), &message);
            prop_assert!(shown.line >= 1 && shown.column >= 1);
            prop_assert!(!shown.message.chars().any(is_hidden));
            prop_assert!(!shown.text.chars().any(|c| is_hidden(c) && c != NEWLINE));
            prop_assert!(shown.text.lines().skip(1).all(|line| line.chars().count() < 4 * SHOWN + 40), "{}", shown.text);
        }
    }
}
