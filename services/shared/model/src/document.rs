//! From the text of a JSON or YAML file to a type, or to diagnostics that point at every fault it has.

pub mod declare;
pub mod decode;
mod json;
mod node;
mod yaml;

use crate::diagnostic::{Diagnostic, MOST_SHOWN, Source};
pub use decode::{Decode, Fault, Faults, Fields, OneOrMore};
pub use node::{Member, Node, Step, Value};

/// A file larger than this is refused unread: no manifest that a person wrote comes near.
pub const LARGEST_DOCUMENT: usize = 1 << 20;
/// The field that names a file's JSON Schema, which any file may have.
pub const SCHEMA: &str = "$schema";

/// A parsed file that still knows its text, so that what is found out later can be shown in its place.
#[derive(Debug, Clone)]
pub struct Document<T> {
    /// What the file says.
    pub content: T,
    source: Source,
    root: Node,
}

impl<T: Decode> Document<T> {
    /// Reads the JSON file `origin` (`repository:path`).
    ///
    /// # Errors
    /// Every fault, in the order of the text.
    pub fn json(origin: &str, bytes: &[u8]) -> Result<Self, Vec<Diagnostic>> {
        Self::read(origin, bytes, json::parse)
    }

    /// Reads the YAML file `origin` (`repository:path`).
    ///
    /// # Errors
    /// Every fault, in the order of the text.
    pub fn yaml(origin: &str, bytes: &[u8]) -> Result<Self, Vec<Diagnostic>> {
        Self::read(origin, bytes, yaml::parse)
    }

    /// Reads a YAML file whose text is nobody's to see: what is said of it has places and shows no lines.
    ///
    /// # Errors
    /// Every fault, in the order of the text.
    pub fn yaml_unshown(origin: &str, bytes: &[u8]) -> Result<Self, Vec<Diagnostic>> {
        Self::read_as(Source::unshown, origin, bytes, yaml::parse)
    }

    fn read(origin: &str, bytes: &[u8], parse: fn(&str) -> Result<Node, Fault>) -> Result<Self, Vec<Diagnostic>> {
        Self::read_as(Source::new, origin, bytes, parse)
    }

    fn read_as(
        source: fn(&str, &str) -> Source,
        origin: &str,
        bytes: &[u8],
        parse: fn(&str) -> Result<Node, Fault>,
    ) -> Result<Self, Vec<Diagnostic>> {
        if bytes.len() > LARGEST_DOCUMENT {
            let message = format!("the file has {} bytes; at most {LARGEST_DOCUMENT} are read", bytes.len());
            return Err(vec![Diagnostic::of_file(origin, &message)]);
        }
        let text = std::str::from_utf8(bytes).map_err(|fault| {
            let line = bytes[..fault.valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
            let message = match bytes {
                [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "the file is UTF-16; save it as UTF-8".to_owned(),
                _ => format!("the file is not UTF-8 in line {line}"),
            };
            vec![Diagnostic::of_file(origin, &message)]
        })?;
        let source = source(origin, text);
        let show = |fault: &Fault| source.fault(&fault.span, &fault.message);
        let mut root = parse(text).map_err(|fault| vec![show(&fault)])?;
        let mut faults = Faults::default();
        set_aside_schema(&mut root, &mut faults);
        let content = T::decode(&root, &mut faults);
        let mut faults = faults.decisive.map_or(faults.found, |decisive| vec![decisive]);
        match content {
            Some(content) if faults.is_empty() => Ok(Self { content, source, root }),
            Some(_) | None => {
                faults.sort_by_key(|fault| fault.span.start);
                Err(faults.iter().take(MOST_SHOWN + 1).map(show).collect())
            }
        }
    }
}

/// `"$schema"` at the beginning of a file tells its owner's editor which schema to offer; nothing here reads it.
fn set_aside_schema(root: &mut Node, faults: &mut Faults) {
    let Value::Object(members) = &mut root.value else { return };
    let mut seen = false;
    for member in members.extract_if(.., |member| member.name == SCHEMA) {
        if std::mem::replace(&mut seen, true) {
            faults.refuse::<()>(member.name_span, format!("the field {SCHEMA} is there twice"));
        } else {
            String::decode(&member.node, faults);
        }
    }
}

impl<T> Document<T> {
    /// A fault of the value that `path` leads to, or of what holds the place where it would stand.
    #[must_use]
    pub fn fault(&self, path: &[Step<'_>], message: &str) -> Diagnostic {
        self.source.fault(&self.root.nearest(path).caret(), message)
    }

    /// `repository:path:line` of the value that `path` leads to, for a message about another file.
    #[must_use]
    pub fn place(&self, path: &[Step<'_>]) -> String {
        format!("{}:{}", self.origin(), self.line(path))
    }

    /// The line of the value that `path` leads to, from 1.
    #[must_use]
    pub fn line(&self, path: &[Step<'_>]) -> usize {
        self.source.line(self.root.nearest(path).span.start)
    }

    /// Whether the file says anything at `path`.
    #[must_use]
    pub fn says(&self, path: &[Step<'_>]) -> bool {
        self.root.find(path).is_some()
    }

    /// Which file it is: `repository:path`.
    #[must_use]
    pub fn origin(&self) -> &str {
        self.source.origin()
    }
}

#[cfg(test)]
mod tests;
