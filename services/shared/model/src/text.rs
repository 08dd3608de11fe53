//! The one way in which a checked string type is made: parsed from text, shown as it was written, (de)serialised as a
//! plain string.

use thiserror::Error;

/// Why a text is not what it was taken for. The message says what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{text:?} is not {what}{}: {allowed}", foreign(.text))]
pub struct InvalidText {
    /// The refused text, or its beginning.
    pub text: String,
    /// What it should have been, with its article: `a tenant name`.
    pub what: &'static str,
    /// What would have been accepted.
    pub allowed: &'static str,
}

impl InvalidText {
    /// Refuses `text`, which should have been `what`.
    #[must_use]
    pub fn new(text: &str, what: &'static str, allowed: &'static str) -> Self {
        Self { text: shortened(&without_secrets(text)), what, allowed }
    }
}

/// As much of a text as a message can show.
#[must_use]
pub fn shortened(text: &str) -> String {
    const SHOWN: usize = 80;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// Names the first character of a word that is not ASCII, in parentheses: it may look like one that is.
#[must_use]
pub fn foreign(text: &str) -> String {
    let found = text.chars().enumerate().find(|(_, c)| !c.is_ascii());
    found.map(|(at, c)| format!(" (character {} is U+{:04X})", at + 1, u32::from(c))).unwrap_or_default()
}

/// A text without the secrets that addresses hold, `https://user:password@host`; as many bytes as before.
#[must_use]
pub fn without_secrets(text: &str) -> String {
    let (mut shown, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once("://") {
        shown.push_str(before);
        shown.push_str("://");
        let end = after.find(|c: char| c == '/' || c == '"' || c.is_whitespace()).unwrap_or(after.len());
        let user = after[..end].rfind('@').map_or("", |at| &after[..at]);
        // ssh cannot do without a user, who is no secret.
        let secret = if before.ends_with("ssh") { user.find(':').map_or(user.len(), |colon| colon + 1) } else { 0 };
        shown.push_str(&user[..secret]);
        shown.push_str(&"*".repeat(user.len() - secret));
        rest = &after[user.len()..];
    }
    shown + rest
}

/// Whether a character moves a terminal's cursor, turns the direction of what follows, or takes no room: what is read would
/// not be what is there.
#[must_use]
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// Text of somebody else's, fit to be shown: what would move a terminal's cursor, begin another line or hide is replaced.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if is_hidden(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// The same for text of several lines.
#[must_use]
pub fn printable_lines(text: &str) -> String {
    text.split('\n').map(printable).collect::<Vec<_>>().join("\n")
}

/// Declares a string type that exists only if `$valid` accepted its text. After `schema`, what a JSON Schema can say of that:
/// a test holds the two against each other.
macro_rules! checked_text {
    ($(#[$meta:meta])* $name:ident, $what:literal, $allowed:literal, $valid:expr $(, schema $narrower:tt)?) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text as it was written.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::text::InvalidText;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) { Ok(Self(text.to_owned())) } else { Err($crate::text::InvalidText::new(text, $what, $allowed)) }
            }
        }

        impl TryFrom<String> for $name {
            type Error = $crate::text::InvalidText;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(checked: $name) -> Self {
                checked.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        $crate::text::decoded_text!($name, $what, $allowed $(, schema $narrower)?);
    };
}

/// Lets a document say a type that is parsed from text.
macro_rules! decoded_text {
    ($name:ident, $what:literal, $allowed:literal $(, schema $narrower:tt)?) => {
        impl $crate::document::Decode for $name {
            fn decode(node: &$crate::document::Node, faults: &mut $crate::document::Faults) -> Option<Self> {
                $crate::document::decode::text(node, faults)
            }

            fn schema() -> serde_json::Value {
                #[allow(unused_mut)]
                let mut schema = serde_json::json!({ "type": "string", "description": concat!($what, ": ", $allowed) });
                $($crate::document::declare::narrow(&mut schema, serde_json::json!($narrower));)?
                schema
            }
        }
    };
}

/// The conversions of a type that is written as text and is more than that text inside.
macro_rules! written_as_text {
    ($name:ident, $what:literal, $allowed:literal) => {
        impl $name {
            fn refused(text: &str) -> $crate::text::InvalidText {
                $crate::text::InvalidText::new(text, $what, $allowed)
            }
        }

        impl TryFrom<String> for $name {
            type Error = $crate::text::InvalidText;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.to_string()
            }
        }

        $crate::text::decoded_text!($name, $what, $allowed);
    };
}

/// Declares a whole number within bounds.
macro_rules! bounded {
    ($(#[$meta:meta])* $name:ident($inner:ty), $what:literal, $least:literal to $most:literal) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "i64", into = "i64")]
        pub struct $name($inner);

        impl $name {
            /// The number.
            #[must_use]
            pub fn number(self) -> $inner {
                self.0
            }
        }

        impl TryFrom<i64> for $name {
            type Error = $crate::text::InvalidText;

            fn try_from(number: i64) -> Result<Self, Self::Error> {
                <$inner>::try_from(number)
                    .ok()
                    .filter(|number| ($least..=$most).contains(number))
                    .map(Self)
                    .ok_or_else(|| $crate::text::InvalidText::new(&number.to_string(), $what, concat!($least, " to ", $most)))
            }
        }

        impl From<$name> for i64 {
            fn from(checked: $name) -> Self {
                checked.0.into()
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl $crate::document::Decode for $name {
            fn decode(node: &$crate::document::Node, faults: &mut $crate::document::Faults) -> Option<Self> {
                $crate::document::decode::number(node, faults)
            }

            fn schema() -> serde_json::Value {
                serde_json::json!({ "type": "integer", "minimum": $least, "maximum": $most })
            }
        }
    };
}
pub(crate) use {bounded, checked_text, decoded_text, written_as_text};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_of_an_address_is_shown() {
        for (text, shown) in [
            ("https://user:secret@h/a", "https://***********@h/a"),
            ("\"https://token@h/a\", \"http://h/@b\"", "\"https://*****@h/a\", \"http://h/@b\""),
            ("ssh://git@h/a ssh://git:é@h/a", "ssh://git@h/a ssh://git:**@h/a"),
            ("://", "://"),
            ("x://a:b@c:d@h", "x://*******@h"),
        ] {
            assert_eq!(without_secrets(text), shown);
        }
    }

    #[test]
    fn nothing_shown_can_move_a_cursor_or_hide() {
        assert_eq!(printable("a\u{202e}b\u{200b}\u{feff}"), "a\u{fffd}b\u{fffd}\u{fffd}");
        assert_eq!(printable("a\n\u{1b}[2J\u{9b}2Jé"), "a\u{fffd}\u{fffd}[2J\u{fffd}2Jé");
        assert_eq!(printable_lines("a\r\nb"), "a\u{fffd}\nb");
    }
}
