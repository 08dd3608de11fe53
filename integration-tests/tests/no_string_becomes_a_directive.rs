//! Whatever strings a repository holds that parsing accepts, what our services write is one value each to the parsers of
//! systemd, networkd and nft: the same sections, directives, arguments and rules as for a plain tenant.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "no_string_becomes_a_directive/judges.rs"]
mod judges;
#[path = "no_string_becomes_a_directive/requests.rs"]
mod requests;

use anyhow::{Context as _, Result};
use judges::{Judged, lines};
use model::identity::Slot;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use test_host::Host;

const TENANTS: usize = 40;
/// So many of them are started.
const STARTED: usize = 12;
/// The units of a tenant, by what is before and after its name.
const UNITS: [(&str, &str); 5] = [
    ("bitbuilder-container@", ".service"),
    ("bitbuilder-guest@", ".service"),
    ("bitbuilder-guest@", ".socket"),
    ("git-sync@", ".service"),
    ("git-sync@", ".timer"),
];

/// In systemd-nspawn's place: writes down what it was started with and what it would show the tenant.
const NSPAWN: &str = r#"#!/bin/bash
for argument; do [[ $argument == --machine=* ]] && out=/run/judged/${argument#--machine=}; done
{
  printf 'MAC %s\n' "$SYSTEMD_NSPAWN_NETWORK_MAC"
  printf 'ARGUMENT %q\n' "$@"
  cd /var/lib/tenants/*/runtime/units && find . -mindepth 1 -printf 'FILE %p %y %l\n' | sort
} >"$out"
systemd-notify --ready
exec sleep infinity
"#;

struct Bench {
    host: Host,
    tenants: Vec<Judged>,
}

impl Bench {
    fn plain(&self) -> &Judged {
        &self.tenants[0]
    }

    fn run(&self, script: &str) -> String {
        self.host.succeed(script)
    }

    fn json(&self, script: &str) -> Value {
        serde_json::from_str(&self.run(script)).unwrap()
    }

    /// Makes calls one after the other, as root.
    fn call(&self, interface: &str, method: &str, calls: impl Iterator<Item = Value>) -> Result<()> {
        let parameters: String = calls.map(|call| format!("{call}\n")).collect();
        self.host.write("/run/calls", parameters)?;
        self.run(&format!(
            "while IFS= read -r call; do varlinkctl call -j /run/bitbuilder/io.bitbuilder.{interface} io.bitbuilder.{interface}.{method} \"$call\" >/dev/null; done </run/calls"
        ));
        Ok(())
    }

    /// Each tenant's bridge as networkd knows it, once it is configured and the kernel has said that it has no carrier:
    /// a new link is up with one until its first look at its ports, and a state of that moment is no directive.
    fn links(&self, tenants: &[Judged]) -> Vec<Value> {
        let bridges: Vec<String> = tenants.iter().map(|judged| judged.network().bridge.to_string()).collect();
        let awaited: String = bridges.iter().map(|bridge| format!(" -i {bridge}:no-carrier:no-carrier")).collect();
        self.run(&format!("/usr/lib/systemd/systemd-networkd-wait-online --timeout=30{awaited}"));
        let shown =
            self.run(&format!("for bridge in {}; do networkctl status --json=short $bridge; done", bridges.join(" ")));
        shown.lines().filter(|line| !line.is_empty()).map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The units of one kind as PID 1 loads them, by tenant.
    fn units(&self, (before, after): (&str, &str), names: &[&str]) -> BTreeMap<String, String> {
        let units: String = names.iter().map(|name| format!(" '{before}{name}{after}'")).collect();
        // What a unit holds at the moment is no directive.
        let shown = self.run(&format!(
            "systemctl show{units} | grep -vE '^(Memory(Current|Available|Peak)|EffectiveMemory|EffectiveTasks|TasksCurrent|.*Timestamp)'"
        ));
        let blocks = shown.split("\n\n").map(judges::properties);
        names.iter().map(|name| (*name).to_owned()).zip(blocks).collect()
    }

    fn journal(&self, unit: &str) -> Vec<String> {
        let complaints = self.run(&format!(
            "journalctl --boot --output=cat --unit={unit} --grep='[Uu]nknown|[Ff]ailed to parse|[Ii]nvalid|[Ii]gnoring|Missing' || true"
        ));
        complaints.lines().map(str::to_owned).collect()
    }
}

#[test]
fn no_string_becomes_a_directive() -> Result<()> {
    let (admitted, refused) = requests::admitted(TENANTS);
    assert!(refused > TENANTS / 2, "only {refused} requests were refused");
    let slots = (0..).filter_map(Slot::new);
    let tenants: Vec<_> = admitted.into_iter().zip(slots).map(|(tenant, slot)| Judged { tenant, slot }).collect();
    let bench = Bench { host: Host::builder("").boot()?, tenants };
    the_network_is_as_asked_for(&bench)?;
    units_differ_in_the_name_alone(&bench)?;
    containers_get_one_argument_each(&bench)
}

fn the_network_is_as_asked_for(bench: &Bench) -> Result<()> {
    let plain = bench.plain();
    let ensure = |judged: &Judged| json!({ "tenant": judged.name(), "generation": 1, "spec": judged.network() });
    let before = bench.run("nft list ruleset; ls /run/systemd/network");
    bench.call("Network", "Ensure", [ensure(plain)].into_iter())?;
    let plain_rules = bench.json("nft --json list ruleset");
    let plain_file = |kind| bench.run(&format!("cat /run/systemd/network/50-bitbuilder-{}.{kind}", plain.name()));
    let plain_files = [("netdev", plain_file("netdev")), ("network", plain_file("network"))];
    assert_eq!(before, "", "the host is not as it was installed");

    bench.call("Network", "Ensure", bench.tenants.iter().map(ensure))?;
    assert_eq!(judges::ruleset(&bench.json("nft --json list ruleset"), &bench.tenants, &plain_rules), [""; 0]);
    let links = bench.links(&bench.tenants);
    for (judged, status) in bench.tenants.iter().zip(&links) {
        assert_eq!(judges::link(status, judged, &links[0]), [""; 0]);
    }
    let held =
        bench.run("cd /run/systemd/network && for file in *; do printf '\\0%s\\0' \"$file\"; cat \"$file\"; done");
    let held: Vec<&str> = held.split('\0').skip(1).collect();
    let held: BTreeMap<&str, &str> = held.chunks(2).map(|file| (file[0], file[1])).collect();
    let mut expected = BTreeMap::new();
    for judged in &bench.tenants {
        for (kind, text) in &plain_files {
            expected.insert(format!("50-bitbuilder-{}.{kind}", judged.name()), judged.as_own(text, plain));
        }
    }
    assert_eq!(held, expected.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect());
    assert_eq!(bench.journal("systemd-networkd"), [""; 0]);

    an_injected_one_is_noticed(bench, &plain_rules, &links[0])
}

/// The judges see what they are there for.
fn an_injected_one_is_noticed(bench: &Bench, plain_rules: &Value, plain_link: &Value) -> Result<()> {
    let victim = &bench.tenants[1..2];
    let file = format!("/run/systemd/network/50-bitbuilder-{}.network", victim[0].name());
    for (value, noticed) in [
        ("ConfigureWithoutCarrier=yes\nDNS=198.51.100.1", "DNS"),
        ("ConfigureWithoutCarrier=yes\nAddress=192.0.2.1/24", "192.0.2.1"),
        (
            "ConfigureWithoutCarrier=yes\n[Route]\nDestination=192.0.2.0/24\nGateway=198.51.100.1\nGatewayOnLink=yes",
            "route",
        ),
    ] {
        bench.run(&format!("cp {file} /run/kept && networkctl reload"));
        let text = bench.run(&format!("cat {file}"));
        bench.host.write(&file, text.replace("ConfigureWithoutCarrier=yes", value))?;
        bench.run("networkctl reload");
        let complaints = judges::link(&bench.links(victim)[0], &victim[0], plain_link).join("\n");
        assert!(complaints.contains(noticed), "{value:?} passed as a value: {complaints:?}");
        bench.run(&format!("mv /run/kept {file} && networkctl reload"));
        bench.links(victim);
    }
    let rules = bench.run("nft list ruleset");
    let address = bench.plain().network().address.to_string();
    for (value, noticed) in [
        ("192.0.2.1, ", "elements: +addresses \"192.0.2.1\""),
        (
            "192.0.2.1 }\n}\nchain evil {\ntype filter hook input priority 0; policy accept;\n}\nset more {\ntype ipv4_addr\nelements = { ",
            "evil",
        ),
    ] {
        let (sets, rest) = rules.split_once("set addresses").context("there is no set of addresses")?;
        let injected = format!("{sets}set addresses{}", rest.replacen(&address, &format!("{value}{address}"), 1));
        bench.host.write("/run/injected.nft", injected)?;
        let listing = bench.json("unshare --net sh -c 'nft -f /run/injected.nft && nft --json list ruleset'");
        let complaints = judges::ruleset(&listing, &bench.tenants, plain_rules).join("\n");
        assert!(complaints.contains(noticed), "{value:?} passed as an element: {complaints:?}");
    }
    Ok(())
}

fn units_differ_in_the_name_alone(bench: &Bench) -> Result<()> {
    let plain = bench.plain();
    let names: Vec<&str> = bench.tenants.iter().map(Judged::name).collect();
    for kind in UNITS {
        let units = bench.units(kind, &names);
        assert_eq!(units.len(), names.len());
        let expected = &units[plain.name()];
        assert!(expected.contains("LoadState=loaded") && expected.contains(plain.name()), "{expected}");
        for name in &names {
            let expected = judges::properties(&expected.replace(plain.name(), name));
            assert_eq!(lines(name, &units[*name], &expected), [""; 0]);
        }
    }
    // A directive that came in by a drop-in is one too many.
    let dropped = "/run/systemd/system/bitbuilder-container@injected.service.d/x.conf";
    bench.host.write(dropped, "[Service]\nExecStartPre=/bin/true\n")?;
    let shown = bench.units(UNITS[0], &["injected", plain.name()]);
    let expected = judges::properties(&shown[plain.name()].replace(plain.name(), "injected"));
    let complaints = lines("injected", &shown["injected"], &expected).join("\n");
    assert!(complaints.contains("+ExecStartPre="), "{complaints}");

    let timer = |name: &&str| json!({ "repository": name, "interval": "1h 30min", "jitter": "7s" });
    let timers: Vec<Value> = names.iter().map(timer).collect();
    bench.call("Tenant", "EnsurePolling", [json!({ "timers": timers })].into_iter())?;
    let timers = bench.run("systemctl list-units --plain --no-legend 'git-sync@*.timer' | cut -d' ' -f1 | sort");
    let mut expected: Vec<String> = names.iter().map(|name| format!("git-sync@{name}.timer")).collect();
    expected.sort();
    assert_eq!(timers.lines().filter(|timer| *timer != "git-sync@system.timer").collect::<Vec<_>>(), expected);
    let said = bench.run(
        "systemctl show -p TimersMonotonic -p RandomizedDelayUSec 'git-sync@*.timer' | grep . | sed 's/next_elapse=[^}]*//' | sort | uniq -c",
    );
    let said: Vec<String> = said.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let each = [
        "RandomizedDelayUSec=7s",
        "TimersMonotonic={ OnActiveUSec=1h 30min ; }",
        "TimersMonotonic={ OnUnitInactiveUSec=1h 30min ; }",
    ];
    assert_eq!(said, each.map(|line| format!("{} {line}", names.len())));
    Ok(())
}

fn containers_get_one_argument_each(bench: &Bench) -> Result<()> {
    let started = &bench.tenants[..STARTED];
    bench.host.write("/run/nspawn", NSPAWN)?;
    // Extensions are asked of another service, which looks for their images.
    let spec = |judged: &Judged| {
        let mut spec = judged.tenant.instance(judged.slot);
        spec.sysext.clear();
        spec
    };
    let mut prepare = "install -m 755 /run/nspawn /usr/bin/systemd-nspawn && mkdir -p /run/judged\n".to_owned();
    for judged in started {
        let spec = spec(judged);
        let checkout = format!("/var/lib/bitbuilder/git/{}/checkouts/{}", judged.name(), spec.revision);
        let units: String =
            spec.services.iter().map(|service| format!(" '{checkout}/units/{}'", service.unit)).collect();
        prepare
            .push_str(&format!("mkdir -p {checkout}/units /var/lib/tenants/{}/root && touch{units}\n", judged.name()));
    }
    bench.run(&prepare);
    let ensure = |judged: &Judged| json!({ "tenant": judged.name(), "generation": 1, "spec": spec(judged) });
    bench.call("Tenant", "Ensure", started.iter().map(ensure))?;
    let start = |judged: &Judged| json!({ "tenant": judged.name(), "generation": 1 });
    bench.call("Tenant", "Start", started.iter().map(start))?;

    let plain = bench.plain();
    let said = |judged: &Judged| bench.run(&format!("cat /run/judged/{}", judged.name()));
    let expected = said(plain);
    assert!(expected.contains("ARGUMENT --settings=no\n") && expected.contains("FILE ./a.service f \n"), "{expected}");
    let show = "systemctl show -p CPUWeight -p CPUQuotaPerSecUSec -p MemoryMax -p MemorySwapMax -p Environment -p User";
    let limits = bench.run(&format!("{show} bitbuilder-container@{}.service", plain.name()));
    assert!(limits.contains("MemoryMax=314572800\n"), "{limits}");
    let more = lines("injected", &format!("{expected}ARGUMENT --bind=/\n"), &expected);
    assert_eq!(more, ["injected: +ARGUMENT --bind=/"]);
    for judged in started {
        let unit = &judged.tenant.services[0].unit;
        let file = unit.as_str();
        let expected = judged.as_own(&expected, plain).replace("a.service", file);
        let sorted = |text: &str| {
            let mut lines: Vec<String> = text.lines().map(|line| format!("{line}\n")).collect();
            lines.sort();
            lines.concat()
        };
        let (found, confined) = without_confinement(&said(judged));
        let (expected, _) = without_confinement(&expected);
        assert_eq!(lines(judged.name(), &sorted(&found), &sorted(&expected)), [""; 0]);
        // Words and what is between them, in no more arguments than there are kinds.
        let words = |c: char| c.is_ascii_alphanumeric() || "_-=,\\ \'~".contains(c);
        assert!(confined.len() <= 4 && confined.iter().all(|line| line.chars().all(words)), "{confined:?}");
        let name = judged.name();
        assert_eq!(bench.run(&format!("{show} bitbuilder-container@{name}.service")), limits, "{name}");
    }
    Ok(())
}

/// What a container was started with, and apart from that what confines it.
fn without_confinement(said: &str) -> (String, Vec<String>) {
    let kinds = ["--drop-capability=", "--capability=", "--system-call-filter="];
    let confines = |line: &str| {
        let argument = line.strip_prefix("ARGUMENT ").unwrap_or_default().trim_start_matches('\'');
        kinds.iter().any(|kind| argument.starts_with(kind))
    };
    let (confined, rest): (Vec<&str>, Vec<&str>) = said.lines().partition(|line| confines(line));
    (rest.iter().map(|line| format!("{line}\n")).collect(), confined.into_iter().map(str::to_owned).collect())
}
