//! The shape of a value: what an interface description says a value looks like, and whether one does.

use serde_json::Value;
use zlink::idl::Type;

/// What a value looks like, with named types resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// true or false.
    Bool,
    /// A whole number that fits 64 bits with a sign.
    Int,
    /// A number.
    Float,
    /// Text.
    String,
    /// One of these words.
    Enum(Vec<String>),
    /// An object with these fields and no others.
    Object(Vec<(String, Shape)>),
    /// An object with fields of any name and this shape.
    Map(Box<Shape>),
    /// An array of this.
    Array(Box<Shape>),
    /// This or null; as a field, it may be left out.
    Optional(Box<Shape>),
    /// Anything.
    Any,
}

/// A Rust type that knows its shape on the wire.
pub trait Shaped {
    /// Its shape.
    fn shape() -> Shape;
}

impl Shape {
    /// Whether `value` looks like this.
    ///
    /// # Errors
    /// The path of the first part that does not, as `spec.forwards[0].host`; the empty path is the value itself.
    pub fn check(&self, value: &Value) -> Result<(), String> {
        match (self, value) {
            (Self::Any, _)
            | (Self::Optional(_), Value::Null)
            | (Self::Bool, Value::Bool(_))
            | (Self::String, Value::String(_)) => Ok(()),
            (Self::Float, Value::Number(_)) => Ok(()),
            (Self::Int, Value::Number(number)) if number.is_i64() => Ok(()),
            (Self::Enum(words), Value::String(word)) if words.contains(word) => Ok(()),
            (Self::Optional(inner), value) => inner.check(value),
            (Self::Array(inner), Value::Array(items)) => items
                .iter()
                .enumerate()
                .try_for_each(|(index, item)| inner.check(item).map_err(|path| format!("[{index}]{}", nested(&path)))),
            (Self::Map(inner), Value::Object(entries)) => entries
                .iter()
                .try_for_each(|(key, item)| inner.check(item).map_err(|path| format!("{key}{}", nested(&path)))),
            (Self::Object(fields), Value::Object(entries)) => {
                if let Some(unknown) = entries.keys().find(|key| fields.iter().all(|(name, _)| name != *key)) {
                    return Err(unknown.clone());
                }
                fields.iter().try_for_each(|(name, shape)| {
                    let value = entries.get(name).unwrap_or(&Value::Null);
                    shape.check(value).map_err(|path| format!("{name}{}", nested(&path)))
                })
            }
            _ => Err(String::new()),
        }
    }

    /// The shape that an interface description gives `described`, whose named types `resolve` finds.
    pub(crate) fn of(described: &Type<'_>, resolve: &dyn Fn(&str) -> Shape) -> Self {
        match described {
            Type::Bool => Self::Bool,
            Type::Int => Self::Int,
            Type::Float => Self::Float,
            Type::String => Self::String,
            Type::ForeignObject | Type::Any => Self::Any,
            Type::Optional(inner) => Self::Optional(Box::new(Self::of(inner, resolve))),
            Type::Array(inner) => Self::Array(Box::new(Self::of(inner, resolve))),
            Type::Map(inner) => Self::Map(Box::new(Self::of(inner, resolve))),
            Type::Custom(name) => resolve(name.as_str()),
            Type::Enum(words) => Self::Enum(words.iter().map(|word| word.name().to_string()).collect()),
            Type::Object(fields) => Self::Object(
                fields.iter().map(|field| (field.name().to_string(), Self::of(field.ty(), resolve))).collect(),
            ),
        }
    }
}

/// The rest of a path behind a step: `.field`, `[0]`, or nothing.
fn nested(path: &str) -> String {
    if path.is_empty() || path.starts_with('[') { path.to_owned() } else { format!(".{path}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_first_wrong_part_is_named() {
        let port =
            Shape::Object(vec![("host".into(), Shape::Int), ("protocol".into(), Shape::Enum(vec!["tcp".into()]))]);
        let shape = Shape::Object(vec![
            ("name".into(), Shape::String),
            ("ports".into(), Shape::Array(Box::new(port))),
            ("note".into(), Shape::Optional(Box::new(Shape::String))),
        ]);
        let good = json!({"name": "a", "ports": [{"host": 1, "protocol": "tcp"}]});
        assert_eq!(shape.check(&good), Ok(()));
        for (bad, path) in [
            (json!([]), ""),
            (json!({"ports": []}), "name"),
            (json!({"name": 1, "ports": []}), "name"),
            (json!({"name": "a", "ports": [], "more": 1}), "more"),
            (json!({"name": "a", "ports": [], "note": 1}), "note"),
            (json!({"name": "a", "ports": [{"host": 1.5, "protocol": "tcp"}]}), "ports[0].host"),
            (
                json!({"name": "a", "ports": [{"host": 18_446_744_073_709_551_615_u64, "protocol": "tcp"}]}),
                "ports[0].host",
            ),
            (json!({"name": "a", "ports": [{"host": 1, "protocol": "icmp"}]}), "ports[0].protocol"),
        ] {
            assert_eq!(shape.check(&bad), Err(path.to_owned()), "{bad}");
        }
    }
}
