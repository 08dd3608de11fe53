//! What docs/ says of the files that people write is made from the code that reads them, and its links lead somewhere.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use model::{
    admission::NOT_IN_EFFECT,
    document::SCHEMA,
    schema::{FILES, FileKind},
};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn pages() -> Vec<PathBuf> {
    let docs = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    docs.chain([root().join("README.md")]).collect()
}

#[test]
fn pages_say_what_the_code_says() {
    let mut made = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let said = with_made_parts(&text, &mut made);
        if std::env::var_os("BITBUILDER_UPDATE").is_some() && said != text {
            fs::write(&page, &said).unwrap();
        } else {
            assert!(said == text, "{} is not what the code says; run: cargo xtask update", page.display());
        }
    }
    assert!(made >= 8, "only {made} parts are made from the code");
}

/// The page with each part between `<!-- fields NAME -->` or `<!-- file PATH -->` and `<!-- end -->` made anew.
fn with_made_parts(text: &str, made: &mut usize) -> String {
    let mut said = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("<!-- ") {
        let (marker, inside) = after.split_once(" -->\n").unwrap();
        said.push_str(&format!("{before}<!-- {marker} -->\n"));
        rest = inside;
        let part = match marker.split_once(' ') {
            Some(("fields", name)) => fields(FILES.iter().find(|kind| kind.name == name).unwrap()),
            Some(("file", path)) => example(path),
            _ => continue,
        };
        said.push_str(&part);
        rest = &inside[inside.find("<!-- end -->").unwrap()..];
        *made += 1;
    }
    said + rest
}

fn example(path: &str) -> String {
    let text = fs::read_to_string(root().join(path)).unwrap();
    let language = path.rsplit_once('.').map_or("", |(_, extension)| extension);
    format!("```{language}\n{text}```\n")
}

fn fields(kind: &FileKind) -> String {
    let without_effect =
        NOT_IN_EFFECT.iter().filter(|(path, _)| *path == kind.path).flat_map(|(_, fields)| fields.iter());
    let mut table = Table { without_effect: without_effect.copied().collect(), rows: String::new() };
    table.object(&kind.schema(), "");
    format!("| field | value | meaning |\n|---|---|---|\n{}", table.rows)
}

struct Table {
    without_effect: Vec<&'static str>,
    rows: String,
}

impl Table {
    fn object(&mut self, schema: &Value, path: &str) {
        let required: Vec<&str> = schema["required"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        for (name, field) in schema["properties"].as_object().unwrap().iter().filter(|(name, _)| *name != SCHEMA) {
            let inner = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            let is_object = |schema: &Value| schema["type"] == "object";
            match inner.as_str() {
                // The same as in a policy file, which has a page of its own.
                "tenants[].limits" => self.row(&inner, field, "as in a [policy](policy.md)", false),
                _ if is_object(field) => self.object(field, &inner),
                _ if is_object(&field["items"]) => self.object(&field["items"], &format!("{inner}[]")),
                _ => self.row(&inner, field, &says(field), required.contains(&name.as_str())),
            }
        }
    }

    fn row(&mut self, path: &str, schema: &Value, says: &str, required: bool) {
        let below =
            |field: &str| path.strip_prefix(field).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
        let effect =
            if self.without_effect.iter().any(|field| below(field)) { " *No effect in this version.*" } else { "" };
        let required = if required { ", required" } else { "" };
        let meaning = schema["description"].as_str().unwrap().replace('|', "\\|").replace('*', "\\*");
        self.rows.push_str(&format!("| `{path}` | {says}{required} | {meaning}{effect} |\n"));
    }
}

/// What can stand there.
fn says(schema: &Value) -> String {
    if let Some(only) = schema.get("const") {
        return format!("`{only}`");
    }
    if let Some(words) = schema["oneOf"].as_array() {
        let words = words.iter().map(|word| {
            let meaning = word["description"].as_str().unwrap().trim_end_matches('.');
            format!("`{}` ({meaning})", word["const"].as_str().unwrap())
        });
        return words.collect::<Vec<_>>().join(", ");
    }
    match schema["type"].as_str() {
        Some("boolean") => "`true` or `false`".to_owned(),
        Some("integer") => format!("{} to {}", schema["minimum"], schema["maximum"]),
        Some("array") if schema["items"]["type"] == "string" => {
            format!("a list, each {}", schema["items"]["description"].as_str().unwrap())
        }
        Some("array") => format!("a list of {}", says(&schema["items"])),
        Some(_) => "text".to_owned(),
        None if schema["anyOf"][1]["type"] == "array" => format!("{}, or a list", says(&schema["anyOf"][0])),
        None => "text".to_owned(),
    }
}

#[test]
fn links_lead_somewhere() {
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link) {
            if link.contains("://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            assert!(target.exists(), "{} links to {link}", page.display());
            if !anchor.is_empty() {
                let headings = fs::read_to_string(&target).unwrap();
                let found = headings.lines().filter(|line| line.starts_with('#')).any(|line| slug(line) == anchor);
                assert!(found, "{} links to {link}, and there is no such heading", page.display());
            }
        }
    }
}

/// A heading's anchor, as GitHub and GitLab make it.
fn slug(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).collect::<String>().replace(' ', "-")
}

#[test]
fn each_page_is_in_the_index() {
    let index = fs::read_to_string(root().join("docs/README.md")).unwrap();
    for page in pages() {
        let name = page.file_name().unwrap().to_str().unwrap();
        assert!(name == "README.md" || index.contains(&format!("({name})")), "docs/README.md does not list {name}");
    }
}
