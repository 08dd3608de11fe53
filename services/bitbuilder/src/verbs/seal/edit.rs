//! secrets/sealed-secrets.yaml with an entry more or another value: line by line, so that what else a person wrote stays as it
//! is, and read again before it is believed.

use model::{
    document::Document,
    path,
    secrets::{self, SealedSecret, SealedSecrets},
};

const END: &str = "-----END AGE ENCRYPTED FILE-----";
/// What a file begins with that nobody wrote yet.
const NEW: &str = "# yaml-language-server: $schema=file:///usr/share/bitbuilder/schemas/secrets.schema.json\nversion: \"1.0\"\nsecrets:\n";

/// What a file holds, or what is wrong with it.
pub(super) fn parse(text: &str) -> Result<Vec<SealedSecret>, String> {
    document(text).map(|document| document.content.secrets)
}

fn document(text: &str) -> Result<Document<SealedSecrets>, String> {
    let document = Document::<SealedSecrets>::yaml_unshown("", text.as_bytes());
    let faults = match document {
        Ok(document) => match secrets::check(&document) {
            faults if faults.is_empty() => return Ok(document),
            faults => faults,
        },
        Err(faults) => faults,
    };
    Err(faults.iter().map(|fault| format!("line {}: {}", fault.line, fault.message)).collect::<Vec<_>>().join("; "))
}

/// One entry of the list, whose dash stands behind `indent`.
pub(super) fn entry(indent: &str, secret: &SealedSecret) -> String {
    format!("{indent}- name: {}\n{}", name(secret), sealed(&format!("{indent}  "), secret))
}

/// In quotes if YAML would read it as something else than a string.
fn name(secret: &SealedSecret) -> String {
    let name = secret.name.as_str();
    let plain = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && !["null", "true", "false"].contains(&name.to_ascii_lowercase().as_str());
    if plain { name.to_owned() } else { format!("\"{name}\"") }
}

fn sealed(indent: &str, secret: &SealedSecret) -> String {
    let lines: String = secret.sealed.as_str().lines().map(|line| format!("{indent}  {line}\n")).collect();
    format!("{indent}sealed: |\n{lines}")
}

/// The text with these values, each in its entry or in a new one. Nothing if the file is written in a way in which that
/// cannot be done line by line.
pub(super) fn with(text: &str, held: &[SealedSecret], entries: &[SealedSecret]) -> Option<String> {
    let mut expected = held.to_vec();
    let mut text = if text.is_empty() { NEW.to_owned() } else { text.to_owned() };
    for new in entries {
        let known = expected.iter_mut().find(|held| held.name == new.name);
        text = match known {
            Some(known) => {
                *known = new.clone();
                replaced(&text, new)?
            }
            None => {
                expected.push(new.clone());
                added(&text, new)?
            }
        };
    }
    parse(&text).is_ok_and(|found| found == expected).then_some(text)
}

/// The lines of the text, each with its end.
fn lines(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

fn indent(line: &str) -> &str {
    &line[..line.len() - line.trim_start().len()]
}

/// Where an entry's armor ends: behind the line that says so.
fn end(lines: &[&str], from: usize) -> Option<usize> {
    lines.iter().skip(from).position(|line| line.trim() == END).map(|at| from + at + 1)
}

fn replaced(text: &str, new: &SealedSecret) -> Option<String> {
    let document = document(text).ok()?;
    let index = document.content.secrets.iter().position(|held| held.name == new.name)?;
    let lines = lines(text);
    // An entry begins with either of its fields.
    let from = document.line(path!["secrets", index]).checked_sub(1)?;
    let to = end(&lines, from)?;
    let at = (from..to).find(|at| lines[*at].trim_start().trim_start_matches("- ").starts_with("sealed:"))?;
    let (dash, field) = match lines[at].trim_start().strip_prefix("- ") {
        Some(_) => (format!("{}- ", indent(lines[at])), format!("{}  ", indent(lines[at]))),
        None => (indent(lines[at]).to_owned(), indent(lines[at]).to_owned()),
    };
    let value = sealed(&field, new);
    Some(format!("{}{dash}{}{}", lines[..at].concat(), value.trim_start(), lines[to..].concat()))
}

fn added(text: &str, new: &SealedSecret) -> Option<String> {
    let lines = lines(text);
    let Ok(document) = document(text) else {
        // A list without an entry is none to YAML.
        let ended = if text.ends_with('\n') { "" } else { "\n" };
        return Some(format!("{text}{ended}{}", entry("  ", new)));
    };
    let Some(last) = document.content.secrets.len().checked_sub(1) else {
        let at = lines.iter().position(|line| line.trim_end().trim_start() == "secrets: []")?;
        return Some(format!("{}secrets:\n{}{}", lines[..at].concat(), entry("  ", new), lines[at + 1..].concat()));
    };
    let from = document.line(path!["secrets", last]).checked_sub(1)?;
    let to = end(&lines, from)?;
    // Its name may stand behind its value.
    let is_rest = |line: &&&str| !line.trim().is_empty() && indent(line).len() > indent(lines[from]).len();
    let to = to + lines[to..].iter().take_while(is_rest).count();
    let ended = if lines[to - 1].ends_with('\n') { "" } else { "\n" };
    let new = entry(indent(lines[from]), new);
    Some(format!("{}{ended}{new}{}", lines[..to].concat(), lines[to..].concat()))
}
