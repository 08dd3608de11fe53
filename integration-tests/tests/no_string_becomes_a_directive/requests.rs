//! Requests that parsing accepts, with strings as close to the syntax of systemd, networkd and nft as it lets them be.

use model::{
    DesiredTenant,
    admission::{Host, admit},
    registry::Registration,
    tree::{Request, System, Tree},
};
use proptest::{
    collection::vec,
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// What would be more than a value somewhere, if it got there.
const NASTY: [&str; 24] = [
    "%i",
    "%n%%h",
    "$(reboot)",
    "`id`",
    "${HOME}",
    "\n[Service]\nExecStartPre=/bin/sh",
    "\r\nDNS=198.51.100.1",
    "\\\nDNS=198.51.100.1",
    "; drop",
    "#",
    "=",
    "a\\x2db",
    "\" accept",
    "} } chain evil { type filter hook input priority 0; policy accept; }",
    "bb-*",
    "@tenants",
    "..",
    "../../etc/systemd/system/x",
    "a:b",
    "--bind=/",
    "-M",
    "\u{202e}",
    "\0",
    "wеb",
];

/// The strings of a request: its place in metadata.json, and what is accepted there, up to the edge.
const FIELDS: [(&str, &str); 14] = [
    ("/tenant/name", "[a-z]([a-z0-9-]{0,22}[a-z0-9])?|[a-z]--[a-z0-9]|[a-z]([a-z0-9-]{22})[0-9]"),
    ("/tenant/id", "[!-~]{1,64}|%[a-zA-Z]|\\$\\{?[A-Z]{1,4}\\}?"),
    ("/image", "[a-z0-9][a-z0-9._-]{0,63}"),
    ("/services/systemd/0", "[A-Za-z0-9][A-Za-z0-9:_.-]{0,20}(@[A-Za-z0-9:_.-]{1,20})?\\.service"),
    ("/extensions/confext/0", "[a-z0-9][a-z0-9._-]{0,63}"),
    ("/services/portable/0", "[a-z0-9][a-z0-9._-]{0,63}"),
    ("/network/interfaces/0/name", "[A-Za-z][A-Za-z0-9._-]{0,14}"),
    ("/security/selinux_context", "[A-Za-z0-9_][A-Za-z0-9_.,:-]{0,60}"),
    ("/security/apparmor_profile", "[A-Za-z0-9_][A-Za-z0-9_.-]{0,60}"),
    // What the host does not know is refused as it starts, which another test is for.
    ("/security/syscalls/deny/0", "bpf|io_uring_setup|@swap|@raw-io"),
    ("/security/syscalls/allow/0", "settimeofday|@clock"),
    ("/security/capabilities/0", "CAP_(SYS_TIME|BPF|SYS_RESOURCE|NET_RAW)"),
    ("/extensions/sysext/0", "[a-z0-9][a-z0-9._-]{0,63}"),
    ("/dependsOn/0", "other|[a-z]([a-z0-9-]{0,22}[a-z0-9])?"),
];

/// The repository and the policy of a tenant that may ask for all of this.
struct Files(BTreeMap<&'static str, String>);

impl Tree for Files {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
        Ok(self.0.get(path).map(|text| text.clone().into_bytes()))
    }

    fn has(&self, path: &str) -> bool {
        path.starts_with("units/")
    }
}

/// The first `count` tenants that are admitted, of other names each, and how many requests were refused on the way. The
/// first is a plain one, and the same requests come each time.
pub(crate) fn admitted(count: usize) -> (Vec<DesiredTenant>, usize) {
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let mut tenants = vec![admit_one(&request(0), "judged-by-the-host").unwrap()];
    let (mut names, mut refused) = (BTreeSet::from([tenants[0].name.clone()]), 0);
    let fields: Vec<_> = FIELDS.iter().map(|(_, pattern)| field(pattern)).collect();
    let strategy = (fields, proptest::option::of(0..FIELDS.len()), proptest::sample::select(NASTY.to_vec()));
    while tenants.len() < count {
        let (mut strings, nasty, what) = strategy.new_tree(&mut runner).unwrap().current();
        if let Some(index) = nasty {
            strings[index].push_str(what);
        }
        let mut asked = request(u16::try_from(tenants.len()).unwrap());
        for ((pointer, _), text) in FIELDS.iter().zip(&strings) {
            *asked.pointer_mut(pointer).unwrap() = json!(text);
        }
        match admit_one(&asked, &strings[0]) {
            Some(tenant) if names.insert(tenant.name.clone()) => tenants.push(tenant),
            Some(_) => {}
            None => refused += 1,
        }
    }
    (tenants, refused)
}

fn field(pattern: &'static str) -> impl Strategy<Value = String> {
    vec(proptest::string::string_regex(pattern).unwrap(), 1).prop_map(|text| text.concat())
}

/// A request that uses every field; the ports of each are its own.
fn request(number: u16) -> Value {
    let port = 1024 + 8 * number;
    json!({
        "version": "1.0",
        "tenant": { "name": "judged-by-the-host", "type": "container", "id": "x" },
        "image": "debian",
        "dependsOn": ["other"],
        "resources": { "cpu": { "cores": 1, "shares": 512 }, "memory": { "limit": "300M", "swap": "1M" } },
        "network": {
            "interfaces": [{ "name": "host0", "mac": "02:00:00:00:00:01" }],
            "forward": [
                { "host": port, "tenant": 80 },
                { "host": port, "tenant": 53, "protocol": "udp" },
                { "host": port + 1, "tenant": 65535 },
            ],
        },
        "extensions": { "sysext": ["s"], "confext": ["c"] },
        "services": { "portable": ["p"], "systemd": ["a.service"] },
        "security": {
            "selinux_context": "t",
            "apparmor_profile": "p",
            "capabilities": ["CAP_BPF"],
            "syscalls": { "allow": ["settimeofday"], "deny": ["bpf"] },
        },
    })
}

/// The tenant, if a host that allows everything admits it under this name.
fn admit_one(request: &Value, name: &str) -> Option<DesiredTenant> {
    let text = |pointer: &str| request.pointer(pointer).cloned();
    let limits = json!({
        "ports": ["1-65535"],
        "memory": { "swap": "1G" },
        "capabilities": [text("/security/capabilities/0")],
        "syscalls": [text("/security/syscalls/allow/0")],
        "selinux": [text("/security/selinux_context")],
        "apparmor": [text("/security/apparmor_profile")],
    });
    let registry = json!({
        "version": "1.0",
        "tenants": [{ "name": name, "repository": "git://h/x", "limits": limits }],
    });
    let files = Files(BTreeMap::from([
        ("metadata.json", request.to_string()),
        ("tenants/registry.json", registry.to_string()),
    ]));
    let registration: Registration = System::read("system", &files).ok()?.registrations.remove(0);
    let asked = Request::read("tenant", &files).ok()?;
    let registered = BTreeSet::from([text("/dependsOn/0")?.as_str()?.parse().ok()?]);
    let host = Host { others: &[], registered: &registered, machine: None, modules: None };
    admit(&asked, &registration, &"ab".repeat(20).parse().ok()?, &host).ok()
}
