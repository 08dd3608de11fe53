//! The part of YAML 1.2 that a configuration needs, with the places of its values: one document, no anchors, no tags.

use super::{
    Fault,
    node::{Member, Node, Value},
};
use granit_parser::{Event, Options, Parser, ScalarStyle, Span, options};
use std::ops::Range;

/// No configuration that a person wrote nests deeper.
const DEEPEST: usize = 32;
const ALIASES: &str = "aliases are not read; write the value again";

#[allow(clippy::wildcard_enum_match_arm, reason = "every other event begins a value, or is refused where one is read")]
pub(super) fn parse(text: &str) -> Result<Node, Fault> {
    let options: Options = options! { emit_comments: false, emit_anchor_events: false };
    let mut events = Events { parser: Parser::new_from_str_with_options(text, options), length: text.len() };
    let mut root = None;
    loop {
        let (event, span) = events.next()?;
        match event {
            Event::StreamEnd => break,
            Event::DocumentStart(..) if root.is_some() => {
                return Err(Fault { span, message: "a second document begins; one is read".to_owned() });
            }
            Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
            event => root = Some(events.node(event, span, 0)?),
        }
    }
    root.filter(|root| root.value != Value::Null)
        .ok_or_else(|| Fault { span: 0..0, message: "the file is empty".to_owned() })
}

struct Events<'a> {
    parser: Parser<'a, granit_parser::StrInput<'a>>,
    length: usize,
}

impl<'a> Events<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Range<usize>), Fault> {
        match self.parser.next() {
            Some(Ok((event, span))) => Ok((event, self.range(&span))),
            Some(Err(fault)) => {
                let at = fault.marker().byte_offset().unwrap_or(self.length).min(self.length);
                let message = match fault.info() {
                    info if info.contains("unknown anchor") => ALIASES.to_owned(),
                    info => info,
                };
                Err(Fault { span: at..(at + 1).min(self.length), message })
            }
            None => Ok((Event::StreamEnd, self.length..self.length)),
        }
    }

    fn range(&self, span: &Span) -> Range<usize> {
        span.byte_range().unwrap_or(self.length..self.length)
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "what is not named here is no value, now and in later versions")]
    fn node(&mut self, event: Event<'a>, span: Range<usize>, depth: usize) -> Result<Node, Fault> {
        let refuse = |message: &str| Err(Fault { span: span.clone(), message: message.to_owned() });
        if depth > DEEPEST {
            return refuse("this is nested too deeply; at most 32 levels are read");
        }
        if event.tag().is_some() {
            return refuse("tags are not read; write the value alone");
        }
        match event {
            Event::Scalar(_, _, anchor, _) | Event::SequenceStart(_, anchor, _) | Event::MappingStart(_, anchor, _)
                if anchor != 0 =>
            {
                refuse("anchors are not read; write the value where it is needed")
            }
            Event::Scalar(text, style, _, _) => Ok(Node { value: scalar(&text, style), span }),
            Event::SequenceStart(..) => {
                let mut elements = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, end) => {
                            return Ok(Node { span: span.start..end.end, value: Value::List(elements) });
                        }
                        (event, span) => elements.push(self.node(event, span, depth + 1)?),
                    }
                }
            }
            Event::MappingStart(..) => {
                let mut members = Vec::new();
                loop {
                    match self.next()? {
                        (Event::MappingEnd, end) => {
                            return Ok(Node { span: span.start..end.end, value: Value::Object(members) });
                        }
                        (event, span) => {
                            let name = self.node(event, span, depth + 1)?;
                            let (event, span) = self.next()?;
                            members.push(member(name, self.node(event, span, depth + 1)?)?);
                        }
                    }
                }
            }
            Event::Alias(_) | Event::UnresolvedAlias(_) => refuse(ALIASES),
            _ => refuse("a value was expected"),
        }
    }
}

fn member(name: Node, node: Node) -> Result<Member, Fault> {
    match name.value {
        Value::Text(text) if text == "<<" => {
            Err(Fault { span: name.span, message: "merge keys are not read; write the fields here".to_owned() })
        }
        Value::Text(text) => Ok(Member { name: text, name_span: name.span, node }),
        Value::Null | Value::Boolean(_) | Value::Number(_) | Value::List(_) | Value::Object(_) => {
            Err(Fault { span: name.caret(), message: "a field's name is a string".to_owned() })
        }
    }
}

/// The core schema (YAML 1.2.2, 10.3.2), which JSON's values follow.
fn scalar(text: &str, style: ScalarStyle) -> Value {
    if style != ScalarStyle::Plain {
        return Value::Text(text.to_owned());
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Boolean(true),
        "false" | "False" | "FALSE" => Value::Boolean(false),
        number if is_number(number) => Value::Number(number.to_owned()),
        text => Value::Text(text.to_owned()),
    }
}

fn is_number(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) && text.parse::<f64>().is_ok()
}
