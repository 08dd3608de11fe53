//! What has to hold whatever is read: nothing panics, what is accepted holds nothing but what it says, and what is refused
//! is refused with words that can be shown to a person.

mod boot;
mod claims;
mod files;
mod release;
mod words;

use files::Files;
use model::{
    Diagnostic,
    admission::{Host, admit},
    config::Config,
    document::Document,
    manifest::Manifest,
    policy::PolicyFile,
    registry::Registration,
    signer,
    tree::{Request, System},
};
use std::{collections::BTreeSet, fmt::Debug};

pub use boot::boot;
pub use claims::claims;
pub use release::release;
pub use words::words;

/// More than any message has, its quotations included.
const LONGEST_LINE: usize = 2000;

/// A tenant's metadata.json.
pub fn metadata(data: &[u8]) {
    let request = match Request::read("web", &Files::tenant(data, None)) {
        Ok(request) => request,
        Err(faults) => return fit(&faults),
    };
    let manifest = &request.manifest.content;
    words::is_word(manifest.tenant.name.as_str());
    words::is_word(manifest.image.as_str());
    manifest.depends_on.iter().for_each(|name| words::is_word(name.as_str()));
    manifest.services.systemd.iter().for_each(|unit| words::is_word(unit.as_str()));
    manifest.services.portable.iter().for_each(|name| words::is_word(name.as_str()));
    manifest.extensions.sysext.iter().for_each(|name| words::is_word(name.as_str()));
    manifest.extensions.confext.iter().for_each(|name| words::is_word(name.as_str()));
    manifest.network.interfaces.iter().for_each(|link| words::is_word(link.name.as_str()));
    manifest.security.selinux_context.iter().for_each(|context| words::is_word(context.as_str()));
    manifest.security.syscalls.allow.iter().for_each(|call| words::is_word(call.as_str()));

    // The same said in another way is the same; and YAML's reader agrees with JSON's.
    let pretty = pretty(data);
    let again = Request::read("web", &Files::tenant(pretty.as_bytes(), None)).expect("accepted once, accepted again");
    assert_eq!(again.manifest.content, *manifest);
    let yaml: Document<Manifest> = read(Document::yaml("web:metadata.yaml", pretty.as_bytes()));
    assert_eq!(yaml.content, *manifest);

    let registration = registration(manifest.tenant.name.as_str());
    let registered = manifest.depends_on.iter().cloned().collect();
    let host = Host { others: &[], registered: &registered, machine: None, modules: None };
    let revision = "ab".repeat(20).parse().expect("forty digits");
    match admit(&request, &registration, &revision, &host) {
        Ok(tenant) => survives(&tenant),
        Err(faults) => fit(&faults),
    }
}

/// A repository's .gitops/config.yaml.
pub fn config(data: &[u8]) {
    let metadata = br#"{"version":"1.0","tenant":{"name":"web","type":"container"},"image":"debian"}"#;
    match Request::read("web", &Files::tenant(metadata, Some(data))) {
        Ok(request) => {
            let config: &Document<Config> = request.config.as_ref().expect("there is one");
            config.content.hooks.scripts().for_each(|(_, script)| {
                assert!(script.as_str().strip_prefix("scripts/").is_some_and(|name| !name.contains('/')));
                words::is_graphic(script.as_str());
            });
            assert!(config.content.verify.healthy.is_none_or(|span| (1..=600).contains(&span.duration().as_secs())));
            assert!(config.content.retention.grace.is_none_or(|span| span.duration().as_secs() <= 30 * 86400));
        }
        Err(faults) => fit(&faults),
    }
    if let Err(faults) =
        System::read("system", &Files::system(b"{\"version\":\"1.0\",\"tenants\":[]}", Some(data), b""))
    {
        fit(&faults);
    }
}

/// A tenant's secrets/sealed-secrets.yaml, in which somebody may have forgotten to seal something.
pub fn secrets(data: &[u8]) {
    let metadata = br#"{"version":"1.0","tenant":{"name":"web","type":"container"},"image":"debian"}"#;
    match Request::read("web", &Files::sealed(metadata, data)) {
        Ok(request) => {
            let document = request.secrets.expect("there is one");
            let secrets = &document.content.secrets;
            assert!(secrets.len() <= model::secrets::MOST);
            let names: BTreeSet<_> = secrets.iter().map(|secret| &secret.name).collect();
            assert_eq!(names.len(), secrets.len(), "two secrets have one name");
            for secret in secrets {
                words::is_word(secret.name.as_str());
                assert!(secret.sealed.as_str().bytes().all(|byte| byte == b'\n' || (b' '..=b'~').contains(&byte)));
                survives(secret);
                survives(&model::secrets::SecretSpec::from(secret));
            }
            let why: Vec<_> = secrets.iter().map(|one| (one.name.clone(), model::secrets::Reason::Damaged)).collect();
            let faults = model::secrets::refused(&document, &"web".parse().expect("a name"), &why);
            assert_eq!(faults.len().min(51), secrets.len().min(51));
            if !faults.is_empty() {
                fit(&faults[..faults.len().min(51)]);
            }
        }
        Err(faults) => {
            fit(&faults);
            // No line of the file is in what is said of it.
            assert!(faults.iter().all(|fault| fault.text.lines().count() <= 2), "{faults:?}");
        }
    }
}

/// tenants/registry.json of a system repository and, behind a NUL, one of its policies.
pub fn registry(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let (registry, policy) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    if let Err(faults) = Document::<PolicyFile>::json("system:policies/web.json", policy) {
        fit(&faults);
    }
    let system = match System::read("system", &Files::system(registry, None, policy)) {
        Ok(system) => system,
        Err(faults) => return fit(&faults),
    };
    let mut names = BTreeSet::new();
    for registration in &system.registrations {
        assert!(names.insert(&registration.name), "two tenants have one name");
        words::is_word(registration.name.as_str());
        words::is_address(registration.repository.as_str());
        words::is_reference(registration.reference.as_str());
        survives(registration);
    }
    let pretty = pretty(registry);
    let again = System::read("system", &Files::system(pretty.as_bytes(), None, policy)).expect("accepted again");
    let plain = |system: System| -> Vec<_> {
        system.registrations.into_iter().map(|one| (one.name, one.repository, one.reference)).collect()
    };
    assert_eq!(plain(again), plain(system));
}

/// A file of SSH keys and, behind a NUL, one of an OpenPGP certificate.
pub fn signers(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let (ssh, openpgp) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    match signer::ssh_keys("system:signers/me.pub", ssh) {
        Ok(keys) => keys.iter().for_each(|key| {
            // A line of an allowed signers file, to which a principal and a namespace are added.
            words::is_line(key.as_str());
            assert_eq!(key.as_str().split(' ').count(), 2 + usize::from(key.period().is_some()));
            assert!(key.at_any_time().starts_with(|c: char| c.is_ascii_lowercase()));
            assert!(
                ["cert-authority", "namespaces", "command", "*", ","]
                    .iter()
                    .all(|word| !key.at_any_time().contains(word))
            );
            survives(key);
        }),
        Err(faults) => fit(&faults),
    }
    match signer::certificate("system:signers/me.asc", openpgp) {
        Ok(certificate) => {
            assert!(
                !certificate.as_str().contains("PRIVATE") && certificate.as_str().matches("-----BEGIN").count() == 1
            );
            survives(&certificate);
        }
        Err(faults) => fit(&faults),
    }
}

/// A tenant that may ask for whatever a policy can allow.
fn registration(name: &str) -> Registration {
    let limits = r#"{
        "cpu": {"cores": 1024}, "memory": {"limit": "7E", "swap": "7E"},
        "storage": {"root": "7E", "data": "7E", "snapshots": 1000},
        "network": {"modes": ["nat", "bridge", "host"], "vlans": ["1-4094"]}, "ports": ["1-65535"]
    }"#;
    let registry =
        format!(r#"{{"version":"1.0","tenants":[{{"name":"{name}","repository":"git://h/w","limits":{limits}}}]}}"#);
    System::read("system", &Files::system(registry.as_bytes(), None, b"")).expect("it is right").registrations.remove(0)
}

fn pretty(json: &[u8]) -> String {
    let value: serde_json::Value = serde_json::from_slice(json).expect("what was accepted is JSON");
    serde_json::to_string_pretty(&value).expect("a value can be written")
}

fn read<T>(read: Result<T, Vec<Diagnostic>>) -> T {
    read.unwrap_or_else(|faults| panic!("refused: {faults:?}"))
}

/// What is kept between two runs of a service is the same after it.
fn survives<T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + Debug>(value: &T) {
    let written = serde_json::to_string(value).expect("it can be written");
    assert_eq!(*value, serde_json::from_str::<T>(&written).expect("it can be read"));
}

/// Diagnostics say something, in a place, and nothing in them moves a cursor, hides, or fills a journal.
fn fit(faults: &[Diagnostic]) {
    assert!(!faults.is_empty() && faults.len() <= 51, "{} faults", faults.len());
    for fault in faults {
        assert!(!fault.message.is_empty() && fault.text.contains(&fault.message), "{fault:?}");
        assert_eq!(fault.line == 0, fault.column == 0);
        assert!(fault.text.lines().count() <= 20, "{}", fault.text);
        for line in fault.text.lines().chain([fault.message.as_str()]) {
            assert!(line.len() <= LONGEST_LINE && model::text::printable(line) == line, "{line:?}");
        }
    }
}
