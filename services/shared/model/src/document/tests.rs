//! A sample document in JSON and YAML, right and wrong.

#![allow(unreachable_pub, reason = "what is declared in a document is public, and this one is a test's")]

use super::{
    declare::{choice, record},
    *,
};
use crate::{TenantName, network::Port};
use proptest::prelude::*;

record! {
    /// A sample.
    Sample {
        /// Whose.
        name: TenantName,
        /// Where.
        ports: Vec<Port>,
        /// What colour.
        colour: Option<Colour>,
        /// Whether it counts.
        counts as "doesCount": bool = true,
    }
}

choice! {
    /// A colour.
    Colour, "a colour" {
        /// Like fire.
        Red = "red",
        /// Like the sky.
        Blue = "blue",
    }
}

fn faults(read: Result<Document<Sample>, Vec<Diagnostic>>) -> String {
    read.unwrap_err().iter().map(|fault| fault.text.as_str()).collect::<Vec<_>>().join("\n\n")
}

fn json(text: &str) -> Result<Document<Sample>, Vec<Diagnostic>> {
    Document::json("web:metadata.json", text.as_bytes())
}

fn yaml(text: &str) -> Result<Document<Sample>, Vec<Diagnostic>> {
    Document::yaml("web:.gitops/config.yaml", text.as_bytes())
}

#[test]
fn every_fault_is_shown_at_its_place() {
    let text = r#"{
  "name": "a/b",
  "port": [80],
  "colour": "green",
  "doesCount": "yes",
  "doesCount": true
}"#;
    insta::assert_snapshot!(faults(json(text)), @r#"
    error: the field ports is missing
     --> web:metadata.json:1:1
      |
    1 | {
      | ^

    error: "a/b" is not a tenant name: 1 to 24 of a-z, 0-9 and '-', beginning with a letter, not ending in '-', and not system, host or localhost
     --> web:metadata.json:2:11
      |
    2 |   "name": "a/b",
      |           ^^^^^

    error: there is no field "port"; did you mean ports?
     --> web:metadata.json:3:3
      |
    3 |   "port": [80],
      |   ^^^^^^

    error: "green" is not a colour: red, blue
     --> web:metadata.json:4:13
      |
    4 |   "colour": "green",
      |             ^^^^^^^

    error: a string stands where true or false is wanted; write true
     --> web:metadata.json:5:16
      |
    5 |   "doesCount": "yes",
      |                ^^^^^

    error: the field doesCount is there twice
     --> web:metadata.json:6:3
      |
    6 |   "doesCount": true
      |   ^^^^^^^^^^^
    "#);
}

#[test]
fn a_fault_of_the_syntax_is_the_only_one() {
    insta::assert_snapshot!(faults(json(r#"{"name": "a",}"#)), @r#"
    error: no comma may stand before this
     --> web:metadata.json:1:14
      |
    1 | {"name": "a",}
      |              ^
    "#);
    insta::assert_snapshot!(faults(yaml("name: [a\n")), @r"
    error: unclosed bracket '['
     --> web:.gitops/config.yaml:1:7
      |
    1 | name: [a
      |       ^
    ");
}

#[test]
fn yaml_says_the_same_as_json() {
    let read = yaml("# whose\nname: web\nports:\n  - 80\n  - 443\ncolour: blue\n").unwrap();
    assert_eq!(read.content, json(r#"{"name": "web", "ports": [80, 443], "colour": "blue"}"#).unwrap().content);
    assert_eq!(read.line(&["ports".into(), 1.into()]), 5);
    assert_eq!(read.line(&["ports".into(), 7.into()]), 4, "what is not there is looked for near where it would be");
}

#[test]
fn what_yaml_could_hide_is_not_read() {
    for (text, because) in [
        ("name: &a web\nports: []\n", "anchors"),
        ("name: web\nports: &a []\n", "anchors"),
        ("a: &x 1\nname: *x\nports: []\n", "anchors"),
        ("name: !!str web\nports: []\n", "tags"),
        ("name: web\nports: []\n---\nname: web\n", "second document"),
        ("", "empty"),
        ("? [a]\n: b\n", "string"),
    ] {
        assert!(faults(yaml(text)).contains(because), "{text:?}: {}", faults(yaml(text)));
    }
    let deep = format!("name: {}{}", "[".repeat(40), "]".repeat(40));
    assert!(faults(yaml(&deep)).contains("nested too deeply"));
}

#[test]
fn what_nobody_would_write_is_not_read() {
    let large = format!("{{\"name\": \"{}\"}}", "a".repeat(LARGEST_DOCUMENT));
    assert!(faults(json(&large)).contains("at most 1048576 are read"));
    let long = format!("{{\"name\": \"web\", \"ports\": [{}80]}}", "80,".repeat(8192));
    assert!(faults(json(&long)).contains("this list has 8193 elements; at most 8192 are read"));
    let unknown = format!("{{\"name\": \"web\", \"ports\": [], \"{}\": 1}}", "a".repeat(1 << 19));
    assert!(faults(json(&unknown)).len() < 1000, "a message as long as the file");
    let many = format!("{{\"name\": \"web\", \"ports\": [{}80]}}", "0,".repeat(8000));
    assert_eq!(json(&many).unwrap_err().len(), MOST_SHOWN + 1);
}

#[test]
fn a_schema_says_what_is_accepted() {
    insta::assert_snapshot!(serde_json::to_string_pretty(&Sample::schema()).unwrap());
}

proptest! {
    #[test]
    fn no_bytes_make_it_fail(bytes: Vec<u8>) {
        let _either_way = Document::<Sample>::json("r:p", &bytes).is_ok();
        let _either_way = Document::<Sample>::yaml("r:p", &bytes).is_ok();
    }

    #[test]
    fn no_near_json_makes_it_fail(text in "[\\[\\]{}\":,a-z0-9\\\\ é\n&*!|>-]{0,60}") {
        let _either_way = json(&text).is_ok();
        let _either_way = yaml(&text).is_ok();
    }

    #[test]
    fn what_serde_json_reads_is_read(text in "[\\[\\]{}\":,a-z0-9\\\\ é\n.eE+-]{0,20}") {
        prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), super::json::parse(&text).is_ok());
    }
}

#[test]
fn an_editors_schema_is_none_of_the_hosts_business() {
    let with = |schema: &str| json(&format!(r#"{{{schema} "name": "web", "ports": [80]}}"#));
    assert!(with(r#""$schema": "https://example.org/x","#).is_ok());
    assert!(yaml("$schema: x\nname: web\nports: [80]\n").is_ok());
    assert!(faults(with(r#""$schema": 1,"#)).contains("a number stands where a string is wanted"));
    assert!(faults(with(r#""$schema": "a", "$schema": "b","#)).contains("the field $schema is there twice"));
    assert!(faults(json(r#"{"name": "web", "ports": [{"$schema": "a"}]}"#)).contains("an object stands where"));
}
