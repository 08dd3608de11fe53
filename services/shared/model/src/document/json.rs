//! JSON (RFC 8259) with the places of its values. serde_json judges the text; jsonc-parser knows where things stand.

use super::{
    Fault,
    node::{Member, Node, Value},
};
use jsonc_parser::{CollectOptions, ParseOptions, ast, common::Ranged};
use std::ops::Range;

/// RFC 8259 and nothing more.
const STRICT: ParseOptions = ParseOptions {
    allow_comments: false,
    allow_loose_object_property_names: false,
    allow_trailing_commas: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

pub(super) fn parse(text: &str) -> Result<Node, Fault> {
    serde_json::from_str::<serde_json::Value>(text).map_err(|fault| syntax(text, &fault))?;
    let parsed = jsonc_parser::parse_to_ast(text, &CollectOptions::default(), &STRICT);
    let located = parsed.map_err(|fault| Fault { span: 0..0, message: fault.to_string() })?;
    located.value.map(node).ok_or_else(|| Fault { span: 0..0, message: "there is no value".to_owned() })
}

fn node(value: ast::Value<'_>) -> Node {
    let range = value.range();
    let value = match value {
        ast::Value::NullKeyword(_) => Value::Null,
        ast::Value::BooleanLit(literal) => Value::Boolean(literal.value),
        ast::Value::NumberLit(literal) => Value::Number(literal.value.to_owned()),
        ast::Value::StringLit(literal) => Value::Text(literal.value.into_owned()),
        ast::Value::Array(array) => Value::List(array.elements.into_iter().map(node).collect()),
        ast::Value::Object(object) => Value::Object(object.properties.into_iter().map(member).collect()),
    };
    Node { span: range.start..range.end, value }
}

fn member(property: ast::ObjectProp<'_>) -> Member {
    let name = property.name.range();
    Member { name: property.name.into_string(), name_span: name.start..name.end, node: node(property.value) }
}

fn syntax(text: &str, fault: &serde_json::Error) -> Fault {
    let message = fault.to_string();
    let place = format!(" at line {} column {}", fault.line(), fault.column());
    let end = offset(text, fault.line(), fault.column());
    Fault { span: token_before(text, end), message: message.strip_suffix(&place).unwrap_or(&message).to_owned() }
}

/// The byte offset of serde_json's line and column, both from 1; its column counts bytes.
fn offset(text: &str, line: usize, column: usize) -> usize {
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    (start + column).min(text.len())
}

/// serde_json reports where it stood *after* the offending token; a person wants to see the token.
fn token_before(text: &str, end: usize) -> Range<usize> {
    let bytes = text.as_bytes();
    if end == 0 || end > bytes.len() {
        return end..end;
    }
    let word = |b: &u8| b.is_ascii_alphanumeric() || b"+-.".contains(b);
    let length = bytes[..end].iter().rev().take_while(|b| word(b)).count();
    end - length.max(1)..end
}
