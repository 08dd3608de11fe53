//! How a part of a document is declared: once, as a Rust type with its documentation; how it is read and its JSON Schema
//! follow from that.

use serde_json::{Map, Value as Json, json};

/// Declares an object. A field is wanted unless its type is an `Option` or it has a default after `=`; its name in the
/// document is its own unless `as` gives another.
macro_rules! record {
    ($($(#[doc = $doc:literal])* $(#[derive($($derive:ident),+)])? $(#[serde($($serde:tt)+)])? $name:ident {
        $($(#[doc = $field_doc:literal])* $field:ident $(as $rename:literal)? : $type:ty $(= $default:expr)?,)*
    })*) => {$(
        $(#[doc = $doc])*
        #[derive(Debug, Clone, PartialEq, Eq $($(, $derive)+)?)]
        $(#[serde($($serde)+)])?
        pub struct $name {
            $($(#[doc = $field_doc])* pub $field: $type,)*
        }

        impl $crate::document::Decode for $name {
            fn decode(node: &$crate::document::Node, faults: &mut $crate::document::Faults) -> Option<Self> {
                const NAMES: &[&str] = &[$($crate::document::declare::name!($field $($rename)?)),*];
                let fields = $crate::document::Fields::of(node, NAMES, faults)?;
                $(
                    #[allow(unused_mut, unused_assignments)]
                    let mut default: Option<$type> = None;
                    $(default = Some($default);)?
                    let $field = fields.read::<$type>($crate::document::declare::name!($field $($rename)?), default, faults);
                )*
                Some(Self { $($field: $field?),* })
            }

            fn schema() -> serde_json::Value {
                $crate::document::declare::object(concat!($($doc),*), [$((
                    $crate::document::declare::name!($field $($rename)?),
                    concat!($($field_doc),*),
                    <$type as $crate::document::Decode>::schema(),
                    <$type as $crate::document::Decode>::left_out().is_none() $(&& { stringify!($default); false })?,
                )),*])
            }
        }
    )*};
}

/// Declares a choice of words.
macro_rules! choice {
    ($($(#[doc = $doc:literal])* $name:ident, $what:literal {
        $($(#[doc = $word_doc:literal])* $variant:ident = $word:literal,)*
    })*) => {$(
        $(#[doc = $doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $($(#[doc = $word_doc])* #[serde(rename = $word)] $variant,)*
        }

        impl $name {
            /// The word in the document.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.word())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::text::InvalidText;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                const ALLOWED: &str = $crate::document::declare::listed!($($word),*);
                match text {
                    $($word => Ok(Self::$variant),)*
                    _ => Err($crate::text::InvalidText::new(text, $what, ALLOWED)),
                }
            }
        }

        impl $crate::document::Decode for $name {
            fn decode(node: &$crate::document::Node, faults: &mut $crate::document::Faults) -> Option<Self> {
                $crate::document::decode::text(node, faults)
            }

            fn schema() -> serde_json::Value {
                $crate::document::declare::words([$(($word, concat!($($word_doc),*))),*])
            }
        }
    )*};
}

macro_rules! name {
    ($field:ident) => {
        stringify!($field)
    };
    ($field:ident $rename:literal) => {
        $rename
    };
}

macro_rules! listed {
    ($first:literal $(, $rest:literal)*) => { concat!($first $(, ", ", $rest)*) };
}

pub(crate) use {choice, listed, name, record};

/// The schema of an object from its fields: name, documentation, schema, and whether it has to be there.
pub(crate) fn object<const N: usize>(doc: &str, fields: [(&str, &str, Json, bool); N]) -> Json {
    let required: Vec<&str> = fields.iter().filter(|(.., required)| *required).map(|(name, ..)| *name).collect();
    let properties: Map<String, Json> =
        fields.into_iter().map(|(name, doc, schema, _)| (name.to_owned(), described(doc, schema))).collect();
    json!({
        "type": "object",
        "description": doc.trim(),
        "additionalProperties": false,
        "required": required,
        "properties": properties,
    })
}

/// Adds what else is said of a value.
pub(crate) fn narrow(schema: &mut Json, by: Json) {
    if let (Some(schema), Json::Object(by)) = (schema.as_object_mut(), by) {
        schema.extend(by);
    }
}

/// A field's own words come before those of its type.
fn described(doc: &str, mut schema: Json) -> Json {
    if let Some(fields) = schema.as_object_mut() {
        let inner = fields.get("description").and_then(Json::as_str).map(str::to_owned);
        let object = fields.get("type").and_then(Json::as_str) == Some("object");
        let text = match inner {
            Some(inner) if !object && !doc.contains(&inner) => {
                format!("{} ({inner})", doc.trim().trim_end_matches('.'))
            }
            Some(_) | None => doc.trim().to_owned(),
        };
        fields.insert("description".to_owned(), json!(text));
    }
    schema
}

/// The schema of a choice: each word with what it means.
pub(crate) fn words<const N: usize>(words: [(&str, &str); N]) -> Json {
    let one_of: Vec<Json> =
        words.iter().map(|(word, doc)| json!({ "const": word, "description": doc.trim() })).collect();
    json!({ "oneOf": one_of })
}
