//! The repository tests itself: which crate may depend on which, where dangerous dependencies live, how long a file may be,
//! and that units, sockets and the package agree.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn manifest(path: &Path) -> toml::Table {
    fs::read_to_string(path.join("Cargo.toml")).unwrap().parse().unwrap()
}

/// Each crate's name and what it depends on outside its tests.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let workspace = manifest(&root());
    let members = workspace["workspace"]["members"].as_array().unwrap();
    members
        .iter()
        .map(|member| {
            let table = manifest(&root().join(member.as_str().unwrap()));
            let of = table.get("dependencies").and_then(toml::Value::as_table).cloned().unwrap_or_default();
            (table["package"]["name"].as_str().unwrap().to_owned(), of.keys().cloned().collect())
        })
        .collect()
}

const SERVICES: [&str; 12] = [
    "bitbuilder",
    "extension",
    "git-sync",
    "guest",
    "network",
    "notification",
    "orchestrator",
    "secret",
    "storage",
    "tenant-manager",
    "wake",
    "webhook",
];

#[test]
fn dependencies_point_inwards() {
    let allowed: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("model", &[][..]),
        ("planner", &["model"]),
        ("interfaces", &["model"]),
        ("runtime", &["model", "interfaces"]),
        ("host", &["model"]),
        ("boot", &["model"]),
        // What it writes at boot is written by the tenant manager at other times.
        ("tenant-manager", &["model", "boot", "interfaces", "runtime", "host"]),
        // It runs before anything else does, and talks to nobody.
        ("tenant-generator", &["boot"]),
        ("sealing", &["model"]),
        ("orchestrator", &["model", "planner", "interfaces", "runtime", "host"]),
        // It validates and plans without a host, from work trees that nobody pushed yet, and asks the machine for `doctor`.
        ("bitbuilder", &["model", "planner", "interfaces", "runtime", "host", "sealing"]),
        // The only process that opens what was sealed.
        ("secret", &["model", "interfaces", "runtime", "host", "sealing"]),
        ("test-host", &[]),
        ("integration-tests", &["test-host"]),
        ("machine-tests", &["test-host", "integration-tests"]),
        ("xtask", &["test-host", "integration-tests"]),
    ]);
    let crates = dependencies();
    for (name, of) in &crates {
        let service = &["model", "interfaces", "runtime", "host"][..];
        let allowed = allowed.get(name.as_str()).copied().unwrap_or(service);
        let ours = of.iter().filter(|dependency| crates.contains_key(*dependency));
        let wrong: Vec<_> = ours.filter(|dependency| !allowed.contains(&dependency.as_str())).collect();
        assert!(wrong.is_empty(), "{name} must not depend on {wrong:?}");
    }
}

#[test]
fn each_dangerous_dependency_has_one_home() {
    let homes = [
        ("gix", "git-sync"),
        ("rtnetlink", "network"),
        ("nftables", "network"),
        ("reqwest", "notification"),
        ("zbus", "host"),
        ("hyper", "webhook"),
        ("rustls", "webhook"),
        ("age", "sealing"),
    ];
    for (dependency, home) in homes {
        for (name, of) in dependencies() {
            assert!(name == home || !of.contains(dependency), "{dependency} belongs to {home}, not to {name}");
        }
    }
}

#[test]
fn the_pure_crates_have_no_clock_and_no_file_system() {
    for name in ["model", "planner", "boot"] {
        for (path, text) in sources(&root().join("services/shared").join(name).join("src")) {
            for word in ["std::fs", "std::time", "SystemTime", "Instant", "std::net::Tcp", "std::process", "std::env"] {
                assert!(!text.contains(word), "{} uses {word}", path.display());
            }
        }
    }
}

#[test]
fn no_file_is_longer_than_a_person_reads() {
    for folder in ["services", "interfaces", "integration-tests"] {
        for (path, text) in sources(&root().join(folder)) {
            assert!(text.lines().count() <= 400, "{} has {} lines", path.display(), text.lines().count());
            assert!(text.starts_with("//! "), "{} does not say what it is for", path.display());
        }
    }
}

fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push((path.clone(), fs::read_to_string(&path).unwrap()));
        }
    }
    found
}

fn units() -> BTreeMap<String, String> {
    let folder = fs::read_dir(root().join("units")).unwrap();
    folder
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(path).unwrap()))
        .collect()
}

#[test]
fn each_contract_has_a_socket_that_the_host_and_the_registry_know() {
    let units = units();
    for contract in interfaces::ALL {
        let listens =
            |path: &str| units.values().any(|text| text.lines().any(|line| line == format!("ListenStream={path}")));
        if contract.name == "io.bitbuilder.Guest" {
            assert!(listens("/run/bitbuilder/guest/%i/io.bitbuilder.Guest"));
            continue;
        }
        assert!(listens(&format!("/run/bitbuilder/{}", contract.name)), "nothing listens for {}", contract.name);
        let link = format!("Symlinks=/run/varlink/registry/{}", contract.name);
        assert!(units.values().any(|text| text.contains(&link)), "{} is not in the registry", contract.name);
    }
    let sockets = units.iter().filter(|(name, _)| name.ends_with(".socket"));
    // The one that speaks HTTP, and the one that speaks what tenants do, and to anybody.
    let foreign = ["bitbuilder-wake@.socket", "bitbuilder-webhook.socket"];
    let (foreign, ours): (Vec<_>, Vec<_>) = sockets.partition(|(name, _)| foreign.contains(&name.as_str()));
    assert!(foreign.iter().all(|(_, text)| text.contains("TriggerLimitBurst=0")) && foreign.len() == 2);
    for (name, text) in ours {
        for line in ["FileDescriptorName=varlink", "SocketMode=0666", "TriggerLimitBurst=0"] {
            assert!(text.contains(line), "{name} has no {line}");
        }
    }
}

#[test]
fn units_start_what_the_package_ships() {
    let package = manifest(&root().join("services/bitbuilder"));
    let assets = package["package"]["metadata"]["deb"]["assets"].as_array().unwrap();
    let shipped: BTreeSet<&str> = assets
        .iter()
        .map(|asset| asset.get(0).or_else(|| asset.get("source")).and_then(toml::Value::as_str).unwrap())
        .collect();
    for name in SERVICES {
        assert!(shipped.contains(format!("target/release/{name}").as_str()), "{name} is not in the package");
    }
    assert!(shipped.contains("target/release/tenant-generator"), "the generator is not in the package");
    for (unit, text) in units() {
        for line in text.lines().filter(|line| line.starts_with("Exec")) {
            if let Some(rest) = line.split("/usr/lib/bitbuilder/").nth(1) {
                let program = rest.split_whitespace().next().unwrap();
                assert!(SERVICES.contains(&program), "{unit} starts {program}, which nobody ships");
            }
        }
        assert!(!text.contains("/bin/sh"), "{unit} uses a shell");
    }
}
