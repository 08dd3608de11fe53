//! What the host's own parsers made of what our services wrote, held against what a plain tenant's is with the values
//! exchanged: whatever is more or less is a complaint.

use model::{DesiredTenant, NetworkSpec, identity::Slot};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A tenant and its slot.
#[derive(Debug, Clone)]
pub(crate) struct Judged {
    pub(crate) tenant: DesiredTenant,
    pub(crate) slot: Slot,
}

impl Judged {
    pub(crate) fn name(&self) -> &str {
        self.tenant.name.as_str()
    }

    pub(crate) fn network(&self) -> NetworkSpec {
        self.tenant.network(self.slot)
    }

    /// The values that are its own, in an order in which none is part of a later one.
    fn values(&self) -> [String; 6] {
        let NetworkSpec { bridge, gateway, address, mac, .. } = self.network();
        [
            format!("={gateway}/"),
            format!("Address={address}\n"),
            bridge.to_string(),
            mac.to_string(),
            self.slot.uids().first.to_string(),
            self.name().to_owned(),
        ]
    }

    /// What `plain`'s text would be if it were this tenant's.
    pub(crate) fn as_own(&self, text: &str, plain: &Self) -> String {
        plain.values().iter().zip(self.values()).fold(text.to_owned(), |text, (from, to)| text.replace(from, &to))
    }
}

/// Each line that is there and should not be, or should be and is not.
pub(crate) fn lines(what: &str, found: &str, expected: &str) -> Vec<String> {
    if found == expected {
        return Vec::new();
    }
    let count = |text: &str, line: &str| text.lines().filter(|other| *other == line).count();
    let more = found.lines().filter(|line| count(found, line) > count(expected, line)).map(|line| format!("+{line}"));
    let less =
        expected.lines().filter(|line| count(expected, line) > count(found, line)).map(|line| format!("-{line}"));
    let mut differing: Vec<String> = more.chain(less).map(|line| format!("{what}: {line}")).collect();
    if differing.is_empty() {
        differing.push(format!("{what}: the lines are in another order"));
    }
    differing
}

/// What networkd knows of a bridge (`networkctl status --json`), beyond its own name and address.
pub(crate) fn link(status: &Value, judged: &Judged, plain: &Value) -> Vec<String> {
    let NetworkSpec { bridge, gateway, prefix_length, address, mac, .. } = judged.network();
    let mut complaints = Vec::new();
    let file = |kind| json!(format!("/run/systemd/network/50-bitbuilder-{}.{kind}", judged.name()));
    let own = [("Name", json!(bridge)), ("NetworkFile", file("network")), ("NetDevFile", file("netdev"))];
    for (field, expected) in own {
        if status[field] != expected {
            complaints.push(format!("{bridge}: {field} is {}", status[field]));
        }
    }
    let addresses = status["Addresses"].as_array().map(Vec::as_slice).unwrap_or_default();
    let shown: Vec<_> = addresses.iter().map(|one| (&one["AddressString"], &one["PrefixLength"])).collect();
    if shown != [(&json!(gateway), &json!(prefix_length))] {
        complaints.push(format!("{bridge}: its addresses are {shown:?}"));
    }
    let routes = status["Routes"].as_array().map(Vec::as_slice).unwrap_or_default();
    if let Some(route) = routes.iter().find(|route| route["ProtocolString"] != "kernel") {
        complaints.push(format!("{bridge}: it has the route {route}"));
    }
    let leases = status["DHCPServer"]["StaticLeases"].as_array().map(Vec::as_slice).unwrap_or_default();
    let shown: Vec<_> = leases.iter().map(|lease| (&lease["AddressString"], &lease["ClientId"])).collect();
    // RFC 2132, 9.14: hardware type 1 and the address.
    let client: Vec<u8> = [1].into_iter().chain(mac.octets()).collect();
    if shown != [(&json!(address), &json!(client))] {
        complaints.push(format!("{bridge}: its leases are {shown:?}"));
    }
    let rest = |status: &Value| {
        let mut fields = status.as_object().cloned().unwrap_or_default();
        fields.get_mut("DHCPServer").and_then(Value::as_object_mut).and_then(|server| server.remove("StaticLeases"));
        for own in ["Index", "Name", "HardwareAddress", "NetworkFile", "NetDevFile", "Addresses", "Routes"] {
            fields.remove(own);
        }
        fields.into_iter().map(|(field, value)| format!("{field}={value}\n")).collect::<String>()
    };
    complaints.extend(lines(bridge.as_str(), &rest(status), &rest(plain)));
    complaints
}

/// What the kernel holds (`nft --json list ruleset`): rules as for the plain tenant alone, elements as these tenants need.
pub(crate) fn ruleset(found: &Value, tenants: &[Judged], plain: &Value) -> Vec<String> {
    let (rules, elements) = objects(found);
    let mut complaints = lines("rules", &rules, &objects(plain).0);
    let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for judged in tenants {
        let NetworkSpec { bridge, address, forwards, .. } = judged.network();
        let mut add = |set: &str, element: Value| expected.entry(set.to_owned()).or_default().push(element.to_string());
        add("tenants", json!({ "concat": [bridge, address] }));
        add("addresses", json!(address));
        for forward in forwards {
            let (from, to) = (json!([forward.protocol, forward.host]), json!([address, forward.tenant]));
            add("forwards", json!([{ "concat": from }, { "concat": to }]));
        }
    }
    let shown = |sets: BTreeMap<String, Vec<String>>| -> String {
        let sets = sets.into_iter().map(|(set, elements)| {
            // nft has names for protocols where the host has /etc/protocols.
            let named = |element: &String| element.replace("[6,", "[\"tcp\",").replace("[17,", "[\"udp\",");
            let mut elements: Vec<String> = elements.iter().map(named).collect();
            elements.sort();
            elements.iter().map(|element| format!("{set} {element}\n")).collect::<String>()
        });
        sets.collect()
    };
    complaints.extend(lines("elements", &shown(elements), &shown(expected)));
    complaints
}

/// Everything but elements and what differs between two listings of the same, a line each; and the elements.
fn objects(listing: &Value) -> (String, BTreeMap<String, Vec<String>>) {
    let (mut rules, mut elements) = (String::new(), BTreeMap::new());
    for object in listing["nftables"].as_array().map(Vec::as_slice).unwrap_or_default() {
        let Some((kind, fields)) = object.as_object().and_then(|object| object.iter().next()) else { continue };
        if kind == "metainfo" {
            continue;
        }
        let mut fields = fields.as_object().cloned().unwrap_or_default();
        fields.remove("handle");
        if let Some(Value::Array(found)) = fields.remove("elem") {
            let name = fields["name"].as_str().unwrap_or_default().to_owned();
            elements.insert(name, found.iter().map(Value::to_string).collect());
        }
        rules.push_str(&format!("{kind} {}\n", Value::Object(fields)));
    }
    (rules, elements)
}

/// The properties of units as PID 1 knows them (`systemctl show`), lists in any order.
pub(crate) fn properties(shown: &str) -> String {
    let sorted = shown.lines().map(|line| {
        let (name, value) = line.split_once('=').unwrap_or((line, ""));
        let mut words: Vec<&str> = value.split(' ').collect();
        if !name.starts_with("Exec") {
            words.sort_unstable();
        }
        format!("{name}={}\n", words.join(" "))
    });
    sorted.collect()
}
