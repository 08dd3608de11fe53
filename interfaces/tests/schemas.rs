//! The published JSON Schemas say what the code reads: neither more nor less where a schema can say it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use jsonschema::Validator;
use model::{
    ExtensionName, ImageName, TenantName, UnitName,
    config::{Config, Script},
    document::{Decode, Document, Faults, Node, Value},
    interface::{Hardware, InterfaceName},
    manifest::{Manifest, TenantId},
    names::TargetName,
    notification::Notifications,
    policy::{Pattern, PolicyFile, PolicyName},
    registry::Registry,
    schema::FILES,
    secrets::{Recipient, Sealed, SealedSecrets, SecretName},
    security::{Capability, SelinuxContext, Syscalls},
    signer::SignerName,
    time::TimeOfDay,
};
use proptest::{prelude::*, string::string_regex, test_runner::TestRunner};
use serde_json::{Value as Json, json};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    str::FromStr,
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn validator(name: &str) -> Validator {
    let kind = FILES.into_iter().find(|kind| kind.name == name).unwrap();
    jsonschema::options().should_validate_formats(true).build(&kind.schema()).unwrap()
}

#[test]
fn the_published_schemas_are_what_the_code_says() {
    for kind in FILES {
        let schema = kind.schema();
        assert!(jsonschema::meta::is_valid(&schema), "{} is no schema", kind.name);
        let path = root().join(format!("interfaces/schemas/{}.schema.json", kind.name));
        let said = format!("{:#}\n", sorted(&schema));
        if std::env::var_os("BITBUILDER_UPDATE").is_some() {
            fs::write(&path, &said).unwrap();
        }
        let published = fs::read_to_string(&path).unwrap_or_default();
        assert!(published == said, "{} is not what the code says; run: cargo xtask update", path.display());
    }
}

/// The same whichever order serde_json was built to keep.
fn sorted(value: &Json) -> Json {
    match value {
        Json::Object(fields) => {
            let fields: BTreeMap<_, _> = fields.iter().map(|(name, value)| (name.clone(), sorted(value))).collect();
            fields.into_iter().collect()
        }
        Json::Array(elements) => elements.iter().map(sorted).collect(),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => value.clone(),
    }
}

/// Any document, as a schema's validator wants it.
struct Raw(Json);

impl Decode for Raw {
    fn decode(node: &Node, faults: &mut Faults) -> Option<Self> {
        let raw = |node| Self::decode(node, &mut Faults::default()).map(|Self(value)| value);
        Some(Self(match &node.value {
            Value::Null => Json::Null,
            Value::Boolean(value) => json!(value),
            Value::Number(number) => match serde_json::from_str(number) {
                Ok(number) => number,
                Err(fault) => return faults.refuse(node.span.clone(), fault.to_string()),
            },
            Value::Text(text) => json!(text),
            Value::List(elements) => Json::Array(elements.iter().filter_map(raw).collect()),
            Value::Object(members) => {
                members.iter().filter_map(|member| Some((member.name.clone(), raw(&member.node)?))).collect()
            }
        }))
    }

    fn schema() -> Json {
        json!({})
    }
}

fn raw(path: &str, text: &str) -> Json {
    let read = if path.ends_with(".yaml") { Document::<Raw>::yaml } else { Document::<Raw>::json };
    read(path, text.as_bytes()).unwrap().content.0
}

#[test]
fn the_examples_are_valid() {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for path in files(&root().join("packaging/examples")) {
        let parts = [
            "metadata.json",
            ".gitops/config.yaml",
            "secrets/sealed-secrets.yaml",
            "notifications.json",
            "tenants/registry.json",
        ];
        let name = match parts.iter().find(|part| path.ends_with(part)) {
            Some(&"metadata.json") => "metadata",
            Some(&".gitops/config.yaml") => "config",
            Some(&"secrets/sealed-secrets.yaml") => "secrets",
            Some(&"notifications.json") => "notifications",
            Some(_) => "registry",
            None if path.parent().is_some_and(|parent| parent.ends_with("policies")) => "policy",
            None => continue,
        };
        let content = raw(path.to_str().unwrap(), &fs::read_to_string(&path).unwrap());
        let faults: Vec<String> = validator(name).iter_errors(&content).map(|fault| fault.to_string()).collect();
        assert!(faults.is_empty(), "{}: {faults:?}", path.display());
        *seen.entry(name).or_default() += 1;
    }
    assert_eq!(seen.len(), FILES.len(), "not every kind of file has an example: {seen:?}");
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// What a tenant's file says, with one thing else.
fn metadata(more: &str) -> String {
    format!(r#"{{"version": "1.0", "tenant": {{"name": "web", "type": "container"}}, "image": "debian"{more}}}"#)
}

#[test]
fn what_the_code_refuses_by_its_form_the_schema_refuses_too() {
    let wrong = [
        ("metadata", metadata("").replace("1.0", "2.0")),
        ("metadata", metadata("").replace("\"web\"", "\"Web\"")),
        ("metadata", metadata("").replace("\"web\"", "\"host\"")),
        ("metadata", metadata("").replace("container", "pod")),
        ("metadata", metadata("").replace(r#", "image": "debian""#, "")),
        ("metadata", metadata(r#", "imgae": "debian""#)),
        ("metadata", metadata(r#", "resources": {"cpu": {"cores": 0}}"#)),
        ("metadata", metadata(r#", "resources": {"memory": {"limit": 4}}"#)),
        ("metadata", metadata(r#", "network": {"forward": [{"host": 70000, "tenant": 80}]}"#)),
        ("metadata", metadata(r#", "network": {"interfaces": [{"name": "lo"}]}"#)),
        ("metadata", metadata(r#", "network": {"interfaces": [{"name": "a", "gateway": "1.2.3"}]}"#)),
        ("metadata", metadata(r#", "services": {"systemd": ["web.socket"]}"#)),
        ("metadata", metadata(r#", "security": {"capabilities": ["CAP_EVERYTHING"]}"#)),
        ("metadata", metadata(r#", "security": null"#)),
        ("registry", r#"{"version": "1.0"}"#.to_owned()),
        ("registry", r#"{"version": "1.0", "tenants": [{"name": "web"}]}"#.to_owned()),
        ("policy", r#"{"version": "1.0", "limits": {"images": ["../x"]}}"#.to_owned()),
        ("policy", r#"{"version": "1.0", "limits": {"network": {"modes": ["wifi"]}}}"#.to_owned()),
        ("secrets", "version: \"1.0\"\nsecrets: [{name: token, sealed: hunter2}]\n".to_owned()),
        ("secrets", "version: \"1.0\"\nsecrets: [{name: token}]\n".to_owned()),
        ("notifications", r#"{"version": "1.0", "targets": [{"name": "forge", "kind": "bitbucket"}]}"#.to_owned()),
        ("notifications", r#"{"version": "1.0", "targets": [{"name": "Forge", "kind": "github"}]}"#.to_owned()),
        ("config", "version: \"1.0\"\nhooks: {pre-start: /bin/sh}\n".to_owned()),
        ("config", "version: \"1.0\"\nmaintenance: {windows: [{from: \"24:00\", to: \"01:00\"}]}\n".to_owned()),
    ];
    for (name, text) in wrong {
        let refused = match name {
            "metadata" => Document::<Manifest>::json("", text.as_bytes()).is_err(),
            "registry" => Document::<Registry>::json("", text.as_bytes()).is_err(),
            "policy" => Document::<PolicyFile>::json("", text.as_bytes()).is_err(),
            "secrets" => Document::<SealedSecrets>::yaml_unshown("", text.as_bytes()).is_err(),
            "notifications" => Document::<Notifications>::json("", text.as_bytes()).is_err(),
            _ => Document::<Config>::yaml("", text.as_bytes()).is_err(),
        };
        assert!(refused, "the code reads {text}");
        let path = if ["config", "secrets"].contains(&name) { ".yaml" } else { ".json" };
        assert!(!validator(name).is_valid(&raw(path, &text)), "the schema of {name} takes {text}");
    }
    assert!(validator("metadata").is_valid(&raw("", &metadata(r#", "$schema": "x""#))));
}

/// Texts that `pattern` means, such texts with one character changed, and any.
fn near(pattern: &str) -> impl Strategy<Value = String> + use<> {
    let inner = pattern.trim_start_matches('^').trim_end_matches('$').to_owned();
    let meant = || string_regex(&inner).unwrap();
    let character = prop_oneof![any::<char>(), proptest::sample::select("aA0@:.-_/*$%\n ".chars().collect::<Vec<_>>())];
    let changed = (meant(), any::<proptest::sample::Index>(), character, any::<bool>()).prop_map(
        |(text, index, character, replace)| {
            let mut characters: Vec<char> = text.chars().collect();
            let at = index.index(characters.len() + 1);
            if replace && at < characters.len() {
                characters[at] = character;
            } else {
                characters.insert(at, character);
            }
            characters.into_iter().collect()
        },
    );
    prop_oneof![meant(), changed, "\\PC{0,20}", "[ -~]{0,80}"]
}

fn agree<T: Decode + FromStr>(pattern: &str, known: &[&str]) {
    let schema = T::schema();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let same = |text: &str| validator.is_valid(&json!(text)) == text.parse::<T>().is_ok();
    for text in known {
        assert!(same(text), "{text:?}: {schema:#}");
    }
    TestRunner::new(ProptestConfig::with_cases(2000))
        .run(&near(pattern), |text| {
            prop_assert!(same(&text), "{:?}: {:#}", text, schema);
            Ok(())
        })
        .unwrap();
}

/// The pattern that a type's own schema has.
fn own<T: Decode + FromStr>(known: &[&str]) {
    let schema = T::schema();
    agree::<T>(schema["pattern"].as_str().unwrap(), known);
}

#[test]
fn a_schema_means_the_texts_that_the_parser_takes() {
    own::<TenantName>(&["", "a", "system", "host", "localhost", "a-", "abcdefghijklmnopqrstuvwx", "a\n"]);
    own::<ImageName>(&["", ".a", "a.", "a b"]);
    own::<ExtensionName>(&["", ".a", "a."]);
    let long = format!("{}.service", "a".repeat(120));
    own::<UnitName>(&["", ".service", "a@.service", "a@b.service", "a@b@c.service", &long, &format!("a{long}")]);
    own::<PolicyName>(&["", "a", "-a", "a-"]);
    own::<Pattern>(&["", "*", "**", "a*", "a*b"]);
    own::<Script>(&["scripts/", "scripts/a", "scripts/../a", "a"]);
    own::<TimeOfDay>(&["00:00", "23:59", "24:00", "9:00", "12:60"]);
    own::<TenantId>(&["", "a b", "é"]);
    own::<InterfaceName>(&["", ".", "..", "all", "default", "lo", "42", "42a", "eth0", "abcdefghijklmnop"]);
    own::<Hardware>(&["auto", "02:00:00:00:00:01", "00:00:00:00:00:01", "03:00:00:00:00:01", "AE:bb:00:00:00:01"]);
    own::<SelinuxContext>(&["", "a:b:c"]);
    own::<SecretName>(&["", ".a", "a", "-a", "a:b", "a/b"]);
    own::<Sealed>(&["", "-----BEGIN AGE ENCRYPTED FILE-----\n-----END AGE ENCRYPTED FILE-----"]);
    own::<Recipient>(&["", "age1", "AGE-SECRET-KEY-1"]);
    own::<TargetName>(&["", "a", "-a", "a-", "a.b", "A"]);
    own::<SignerName>(&["", "revoked"]);
    agree::<Capability>("CAP_[A-Z_]{3,12}", &["CAP_NET_ADMIN", "cap_net_admin", "CAP_BPF", ""]);
    agree::<Syscalls>("@?[a-z_][a-z0-9_-]{0,41}", &["@clock", "@basic-io", "@nothing", "openat2", "_x", "9"]);
}
