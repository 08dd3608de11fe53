//! A contract: the text of a .varlink file, what it says of each method, and the Rust twin of each.

use crate::{access::Right, shape::Shape};
use serde::{Serialize, de::DeserializeOwned};
use std::{collections::BTreeMap, fmt, sync::OnceLock};
use thiserror::Error;
use zlink::idl::{CustomType, Field, Interface};

/// The parameters of one method, which know its name, its reply and its errors. A client sends one, a service takes one.
pub trait Method: Serialize + DeserializeOwned + fmt::Debug + Send + Sync + 'static {
    /// The method's name without the interface's.
    const NAME: &'static str;
    /// The contract that it belongs to.
    const CONTRACT: &'static Contract;
    /// What it answers.
    type Reply: Serialize + DeserializeOwned + Send + 'static;
    /// What it can fail with.
    type Error: ErrorReply;
}

/// An error that a .varlink file names.
pub trait ErrorReply: Serialize + DeserializeOwned + std::error::Error + Send + Sync + 'static {
    /// The error for something on this host that failed.
    fn failed(action: String, reason: String) -> Self;
}

/// Whether a method may or must be called with `more`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum More {
    /// One reply, whatever the caller asked.
    Ignored,
    /// One reply, or many if asked.
    Supported,
    /// Many replies; a call without it is refused.
    Required,
}

/// The Rust side of one method, for the test that compares it with the file.
#[derive(Debug)]
pub struct Twin {
    /// The method's name.
    pub name: &'static str,
    /// Who may call it.
    pub right: Right,
    /// Whether it streams.
    pub more: More,
    /// The shape of its parameters.
    pub parameters: fn() -> Shape,
    /// The shape of its reply.
    pub reply: fn() -> Shape,
}

/// One interface: its description and its twins.
pub struct Contract {
    /// The interface's name.
    pub name: &'static str,
    /// The .varlink file.
    pub text: &'static str,
    /// The twins of its methods.
    pub methods: &'static [Twin],
    /// The shapes of its errors' parameters, by name.
    pub errors: fn() -> Vec<(&'static str, Shape)>,
    parsed: OnceLock<BTreeMap<String, Shape>>,
}

/// A .varlink file that cannot be read.
#[derive(Debug, Error)]
#[error("{interface}: {reason}")]
pub struct InvalidContract {
    interface: &'static str,
    reason: String,
}

impl Contract {
    /// Ties a file to its twins.
    #[must_use]
    pub const fn new(
        name: &'static str,
        text: &'static str,
        methods: &'static [Twin],
        errors: fn() -> Vec<(&'static str, Shape)>,
    ) -> Self {
        Self { name, text, methods, errors, parsed: OnceLock::new() }
    }

    /// The twin of the method with this name (without the interface's).
    #[must_use]
    pub fn method(&self, name: &str) -> Option<&'static Twin> {
        self.methods.iter().find(|method| method.name == name)
    }

    /// Checks the parameters of a call of `method` against the file.
    ///
    /// # Errors
    /// The path of the first parameter that is missing, unknown or of the wrong type.
    pub fn check(&self, method: &str, parameters: &serde_json::Value) -> Result<(), String> {
        let shapes =
            self.parsed.get_or_init(|| self.describe().map(|described| described.parameters).unwrap_or_default());
        shapes.get(method).map_or_else(|| Err(String::new()), |shape| shape.check(parameters))
    }

    /// Reads the file.
    ///
    /// # Errors
    /// The file is not an interface description.
    pub fn describe(&self) -> Result<Described, InvalidContract> {
        let invalid = |reason: String| InvalidContract { interface: self.name, reason };
        let interface = Interface::try_from(self.text).map_err(|cause| invalid(cause.to_string()))?;
        let resolve = |name: &str| resolve(&interface, name, 16);
        let object = |fields: &mut dyn Iterator<Item = &Field<'_>>| {
            Shape::Object(fields.map(|field| (field.name().to_string(), Shape::of(field.ty(), &resolve))).collect())
        };
        Ok(Described {
            name: interface.name().to_string(),
            parameters: interface.methods().map(|m| (m.name().to_string(), object(&mut m.inputs()))).collect(),
            replies: interface.methods().map(|m| (m.name().to_string(), object(&mut m.outputs()))).collect(),
            errors: interface.errors().map(|e| (e.name().to_string(), object(&mut e.fields()))).collect(),
        })
    }
}

impl fmt::Debug for Contract {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Contract").field(&self.name).finish()
    }
}

/// What a .varlink file says.
#[derive(Debug)]
pub struct Described {
    /// The interface's name.
    pub name: String,
    /// The shapes of the methods' parameters.
    pub parameters: BTreeMap<String, Shape>,
    /// The shapes of the methods' replies.
    pub replies: BTreeMap<String, Shape>,
    /// The shapes of the errors' parameters.
    pub errors: BTreeMap<String, Shape>,
}

fn resolve(interface: &Interface<'_>, name: &str, depth: usize) -> Shape {
    let inner = |name: &str| match depth.checked_sub(1) {
        Some(depth) => resolve(interface, name, depth),
        None => Shape::Any,
    };
    match interface.custom_types().find(|custom| custom.name() == name) {
        Some(CustomType::Object(object)) => Shape::Object(
            object.fields().map(|field| (field.name().to_string(), Shape::of(field.ty(), &inner))).collect(),
        ),
        Some(CustomType::Enum(words)) => Shape::Enum(words.variants().map(|word| word.name().to_string()).collect()),
        None => Shape::Any,
    }
}
