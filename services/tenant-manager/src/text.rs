//! Text that a tenant wrote, made fit for a terminal and a log line.

/// The text without escape sequences and control characters; lines and tabs stay.
#[must_use]
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(next) = rest.next() {
        match next {
            '\n' | '\t' => shown.push(next),
            // ECMA-48: a control sequence is ESC [, parameters, and one final byte.
            '\u{1b}' if rest.peek() == Some(&'[') => {
                rest.next();
                while rest.next_if(|c| ('\u{20}'..='\u{3f}').contains(c)).is_some() {}
                rest.next_if(|c| ('\u{40}'..='\u{7e}').contains(c));
            }
            // What turns the direction of writing can make a line read as another one.
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
            other if other.is_control() => {}
            other => shown.push(other),
        }
    }
    shown
}

/// The last lines of `text` in one line, for an error's reason.
#[must_use]
pub fn last_lines(text: &str, count: usize) -> String {
    let shown = printable(text);
    let lines: Vec<String> = shown
        .lines()
        .map(|line| line.trim().chars().take(200).collect::<String>())
        .filter(|line| !line.is_empty())
        .collect();
    lines[lines.len().saturating_sub(count)..].join(" / ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn colours_and_controls_go() {
        assert_eq!(
            printable("[\u{1b}[0;32m  OK  \u{1b}[0m] Started\ta\r\n\u{7}b\u{1b}]0;title"),
            "[  OK  ] Started\ta\nb]0;title"
        );
        assert_eq!(last_lines("\n a \n\u{1b}[1mb\u{1b}[0m\n\n c\n", 2), "b / c");
        assert_eq!(last_lines("", 20), "");
    }

    proptest! {
        #[test]
        fn nothing_that_moves_a_cursor_is_left(text in ".{0,200}") {
            prop_assert!(printable(&text).chars().all(|c| !c.is_control() || c == '\n' || c == '\t'));
            prop_assert!(!last_lines(&text, 20).contains('\n'));
        }
    }
}
