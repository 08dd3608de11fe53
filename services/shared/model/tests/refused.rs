//! Files that people and attackers write wrong, each with what they are told beside it: `refused/KIND/NAME.json` or `.yaml`,
//! and `NAME.txt`. `cargo xtask update` writes the texts anew, for a review of the diff.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use model::{
    DesiredTenant, Diagnostic, TenantName,
    admission::{self, Host, Machine},
    claim::Claim,
    registry::Registration,
    tree::{Request, System, Tree},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

const REVISION: &str = "0123456789abcdef0123456789abcdef01234567";
type Read = fn(&Files) -> Result<(), Vec<Diagnostic>>;
/// Each kind of fixtures, which file of its repository one is, and who reads it.
const KINDS: [(&str, &str, Read); 9] = [
    ("metadata", "metadata.json", request),
    ("config", ".gitops/config.yaml", request),
    ("system-config", ".gitops/config.yaml", system),
    ("registry", "tenants/registry.json", system),
    ("policy", "policies/web.json", system),
    ("notifications", "notifications.json", system),
    ("signers", "signers/me.pub", signers),
    ("admission", "metadata.json", admitted),
    ("secrets", "secrets/sealed-secrets.yaml", request),
];
/// For each kind at least so many; a folder that Git forgot must not pass for a small one.
const LEAST: usize = 8;

const METADATA: &str = r#"{ "version": "1.0", "tenant": { "name": "web", "type": "container" }, "image": "debian" }"#;
const REGISTRY: &str =
    r#"{ "version": "1.0", "tenants": [{ "name": "web", "repository": "git://h/web", "policy": "web" }] }"#;
/// What the tenants of `admission/` may ask for.
const LIMITED: &str = include_str!("refused/admission.json");

struct Files(BTreeMap<String, Vec<u8>>);

impl Tree for Files {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
        Ok(self.0.get(path).cloned())
    }

    fn has(&self, path: &str) -> bool {
        self.0.contains_key(path)
    }
}

/// A repository in which everything is right but for `content` at `path`.
fn repository(path: &str, content: Vec<u8>) -> Files {
    let right = [
        ("metadata.json", METADATA),
        ("tenants/registry.json", REGISTRY),
        ("policies/web.json", r#"{ "version": "1.0", "limits": {} }"#),
        ("units/web.service", ""),
        ("units/worker@.service", ""),
        ("scripts/check", ""),
    ];
    let mut files: BTreeMap<String, Vec<u8>> =
        right.into_iter().map(|(path, text)| (path.to_owned(), text.into())).collect();
    files.insert(path.to_owned(), content);
    Files(files)
}

fn request(files: &Files) -> Result<(), Vec<Diagnostic>> {
    Request::read("web", files).map(drop)
}

fn system(files: &Files) -> Result<(), Vec<Diagnostic>> {
    System::read("system", files).map(drop)
}

/// A system repository whose tenant's commits `me` has to sign.
fn signers(files: &Files) -> Result<(), Vec<Diagnostic>> {
    let policy = br#"{ "version": "1.0", "limits": { "signers": ["me"] } }"#;
    let mut all = files.0.clone();
    all.insert("policies/web.json".to_owned(), policy.to_vec());
    system(&Files(all))
}

fn registration(registry: &str) -> Registration {
    let files = repository("tenants/registry.json", registry.into());
    System::read("system", &files).unwrap().registrations.remove(0)
}

/// A request that is right by itself, on a host with two other tenants, one of which waits for this one.
fn admitted(files: &Files) -> Result<(), Vec<Diagnostic>> {
    let registration = registration(LIMITED);
    let host = Host { others: &[], registered: &BTreeSet::new(), machine: None, modules: None };
    let plain = Request::read("web", &repository("metadata.json", METADATA.into())).unwrap();
    let plain = admission::admit(&plain, &registration, &REVISION.parse().unwrap(), &host).unwrap();
    let tenant = |name: &str| -> TenantName { name.parse().unwrap() };
    let claims = vec![
        Claim::Port(model::Protocol::Tcp, 8081.try_into().unwrap()),
        Claim::Vlan(101.try_into().unwrap()),
        Claim::Address("192.0.2.7".parse().unwrap()),
        Claim::Hardware("02:00:00:00:00:07".parse().unwrap()),
    ];
    let db = DesiredTenant { name: tenant("db"), depends_on: vec![tenant("mail")], claims, ..plain.clone() };
    let mail = DesiredTenant { name: tenant("mail"), depends_on: vec![tenant("web")], ..plain };
    let machine = Machine {
        images: vec!["debian".parse().unwrap(), "debian-13".parse().unwrap()],
        free: "20G".parse().unwrap(),
        shares_images: true,
        image_size: None,
        systemd: Some(262),
    };
    let registered = ["web", "db", "mail"].into_iter().map(tenant).collect();
    let host = Host { others: &[&db, &mail], registered: &registered, machine: Some(&machine), modules: None };
    let request = Request::read("web", files).unwrap_or_else(|faults| panic!("wrong by itself: {faults:#?}"));
    admission::admit(&request, &registration, &REVISION.parse().unwrap(), &host).map(drop)
}

fn told(faults: &[Diagnostic]) -> String {
    faults.iter().map(|fault| format!("{}\n", fault.text)).collect::<Vec<_>>().join("\n")
}

fn names(folder: &Path) -> BTreeSet<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn each_wrong_file_is_refused_with_the_words_beside_it() {
    let update = std::env::var_os("BITBUILDER_UPDATE").is_some();
    let mut wrong = Vec::new();
    for (kind, path, read) in KINDS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/refused").join(kind);
        let (texts, fixtures): (BTreeSet<_>, BTreeSet<_>) =
            names(&folder).into_iter().partition(|path| path.extension().is_some_and(|extension| extension == "txt"));
        assert!(fixtures.len() >= LEAST, "{kind} has {} fixtures", fixtures.len());
        let expected: BTreeSet<_> = fixtures.iter().map(|fixture| fixture.with_extension("txt")).collect();
        wrong.extend(texts.difference(&expected).map(|text| format!("{}: nothing is refused so", text.display())));
        for fixture in &fixtures {
            let shown = fixture.display();
            let path = match fixture.extension().and_then(|extension| extension.to_str()) {
                // A request of metadata.json and config.yaml both is refused for either, and keys are of two kinds.
                Some("yaml") if kind != "secrets" => ".gitops/config.yaml",
                Some("asc") => "signers/me.asc",
                _ => path,
            };
            let Err(faults) = read(&repository(path, fs::read(fixture).unwrap())) else {
                wrong.push(format!("{shown}: it is accepted"));
                continue;
            };
            let text = told(&faults);
            if kind == "secrets" && text.contains("hunter2") {
                wrong.push(format!("{shown}: it shows what somebody forgot to seal: {text}"));
            }
            if !faults.iter().all(|fault| is_fit(&fault.message) && fault.text.lines().all(is_fit)) {
                wrong.push(format!("{shown}: unfit to be shown: {text:?}"));
            }
            let golden = fixture.with_extension("txt");
            if update {
                fs::write(golden, text).unwrap();
            } else if fs::read_to_string(golden).ok().as_ref() != Some(&text) {
                wrong.push(format!("{shown}: not the words beside it:\n{text}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Fit for a terminal: one line of a length that can be read, with nothing in it that moves the cursor or hides.
fn is_fit(line: &str) -> bool {
    line.len() <= 1000 && model::text::printable(line) == line
}
