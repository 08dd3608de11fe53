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
    let span = token_before(text, end);
    let found = text.get(span.start..).unwrap_or_default();
    let message = explained(message.strip_suffix(&place).unwrap_or(&message), text, found);
    Fault { span, message: message.to_owned() }
}

/// serde_json's words, for a person who has never read the grammar.
fn explained<'a>(message: &'a str, text: &str, found: &str) -> &'a str {
    match message {
        _ if text.starts_with('\u{feff}') => "the file begins with a byte order mark; save it as UTF-8 without one",
        _ if ["<<<<<<<", "=======", ">>>>>>>"].iter().any(|mark| found.starts_with(mark)) => {
            "a merge conflict is not resolved here"
        }
        _ if ["//", "/*", "#"].iter().any(|mark| found.starts_with(mark)) => "JSON has no comments",
        "EOF while parsing a value" if text.trim().is_empty() => "the file is empty",
        "EOF while parsing a value" => "the file ends where a value is wanted",
        "EOF while parsing an object" => "the file ends within an object; a } is missing",
        "EOF while parsing a list" => "the file ends within a list; a ] is missing",
        "EOF while parsing a string" => "the file ends within a string; a \" is missing",
        "key must be a string" => "a field's name in double quotes is wanted here",
        "expected value" | "expected ident" => {
            "a value is wanted here: text in double quotes, a number, true, false, null, a list or an object"
        }
        "expected `:`" => "a : is wanted here",
        "expected `,` or `}`" => "a , or } is wanted before this",
        "expected `,` or `]`" => "a , or ] is wanted before this",
        "trailing comma" => "no comma may stand before this",
        "trailing characters" => "the file goes on behind its end",
        "invalid escape" => r#"JSON has the escapes \" \\ \/ \b \f \n \r \t and \uXXXX"#,
        "lone leading surrogate in hex escape" | "unexpected end of hex escape" => {
            r"this escape is half a character; it needs a second \uXXXX"
        }
        "invalid number" => "a number has no leading zero, and digits on both sides of its point",
        "recursion limit exceeded" => "this is nested too deeply; at most 127 levels are read",
        message if message.starts_with("control character") => {
            "a string holds no line end and no other control character; is a \" missing?"
        }
        message => message,
    }
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
