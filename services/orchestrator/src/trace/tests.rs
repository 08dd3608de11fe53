//! From a word to the line that it comes from, with a ledger and files as they are after a push.

use super::*;
use crate::store::Memory;
use model::{
    DesiredTenant, TenantName,
    admission::{Host, admit},
    identity::Slot,
    registry::Registration,
    tree::Request,
};
use planner::TenantLedger;
use std::collections::BTreeSet;

const METADATA: &str = r#"{
  "version": "1.0",
  "tenant": { "name": "web", "type": "container" },
  "image": "debian",
  "network": {
    "forward": [
      { "host": 8080, "tenant": 80 },
      { "host": 8053, "tenant": 53, "protocol": "udp" }
    ]
  },
  "services": { "systemd": [
    "hello.service",
    "job@1.service"
  ] }
}"#;

struct Files;

impl Tree for Files {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
        Ok((path == manifest::PATH).then(|| METADATA.as_bytes().to_vec()))
    }

    fn has(&self, path: &str) -> bool {
        ["units/hello.service", "units/job@.service"].contains(&path)
    }
}

fn desired(digit: char) -> DesiredTenant {
    let name: TenantName = "web".parse().unwrap();
    let mut entry = Registration::unregistered(name, "git://h/web".parse().unwrap());
    entry.policy.ports.most = vec!["8000-8999".parse().unwrap()];
    let host = Host { others: &[], registered: &BTreeSet::new(), machine: None, modules: None };
    let revision = digit.to_string().repeat(40).parse().unwrap();
    admit(&Request::read("web", &Files).unwrap(), &entry, &revision, &host).unwrap()
}

fn memory() -> Memory {
    let mut ledger = TenantLedger::new(0);
    ledger.slot = Slot::new(0);
    ledger.admit(desired('a'));
    ledger.settle(1);
    ledger.admit(desired('b'));
    ledger.fail("no start".to_owned(), 2);
    ledger.refuse("c".repeat(40).parse().unwrap(), "schema".to_owned(), 3);
    let mut memory = Memory::default();
    memory.host.revision = "d".repeat(40).parse().ok();
    memory.host.wanted = "e".repeat(40).parse().ok();
    memory.tenants.insert("web".parse().unwrap(), ledger);
    memory
}

/// Each answer as a line.
fn traced(what: &str) -> Vec<String> {
    let memory = memory();
    let found = meaning::meanings(what);
    let found = found.iter().flat_map(|meaning| find::find(&memory, meaning)).collect::<Vec<Found>>();
    found
        .into_iter()
        .map(|found| {
            let repository = found.tenant.as_ref().map_or_else(RepositoryName::system, RepositoryName::from);
            let admitted = find::is_admitted(&memory, &found);
            let place = admitted.then(|| place(&repository, &Files, &found.spot)).flatten().unwrap_or_default();
            let revision = found.revision.map_or(String::new(), |revision| revision.as_str()[..1].to_owned());
            format!("{what}: {} ({revision}) {place}", found.what)
        })
        .collect()
}

#[test]
fn each_word_leads_to_its_line() {
    let slot = Slot::new(0).unwrap();
    let (bridge, uid) = (slot.bridge().to_string(), (slot.uids().first + 7).to_string());
    let words = [
        "web",
        "git-sync@web.service",
        "bitbuilder-container@web.service",
        "bitbuilder-guest@web.socket",
        "git-sync@system.timer",
        "hello.service",
        "job@1.service",
        "10.88.0.2",
        "10.88.0.2:53",
        "10.88.0.2:99",
        "10.88.0.1",
        "8080",
        "8080/udp",
        "8053/udp",
        "127.0.0.1:8080",
        &bridge,
        "vb-web",
        &uid,
        "aaaaaaa",
        "bbbbbbbbb",
        "ccccccc",
        "ddddddd",
        "eeeeeee",
    ];
    let lines: Vec<String> = words.iter().flat_map(|word| traced(word)).collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn what_is_nobodys_is_not_found() {
    for word in
        ["mail", "absent.service", "10.88.0.10", "192.0.2.1", "22", "bb-00000000", "1000", "fffffff", "10.88.1.2:8080"]
    {
        assert!(traced(word).is_empty(), "{:?}", traced(word));
    }
}
