//! The tree that a JSON or YAML text says, each value with its place in the text.

use std::ops::Range;

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its bytes in the text.
    pub span: Range<usize>,
    /// What it is.
    pub value: Value,
}

/// What a text can say. Numbers stay as they were written until somebody knows which kind is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `null`.
    Null,
    /// `true` or `false`.
    Boolean(bool),
    /// A number, as written.
    Number(String),
    /// A string, without its quotes and escapes.
    Text(String),
    /// `[…]`.
    List(Vec<Node>),
    /// `{…}`, in the order of the text, with whatever stands there twice.
    Object(Vec<Member>),
}

/// A field of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Where the name stands.
    pub name_span: Range<usize>,
    /// Its value.
    pub node: Node,
}

/// One step from a value to a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    /// The value of an object's field.
    Field(&'a str),
    /// An element of a list, from 0.
    Element(usize),
}

impl<'a> From<&'a str> for Step<'a> {
    fn from(field: &'a str) -> Self {
        Self::Field(field)
    }
}

impl From<usize> for Step<'_> {
    fn from(element: usize) -> Self {
        Self::Element(element)
    }
}

/// The way to a part of a document: `path!["tenants", 3, "name"]`.
#[macro_export]
macro_rules! path {
    ($($step:expr),* $(,)?) => { &[$($crate::document::Step::from($step)),*] };
}

impl Node {
    /// The value that `path` leads to, if it leads to one.
    #[must_use]
    pub fn find(&self, path: &[Step<'_>]) -> Option<&Self> {
        path.iter().try_fold(self, |node, step| node.part(*step))
    }

    /// The value that `path` leads to, or as near to it as the text goes: what is not said is missed where it would stand.
    #[must_use]
    pub fn nearest(&self, path: &[Step<'_>]) -> &Self {
        let mut node = self;
        for step in path {
            let Some(part) = node.part(*step) else { break };
            node = part;
        }
        node
    }

    fn part(&self, step: Step<'_>) -> Option<&Self> {
        match (&self.value, step) {
            (Value::Object(members), Step::Field(name)) => {
                members.iter().find(|member| member.name == name).map(|member| &member.node)
            }
            (Value::List(elements), Step::Element(index)) => elements.get(index),
            _ => None,
        }
    }

    /// Where a person should look: a scalar as a whole, of anything longer its beginning.
    #[must_use]
    pub fn caret(&self) -> Range<usize> {
        match self.value {
            Value::List(_) | Value::Object(_) => self.span.start..self.span.end.min(self.span.start + 1),
            Value::Null | Value::Boolean(_) | Value::Number(_) | Value::Text(_) => self.span.clone(),
        }
    }

    /// What it is, with its article, for a message.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self.value {
            // YAML takes what is left out for null.
            Value::Null if self.span.is_empty() => "nothing",
            Value::Null => "null",
            Value::Boolean(_) => "true or false",
            Value::Number(_) => "a number",
            Value::Text(_) => "a string",
            Value::List(_) => "a list",
            Value::Object(_) => "an object",
        }
    }
}
