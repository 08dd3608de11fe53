//! From a tree to a type: every fault that the tree has, not the first alone.

use super::node::{Member, Node, Value};
use crate::text::{InvalidText, shortened};
use serde_json::{Value as Json, json};
use std::{ops::Range, str::FromStr};

/// What is wrong at a place of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Its bytes in the text.
    pub span: Range<usize>,
    /// What is wrong and what is allowed.
    pub message: String,
}

/// The faults found so far.
#[derive(Debug, Default)]
pub struct Faults {
    pub(super) found: Vec<Fault>,
    /// What makes all others meaningless.
    pub(super) decisive: Option<Fault>,
}

impl Faults {
    /// Notes a fault. Returns nothing, for the caller to pass on.
    pub fn refuse<T>(&mut self, span: Range<usize>, message: impl Into<String>) -> Option<T> {
        self.found.push(Fault { span, message: message.into() });
        None
    }

    /// Notes a fault that leaves nothing else to be said, as of a format's version.
    pub fn refuse_all<T>(&mut self, span: Range<usize>, message: impl Into<String>) -> Option<T> {
        self.decisive = Some(Fault { span, message: message.into() });
        None
    }
}

/// A type that a part of a document can say. Its JSON Schema is made from the same declaration, so that what an editor
/// offers is what is accepted.
pub trait Decode: Sized {
    /// Reads the value, or notes all that is wrong with it.
    fn decode(node: &Node, faults: &mut Faults) -> Option<Self>;

    /// The JSON Schema (draft 2020-12) of the value.
    fn schema() -> Json;

    /// What a field that is left out means, if it may be.
    #[must_use]
    fn left_out() -> Option<Self> {
        None
    }
}

impl Decode for bool {
    fn decode(node: &Node, faults: &mut Faults) -> Option<Self> {
        let Value::Boolean(value) = node.value else {
            let hint = match &node.value {
                Value::Text(text) => match text.to_ascii_lowercase().as_str() {
                    "yes" | "on" | "true" => "; write true",
                    "no" | "off" | "false" => "; write false",
                    _ => "",
                },
                Value::Null | Value::Boolean(_) | Value::Number(_) | Value::List(_) | Value::Object(_) => "",
            };
            return faults.refuse(node.caret(), format!("{} stands where true or false is wanted{hint}", node.kind()));
        };
        Some(value)
    }

    fn schema() -> Json {
        json!({ "type": "boolean" })
    }
}

impl Decode for i64 {
    fn decode(node: &Node, faults: &mut Faults) -> Option<Self> {
        let Value::Number(number) = &node.value else {
            let quoted = matches!(&node.value, Value::Text(text) if text.parse::<Self>().is_ok());
            let hint = if quoted { "; write it without quotes" } else { "" };
            return faults.refuse(node.caret(), format!("{} stands where a whole number is wanted{hint}", node.kind()));
        };
        let digits = number.trim_start_matches(['+', '-']);
        let whole = digits.bytes().all(|byte| byte.is_ascii_digit());
        let message = match number.parse() {
            // JSON has none, and YAML 1.1 took them for octal.
            Ok(_) if digits.len() > 1 && digits.starts_with('0') => "begins with a zero, which some read as octal",
            Ok(number) => return Some(number),
            Err(_) if whole => "is too large a number",
            Err(_) => "is not a whole number",
        };
        faults.refuse(node.caret(), format!("{} {message}", shortened(number)))
    }

    fn schema() -> Json {
        json!({ "type": "integer" })
    }
}

impl Decode for String {
    fn decode(node: &Node, faults: &mut Faults) -> Option<Self> {
        let Value::Text(text) = &node.value else {
            return faults.refuse(node.caret(), format!("{} stands where a string is wanted", node.kind()));
        };
        Some(text.clone())
    }

    fn schema() -> Json {
        json!({ "type": "string" })
    }
}

/// Left out, it is nothing; `null` is not a way to leave it out.
impl<T: Decode> Decode for Option<T> {
    fn decode(node: &Node, faults: &mut Faults) -> Option<Self> {
        T::decode(node, faults).map(Some)
    }

    fn schema() -> Json {
        T::schema()
    }

    fn left_out() -> Option<Self> {
        Some(None)
    }
}

/// As many as a host can have tenants: nothing that is listed makes sense more often.
const LONGEST_LIST: usize = 8192;

impl<T: Decode> Decode for Vec<T> {
    fn decode(node: &Node, faults: &mut Faults) -> Option<Self> {
        let Value::List(elements) = &node.value else {
            let scalar = !matches!(node.value, Value::Null | Value::Object(_));
            let hint = if scalar { "; write it between [ and ]" } else { "" };
            return faults.refuse(node.caret(), format!("{} stands where a list is wanted{hint}", node.kind()));
        };
        if elements.len() > LONGEST_LIST {
            let message = format!("this list has {} elements; at most {LONGEST_LIST} are read", elements.len());
            return faults.refuse(node.caret(), message);
        }
        // Each is read, whatever became of those before it.
        let read: Vec<Option<T>> = elements.iter().map(|element| T::decode(element, faults)).collect();
        read.into_iter().collect()
    }

    fn schema() -> Json {
        json!({ "type": "array", "items": T::schema() })
    }
}

/// One value, or a list of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OneOrMore<T>(pub Vec<T>);

impl<T> Default for OneOrMore<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Decode> Decode for OneOrMore<T> {
    fn decode(node: &Node, faults: &mut Faults) -> Option<Self> {
        if matches!(node.value, Value::List(_)) {
            return Vec::decode(node, faults).map(Self);
        }
        T::decode(node, faults).map(|value| Self(vec![value]))
    }

    fn schema() -> Json {
        json!({ "anyOf": [T::schema(), Vec::<T>::schema()] })
    }
}

/// A string that is parsed into a type of its own.
pub fn text<T: FromStr<Err = InvalidText>>(node: &Node, faults: &mut Faults) -> Option<T> {
    let (text, quoted) = match &node.value {
        Value::Text(text) => (text.as_str(), true),
        Value::Number(text) => (text.as_str(), false),
        Value::Null | Value::Boolean(_) | Value::List(_) | Value::Object(_) => ("", false),
    };
    let message = match text.parse::<T>() {
        Ok(value) if quoted => return Some(value),
        Ok(_) => format!("{} stands where a string is wanted; write it in quotes", node.kind()),
        Err(fault) if quoted || !text.is_empty() => fault.to_string(),
        Err(InvalidText { what, allowed, .. }) => format!("{} stands where {what} is wanted: {allowed}", node.kind()),
    };
    faults.refuse(node.caret(), message)
}

/// A whole number that is checked into a type of its own.
pub fn number<T>(node: &Node, faults: &mut Faults) -> Option<T>
where
    T: TryFrom<i64, Error = InvalidText>,
{
    let number = i64::decode(node, faults)?;
    match T::try_from(number) {
        Ok(value) => Some(value),
        Err(InvalidText { what, allowed, .. }) => {
            faults.refuse(node.caret(), format!("{number} is not {what}: {allowed}"))
        }
    }
}

/// The fields of an object, read one after the other.
#[derive(Debug)]
pub struct Fields<'a> {
    node: &'a Node,
    members: &'a [Member],
}

impl<'a> Fields<'a> {
    /// The fields of `node`, none of which is unknown or there twice. An unknown field does not keep the others from
    /// being read.
    pub fn of(node: &'a Node, known: &[&str], faults: &mut Faults) -> Option<Self> {
        let Value::Object(members) = &node.value else {
            return faults.refuse(node.caret(), format!("{} stands where an object is wanted", node.kind()));
        };
        for (index, member) in members.iter().enumerate() {
            let span = member.name_span.clone();
            if !known.contains(&member.name.as_str()) {
                faults.refuse::<()>(span, unknown(&member.name, known));
            } else if members[..index].iter().any(|earlier| earlier.name == member.name) {
                faults.refuse::<()>(span, format!("the field {} is there twice", member.name));
            }
        }
        Some(Self { node, members })
    }

    /// Reads one field. Left out, it is `default`, or what its type says, or missing.
    pub fn read<T: Decode>(&self, name: &str, default: Option<T>, faults: &mut Faults) -> Option<T> {
        match self.members.iter().find(|member| member.name == name) {
            Some(member) => T::decode(&member.node, faults),
            None => default
                .or_else(T::left_out)
                .or_else(|| faults.refuse(self.node.caret(), format!("the field {name} is missing"))),
        }
    }
}

/// No field of ours has a name as long, and comparing takes time and space by the length.
const LONGEST_NAME: usize = 40;

fn unknown(name: &str, known: &[&str]) -> String {
    if name.len() > LONGEST_NAME {
        return format!("there is no field {:?}; allowed: {}", shortened(name), known.join(", "));
    }
    let shown = format!("{name:?}{}", crate::text::foreign(name));
    let near = known.iter().map(|known| (strsim::damerau_levenshtein(name, known), known)).min();
    match near {
        Some((distance, near)) if distance <= 2 && distance < name.chars().count() / 2 => {
            format!("there is no field {shown}; did you mean {near}?")
        }
        _ => format!("there is no field {shown}; allowed: {}", known.join(", ")),
    }
}
