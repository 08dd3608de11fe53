//! What a host's console shows, as text.

use std::fs;
use std::path::Path;

use crate::command::tail;

/// The last lines of a console.
pub(crate) fn last_words(console: &Path) -> String {
    let said = fs::read(console).unwrap_or_default();
    tail(&printable(&String::from_utf8_lossy(&said)), 40)
}

/// The text once everything that moves the cursor and changes colours is left out.
fn printable(text: &str) -> String {
    let mut shown = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\u{1b}' => skip_sequence(&mut letters),
            '\n' | '\t' => shown.push(letter),
            control if control.is_control() => {}
            other => shown.push(other),
        }
    }
    shown
}

/// The rest of a control sequence, whose escape has been read (ECMA-48).
fn skip_sequence(letters: &mut impl Iterator<Item = char>) {
    let end = match letters.next() {
        Some('[') => letters.find(|letter| ('@'..='~').contains(letter)),
        Some('P' | ']' | '_' | '^') => letters.find(|letter| matches!(letter, '\u{7}' | '\u{1b}')),
        other => other,
    };
    // A string is ended by the bell, or by an escape and one more.
    if end == Some('\u{1b}') {
        letters.next();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_console_is_shown_as_text() {
        let console = "\u{1b}[32766;32766H\u{1b}]3008;start=0;type=boot\u{1b}\\\u{1b}P+q6E\u{1b}\\\r[  \u{1b}[0;32mOK\u{1b}[0m  ] Up\r\n\u{1b}7panic";
        assert_eq!(printable(console), "[  OK  ] Up\npanic");
    }
}
