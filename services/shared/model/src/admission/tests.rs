//! Requests that one check alone refuses, and what a request becomes that none does.

use super::*;
use crate::tree::Tree;
use std::collections::BTreeMap;

const REVISION: &str = "0123456789abcdef0123456789abcdef01234567";

struct Files(BTreeMap<&'static str, String>);

impl Tree for Files {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
        Ok(self.0.get(path).map(|text| text.clone().into_bytes()))
    }

    fn has(&self, path: &str) -> bool {
        self.0.contains_key(path)
    }
}

const REGISTRY: &str = r#"{
  "version": "1.0",
  "tenants": [
    {
      "name": "web",
      "repository": "git://h/web",
      "limits": {
        "cpu": { "cores": 2, "allowed": "0-3" },
        "memory": { "limit": "1G", "swap": "1G", "nodes": "0" },
        "tasks": 500, "io": { "read": "1M", "writes": 100 },
        "storage": { "root": "10G", "data": "10G", "snapshots": 2 },
        "network": { "modes": ["nat"], "vlans": ["100-199"] },
        "ports": ["8080-8081"],
        "images": ["debian*"],
        "extensions": ["tools"],
        "capabilities": ["CAP_NET_ADMIN"],
        "syscalls": ["@clock"],
        "retention": { "grace": "2d", "least": "1min", "data": ["archive", "keep"] }
      }
    },
    { "name": "db", "repository": "git://h/db" },
    { "name": "mail", "repository": "git://h/mail" }
  ]
}"#;

fn registration(registry: &str) -> Registration {
    let files = Files(BTreeMap::from([("tenants/registry.json", registry.to_owned())]));
    crate::tree::System::read("system", &files).unwrap().registrations.remove(0)
}

fn request(metadata: String, config: Option<&str>) -> Result<Request, Vec<Diagnostic>> {
    let mut files = BTreeMap::from([("metadata.json", metadata), ("units/a.service", String::new())]);
    files.extend(config.map(|config| (".gitops/config.yaml", config.to_owned())));
    Request::read("web", &Files(files))
}

fn with(extra: &str) -> String {
    let separator = if extra.is_empty() { "" } else { ",\n  " };
    format!(
        "{{\n  \"version\": \"1.0\",\n  \"tenant\": {{ \"name\": \"web\", \"type\": \"container\" }},\n  \"image\": \"debian\"{separator}{extra}\n}}"
    )
}

fn machine() -> Machine {
    let size = |text: &str| text.parse().ok();
    Machine {
        images: vec!["debian".parse().unwrap(), "debian-13".parse().unwrap()],
        free: "20G".parse().unwrap(),
        shares_images: true,
        image_size: size("300M"),
        systemd: Some(262),
    }
}

struct World {
    registry: String,
    others: Vec<DesiredTenant>,
    machine: Machine,
}

impl World {
    fn new() -> Self {
        let db = DesiredTenant { name: "db".parse().unwrap(), depends_on: vec!["mail".parse().unwrap()], ..plain() };
        let mail = DesiredTenant { name: "mail".parse().unwrap(), depends_on: vec!["web".parse().unwrap()], ..plain() };
        let claims = vec![Claim::Port(crate::Protocol::Tcp, 8081.try_into().unwrap())];
        Self { registry: REGISTRY.to_owned(), others: vec![db, DesiredTenant { claims, ..mail }], machine: machine() }
    }

    fn refusing(&self, request: &Request) -> Vec<&'static str> {
        self.judged(request, |case| {
            CHECKS.iter().filter(|(_, check)| !check(case).is_empty()).map(|(name, _)| *name).collect()
        })
    }

    fn judged<T>(&self, request: &Request, judge: impl FnOnce(&Case<'_>) -> T) -> T {
        let others: Vec<&DesiredTenant> = self.others.iter().collect();
        let registered = ["web", "db", "mail"].iter().map(|name| name.parse().unwrap()).collect();
        let host = Host { others: &others, registered: &registered, machine: Some(&self.machine), modules: None };
        judge(&Case { request, registration: &registration(&self.registry), host: &host })
    }
}

fn plain() -> DesiredTenant {
    let request = request(with(""), None).unwrap();
    let host = Host { others: &[], registered: &BTreeSet::new(), machine: None, modules: None };
    admit(&request, &registration(REGISTRY), &REVISION.parse().unwrap(), &host).unwrap()
}

/// For each check, a request that it alone refuses: metadata.json's part, config.yaml, and what is different about the host.
type Refused = (&'static str, &'static str, Option<&'static str>, fn(&mut World));

const ALONE: [Refused; 34] = [
    ("name", "", None, |world| world.registry = world.registry.replacen("web", "shop", 1)),
    ("cores", r#""resources": { "cpu": { "cores": 3 } }"#, None, |_| {}),
    ("memory", r#""resources": { "memory": { "limit": "2G" } }"#, None, |_| {}),
    ("swap", r#""resources": { "memory": { "swap": "2G" } }"#, None, |_| {}),
    ("allowed processors", r#""resources": { "cpu": { "allowedCpus": "2-4" } }"#, None, |_| {}),
    ("allowed memory nodes", r#""resources": { "memory": { "allowedMemoryNodes": "1" } }"#, None, |_| {}),
    ("allowed memory nodes", r#""resources": { "memory": { "numaPolicy": "bind", "numaMask": "0-1" } }"#, None, |_| {}),
    ("tasks", r#""resources": { "tasks": 501 }"#, None, |_| {}),
    ("io", r#""resources": { "io": { "readBandwidthMax": "2M" } }"#, None, |_| {}),
    ("io", r#""resources": { "io": { "writeIopsMax": 101 } }"#, None, |_| {}),
    ("root", r#""resources": { "storage": { "root": "11G" } }"#, None, |_| {}),
    ("data", r#""resources": { "storage": { "data": "11G" } }"#, None, |_| {}),
    ("snapshots", "", Some("version: \"1.0\"\nretention:\n  snapshots: 3\n"), |_| {}),
    ("grace", "", Some("version: \"1.0\"\nretention:\n  grace: 3d\n"), |_| {}),
    ("grace", "", Some("version: \"1.0\"\nretention:\n  grace: 1s\n"), |_| {}),
    ("leaving", "", Some("version: \"1.0\"\nretention:\n  data: delete\n"), |_| {}),
    ("modes", "", None, |world| world.registry = world.registry.replace(r#"["nat"]"#, r#"["bridge"]"#)),
    ("vlans", r#""network": { "mode": "bridge", "vlan": 200 }"#, None, bridged),
    ("ports", r#""network": { "forward": [{ "host": 22, "tenant": 22 }] }"#, None, |_| {}),
    ("images", "", None, |world| world.registry = world.registry.replace("debian*", "fedora")),
    ("sysext", r#""extensions": { "sysext": ["tools", "spy"] }"#, None, |_| {}),
    ("confext", r#""extensions": { "confext": ["spy"] }"#, None, |_| {}),
    ("portable", r#""services": { "portable": ["spy"] }"#, None, |_| {}),
    ("capabilities", r#""security": { "capabilities": ["CAP_SYS_ADMIN"] }"#, None, |_| {}),
    ("syscalls", r#""security": { "syscalls": { "allow": ["@clock", "@mount"] } }"#, None, |_| {}),
    ("selinux", r#""security": { "selinux_context": "spc_t" }"#, None, |_| {}),
    ("apparmor", r#""security": { "apparmor_profile": "unconfined" }"#, None, |_| {}),
    ("claims", r#""network": { "forward": [{ "host": 8081, "tenant": 80 }] }"#, None, |_| {}),
    ("dependencies", r#""dependsOn": ["nobody"]"#, None, |_| {}),
    ("cycles", r#""dependsOn": ["db"]"#, None, |_| {}),
    ("machine", r#""resources": { "storage": { "root": "10G", "data": "10G" } }"#, None, |_| {}),
    ("machine", "", None, |world| world.machine.images.clear()),
    ("machine", "", None, |world| world.machine.systemd = Some(257)),
    ("machine", "", None, |world| {
        (world.machine.shares_images, world.machine.free) = (false, "300M".parse().unwrap());
    }),
];

/// A policy that allows bridge mode, on a host that could do it.
fn bridged(world: &mut World) {
    world.registry = world.registry.replace(r#"["nat"]"#, r#"["nat", "bridge"]"#);
}

/// Removing any one check lets through what it alone refuses.
#[test]
fn each_check_refuses_what_no_other_does() {
    for (name, metadata, config, differs) in ALONE {
        let mut world = World::new();
        differs(&mut world);
        let request = request(with(metadata), config).unwrap();
        let mut refusing = world.refusing(&request);
        if name == "vlans" {
            refusing.retain(|other| *other != "machine");
        }
        assert_eq!(refusing, [name], "{metadata}");
    }
    for (name, _) in CHECKS {
        assert!(ALONE.iter().any(|(tried, ..)| *tried == name), "no request is refused by {name} alone");
    }
}

#[test]
fn every_refusal_names_both_sides_and_the_policys_place() {
    let refusals: Vec<String> = ALONE
        .iter()
        .flat_map(|(_, metadata, config, differs)| {
            let mut world = World::new();
            differs(&mut world);
            let request = request(with(metadata), *config).unwrap();
            world.judged(&request, |case| CHECKS.iter().flat_map(|(_, check)| check(case)).collect::<Vec<_>>())
        })
        .map(|fault| fault.to_string())
        .collect();
    insta::assert_snapshot!(refusals.join("\n"));
}

#[test]
fn a_request_within_its_limits_is_admitted() {
    let metadata = with(
        r#""resources": { "cpu": { "cores": 2, "shares": 2048 }, "memory": { "limit": "1G" } },
  "network": { "forward": [{ "host": 8080, "tenant": 80 }] },
  "services": { "systemd": ["a.service", "a.service"] },
  "security": { "capabilities": ["CAP_NET_ADMIN"] }"#,
    );
    let request = request(
        metadata,
        Some("version: 1.0\nsync:\n  interval: 5min\n  webhook: false\nverify:\n  healthy: 10s\n  confirm: 1min\n"),
    )
    .unwrap();
    let host = Host { others: &[], registered: &BTreeSet::new(), machine: Some(&machine()), modules: None };
    let tenant = admit(&request, &registration(REGISTRY), &REVISION.parse().unwrap(), &host).unwrap();
    assert!(tenant.enabled);
    assert_eq!(tenant.limits.cpu_weight, Some(200));
    assert_eq!(tenant.services.len(), 1);
    assert_eq!(tenant.healthy_for_usec, 10_000_000);
    let noticing = [tenant.noticing.interval, tenant.noticing.jitter].map(|span| span.to_string());
    assert_eq!((noticing, tenant.noticing.webhook), (["5min".to_owned(), "10s".to_owned()], false));
    assert!(tenant.not_in_effect.is_empty());
    assert_eq!(tenant.security.capabilities, ["CAP_NET_ADMIN".parse().unwrap()]);
    assert_eq!((tenant.limits.cpu_cores, tenant.limits.memory), (Some(2), "1G".parse().ok()));
    let modest = plain();
    let narrowed = &modest.limits;
    assert_eq!(narrowed.allowed_cpus.as_ref().map(ToString::to_string).as_deref(), Some("0-3"));
    assert_eq!((narrowed.tasks, narrowed.io_read, narrowed.io_writes), (Some(500), "1M".parse().ok(), Some(100)));
    assert_eq!((narrowed.io_write, narrowed.io_reads), (None, None), "what nobody limits has no limit");
    let limits = (modest.limits.cpu_cores, modest.limits.memory, modest.limits.swap);
    assert_eq!(limits, (Some(2), "1G".parse().ok(), "1G".parse().ok()), "who asks for nothing is not limited");
    assert_eq!(modest.healthy_for_usec, 5_000_000);
}

#[test]
fn a_host_without_a_security_module_says_so() {
    let limits =
        REGISTRY.replace("\"syscalls\":", "\"selinux\": [\"svirt_t\"], \"apparmor\": [\"web\"], \"syscalls\":");
    let asked = r#""security": { "selinux_context": "svirt_t", "apparmor_profile": "web" }"#;
    let request = request(with(asked), None).unwrap();
    let said = |modules| {
        let host = Host { others: &[], registered: &BTreeSet::new(), machine: None, modules };
        admit(&request, &registration(&limits), &REVISION.parse().unwrap(), &host).unwrap().not_in_effect
    };
    let both = ["security.selinux_context", "security.apparmor_profile"];
    assert_eq!(said(Some(SecurityModules::default())), both);
    assert_eq!(said(Some(SecurityModules { selinux: true, apparmor: false })), both[1..]);
    assert!(said(None).is_empty(), "what is not known is not said");
}

#[test]
fn a_tenant_does_not_stand_in_its_own_way_and_a_stopped_one_in_nobodys() {
    let metadata = with(r#""network": { "forward": [{ "host": 8081, "tenant": 80 }] }"#);
    let request = request(metadata, None).unwrap();
    let mut world = World::new();
    world.others[1].enabled = false;
    assert!(world.refusing(&request).is_empty());
    world.others[1] = DesiredTenant { name: "web".parse().unwrap(), enabled: true, ..world.others[1].clone() };
    assert!(world.refusing(&request).is_empty());
}

#[test]
fn signers_bring_their_keys_or_are_missed_where_they_are_named() {
    let signed = REGISTRY.replace("\"ports\":", "\"signers\": [\"alice\"], \"ports\":");
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa a@b\n";
    let mut files = BTreeMap::from([("tenants/registry.json", signed)]);
    let missed = crate::tree::System::read("system", &Files(files.clone())).unwrap_err();
    assert_eq!(
        missed.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [
            "system:signers/alice.pub: system:tenants/registry.json:13 names alice, and there is no key here nor in signers/alice.asc"
        ]
    );
    files.insert("signers/alice.pub", key.to_owned());
    files.insert("signers/revoked.pub", key.to_owned());
    let system = crate::tree::System::read("system", &Files(files)).unwrap();
    let trust = system.registrations[0].trust.as_ref().unwrap();
    assert_eq!((trust.signers.len(), trust.signers[0].ssh.len(), trust.revoked.len()), (1, 1, 1));
    assert!(system.registrations[1].trust.is_none());
}
