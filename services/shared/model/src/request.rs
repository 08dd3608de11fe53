//! What makes a tenant's request contradict itself, whichever host it is for. Each check is one function of the files.

use crate::{
    config::Config,
    diagnostic::Diagnostic,
    document::Document,
    ids::IdSet,
    manifest::{Activation, Addressing, Interface, IoClass, Manifest, Mode, NumaPolicy},
    network::Protocol,
    path,
    security::MOST_SYSCALLS,
    tree::Tree,
};
use std::{collections::BTreeSet, net::IpAddr};

/// A family's field, what that says, and which addresses are of the family.
type Family = (&'static str, Addressing, fn(&IpAddr) -> bool);
type Check = fn(&Document<Manifest>) -> Vec<Diagnostic>;

/// The checks of metadata.json alone, by name, so that a test can leave out each in turn.
const CHECKS: [(&str, Check); 17] = [
    ("a host port once", forwards_are_distinct),
    ("a link once", interfaces_are_distinct),
    ("a hardware address once", hardware_is_distinct),
    ("static with its address", addresses_fit),
    ("nat by the host", nat_is_the_hosts),
    ("host mode has no links", host_mode_has_no_links),
    ("forwards in nat mode", forwards_are_for_nat),
    ("a VLAN in bridge mode", vlans_are_for_bridges),
    ("not its own dependency", depends_on_others),
    ("woken by something", on_demand_is_woken),
    ("woken by connections", on_demand_is_woken_by_connections),
    ("sleep on demand", sleep_is_on_demand),
    ("not more system calls than there are", syscalls_are_few),
    ("an IO priority of a class that has some", io_priorities_are_of_a_class),
    ("nodes for a NUMA policy", numa_policies_have_nodes),
    ("a NUMA mask for a policy", numa_masks_are_for_a_policy),
    ("a NUMA mask of allowed nodes", numa_masks_are_allowed),
];

/// Everything that is wrong with a request by itself.
#[must_use]
pub fn check(manifest: &Document<Manifest>, config: Option<&Document<Config>>, tree: &dyn Tree) -> Vec<Diagnostic> {
    let mut faults: Vec<Diagnostic> = CHECKS.iter().flat_map(|(_, check)| check(manifest)).collect();
    faults.extend(units_are_shipped(manifest, tree));
    faults.extend(config.map(|config| scripts_are_shipped(config, tree)).unwrap_or_default());
    faults
}

fn forwards_are_distinct(document: &Document<Manifest>) -> Vec<Diagnostic> {
    let mut seen = BTreeSet::new();
    let forwards = document.content.network.forward.iter().enumerate();
    let twice = forwards.filter(|(_, forward)| !seen.insert((forward.protocol, forward.host)));
    twice
        .map(|(index, forward)| {
            let message = format!("the host's {} port {} is forwarded twice", forward.protocol, forward.host);
            document.fault(path!["network", "forward", index, "host"], &message)
        })
        .collect()
}

fn interfaces_are_distinct(document: &Document<Manifest>) -> Vec<Diagnostic> {
    let mut seen = BTreeSet::new();
    let interfaces = document.content.network.interfaces.iter().enumerate();
    let twice = interfaces.filter(|(_, interface)| !seen.insert(interface.name.as_str()));
    twice
        .map(|(index, interface)| {
            let message = format!("the link {} is there twice", interface.name);
            document.fault(path!["network", "interfaces", index, "name"], &message)
        })
        .collect()
}

fn hardware_is_distinct(document: &Document<Manifest>) -> Vec<Diagnostic> {
    let mut seen = BTreeSet::new();
    let interfaces = document.content.network.interfaces.iter().enumerate();
    let twice = interfaces.filter(|(_, interface)| interface.mac.fixed().is_some_and(|mac| !seen.insert(mac)));
    twice
        .map(|(index, _)| {
            let message = "another link has this hardware address already";
            document.fault(path!["network", "interfaces", index, "mac"], message)
        })
        .collect()
}

fn addresses_fit(document: &Document<Manifest>) -> Vec<Diagnostic> {
    let interfaces = document.content.network.interfaces.iter().enumerate();
    interfaces.flat_map(|(index, interface)| addresses_of(document, index, interface)).collect()
}

fn addresses_of(document: &Document<Manifest>, index: usize, interface: &Interface) -> Vec<Diagnostic> {
    let mut faults = Vec::new();
    let mut fault = |field: &str, message: &str| {
        faults.push(document.fault(path!["network", "interfaces", index, field], message));
    };
    let families: [Family; 2] = [("ipv4", interface.ipv4, IpAddr::is_ipv4), ("ipv6", interface.ipv6, IpAddr::is_ipv6)];
    for (family, addressing, is_of) in families {
        let addresses: Vec<_> = interface.address.0.iter().filter(|address| is_of(&address.ip())).collect();
        let gateways: Vec<_> = interface.gateway.0.iter().filter(|gateway| is_of(gateway)).collect();
        match (addressing, addresses.as_slice()) {
            (Addressing::Static, []) => {
                fault(family, &format!("{family} is static and address has none of that family"))
            }
            (Addressing::Static, [address]) => {
                if let Some(gateway) = gateways.iter().find(|gateway| !address.reaches(***gateway)) {
                    fault("gateway", &format!("the gateway {gateway} is not a neighbour of {address}"));
                }
            }
            (Addressing::Static, _) => fault("address", &format!("{family} has more than one address")),
            (Addressing::Dhcp | Addressing::Disabled, [address, ..]) => {
                fault("address", &format!("{address} is written down and {family} is {addressing}, not static"));
            }
            (Addressing::Dhcp | Addressing::Disabled, []) if !gateways.is_empty() => {
                fault("gateway", &format!("a gateway is written down and {family} is {addressing}, not static"));
            }
            (Addressing::Dhcp | Addressing::Disabled, []) => {}
        }
        if gateways.len() > 1 {
            fault("gateway", &format!("{family} has more than one gateway"));
        }
    }
    faults
}

fn nat_is_the_hosts(document: &Document<Manifest>) -> Vec<Diagnostic> {
    let network = &document.content.network;
    if network.mode != Mode::Nat {
        return Vec::new();
    }
    let interfaces = network.interfaces.iter().enumerate();
    let stubborn = interfaces
        .filter(|(_, interface)| interface.ipv4 == Addressing::Static || interface.ipv6 == Addressing::Static);
    stubborn
        .map(|(index, _)| {
            let message = "in nat mode the host gives the address; static addresses are for bridge mode";
            document.fault(path!["network", "interfaces", index, "address"], message)
        })
        .collect()
}

fn host_mode_has_no_links(document: &Document<Manifest>) -> Vec<Diagnostic> {
    let network = &document.content.network;
    if network.mode != Mode::Host || network.interfaces.is_empty() {
        return Vec::new();
    }
    vec![
        document
            .fault(path!["network", "interfaces"], "in host mode a tenant has the host's links and none of its own"),
    ]
}

fn forwards_are_for_nat(document: &Document<Manifest>) -> Vec<Diagnostic> {
    let network = &document.content.network;
    if network.mode == Mode::Nat || network.forward.is_empty() {
        return Vec::new();
    }
    let message = format!("ports are forwarded in nat mode; in {} mode the tenant is reached by itself", network.mode);
    vec![document.fault(path!["network", "forward"], &message)]
}

fn vlans_are_for_bridges(document: &Document<Manifest>) -> Vec<Diagnostic> {
    let network = &document.content.network;
    if network.mode == Mode::Bridge || network.vlan.is_none() {
        return Vec::new();
    }
    vec![document.fault(path!["network", "vlan"], &format!("a VLAN is for bridge mode, not for {} mode", network.mode))]
}

fn depends_on_others(document: &Document<Manifest>) -> Vec<Diagnostic> {
    let Manifest { tenant, depends_on, .. } = &document.content;
    let own = depends_on.iter().position(|other| *other == tenant.name);
    own.map(|index| document.fault(path!["dependsOn", index], "a tenant cannot depend on itself")).into_iter().collect()
}

fn on_demand_is_woken(document: &Document<Manifest>) -> Vec<Diagnostic> {
    let Manifest { tenant, network, .. } = &document.content;
    if tenant.activation != Activation::OnDemand || !network.forward.is_empty() {
        return Vec::new();
    }
    let message = "nothing would wake it: a tenant that is activated on demand needs a forwarded port";
    vec![document.fault(path!["tenant", "activation"], message)]
}

fn on_demand_is_woken_by_connections(document: &Document<Manifest>) -> Vec<Diagnostic> {
    let Manifest { tenant, network, .. } = &document.content;
    let forwards = network.forward.iter().enumerate();
    let others =
        forwards.filter(|(_, forward)| tenant.activation == Activation::OnDemand && forward.protocol != Protocol::Tcp);
    others
        .map(|(index, forward)| {
            let message = format!(
                "{} has no connections to wake a tenant by; activated on demand it has tcp ports alone",
                forward.protocol
            );
            document.fault(path!["network", "forward", index, "protocol"], &message)
        })
        .collect()
}

fn sleep_is_on_demand(document: &Document<Manifest>) -> Vec<Diagnostic> {
    let tenant = &document.content.tenant;
    if tenant.activation == Activation::OnDemand || tenant.sleep_after.is_none() {
        return Vec::new();
    }
    let message = "a tenant that always runs does not sleep; set activation to on-demand";
    vec![document.fault(path!["tenant", "sleepAfter"], message)]
}

fn syscalls_are_few(document: &Document<Manifest>) -> Vec<Diagnostic> {
    let syscalls = &document.content.security.syscalls;
    let lists = [("allow", syscalls.allow.len()), ("deny", syscalls.deny.len())];
    let long = lists.into_iter().filter(|(_, count)| *count > MOST_SYSCALLS);
    long.map(|(list, count)| {
        let message = format!("{count} system calls are more than {MOST_SYSCALLS}, and no kernel has as many");
        document.fault(path!["security", "syscalls", list], &message)
    })
    .collect()
}

fn io_priorities_are_of_a_class(document: &Document<Manifest>) -> Vec<Diagnostic> {
    let io = &document.content.resources.io;
    let class = io.class.filter(|class| io.priority.is_some() && !class.has_priorities());
    let fault = |class: IoClass| {
        let message = format!("the class {class} has no priorities; they are for {}", IoClass::BestEffort);
        document.fault(path!["resources", "io", "priority"], &message)
    };
    class.map(fault).into_iter().collect()
}

/// systemd.exec(5): default and local are about no nodes, preferred about one, the others about one or more.
fn numa_policies_have_nodes(document: &Document<Manifest>) -> Vec<Diagnostic> {
    let memory = &document.content.resources.memory;
    let Some(policy) = memory.numa_policy else { return Vec::new() };
    let wanted = match (policy, memory.nodes()) {
        (NumaPolicy::Preferred, nodes) if !nodes.is_some_and(IdSet::is_one) => "the one node that is",
        (NumaPolicy::Bind | NumaPolicy::Interleave, None) => "the nodes that are",
        _ => return Vec::new(),
    };
    let message = format!("{policy} needs {wanted} meant, in numaMask or allowedMemoryNodes");
    vec![document.fault(path!["resources", "memory", "numaPolicy"], &message)]
}

fn numa_masks_are_for_a_policy(document: &Document<Manifest>) -> Vec<Diagnostic> {
    let memory = &document.content.resources.memory;
    let message = match memory.numa_policy {
        Some(policy) if policy.has_nodes() => return Vec::new(),
        Some(policy) => format!("the policy {policy} is about no nodes in particular"),
        None => "nodes are for a numaPolicy, and there is none".to_owned(),
    };
    let mask = memory.numa_mask.iter();
    mask.map(|_| document.fault(path!["resources", "memory", "numaMask"], &message)).collect()
}

fn numa_masks_are_allowed(document: &Document<Manifest>) -> Vec<Diagnostic> {
    let memory = &document.content.resources.memory;
    match (&memory.numa_mask, &memory.allowed_memory_nodes) {
        (Some(mask), Some(allowed)) if !mask.is_within(allowed) => {
            let message = format!("the memory nodes {mask} are not all among allowedMemoryNodes, {allowed}");
            vec![document.fault(path!["resources", "memory", "numaMask"], &message)]
        }
        _ => Vec::new(),
    }
}

fn units_are_shipped(document: &Document<Manifest>, tree: &dyn Tree) -> Vec<Diagnostic> {
    let units = document.content.services.systemd.iter().enumerate();
    let missing = units.filter(|(_, unit)| !unit.shipped_as().iter().any(|file| tree.has(&format!("units/{file}"))));
    missing
        .map(|(index, unit)| {
            document.fault(path!["services", "systemd", index], &format!("the repository has no file units/{unit}"))
        })
        .collect()
}

fn scripts_are_shipped(document: &Document<Config>, tree: &dyn Tree) -> Vec<Diagnostic> {
    let scripts = document.content.hooks.scripts();
    let wrong = scripts.filter_map(|(hook, script)| Some((hook, tree.is_program(script.as_str()).err()?)));
    wrong.map(|(hook, reason)| document.fault(path!["hooks", hook.as_str()], &reason)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For each check, network settings (or a dependency) that it alone refuses.
    const ALONE: [(&str, &str); 20] = [
        ("a host port once", r#""network": {"forward": [{"host": 80, "tenant": 1}, {"host": 80, "tenant": 2}]}"#),
        ("a link once", r#""network": {"interfaces": [{"name": "a"}, {"name": "a"}]}"#),
        (
            "a hardware address once",
            r#""network": {"interfaces": [{"name": "a", "mac": "02:00:00:00:00:01"}, {"name": "b", "mac": "02:00:00:00:00:01"}]}"#,
        ),
        (
            "static with its address",
            r#""network": {"mode": "bridge", "interfaces": [{"name": "a", "ipv4": "static"}]}"#,
        ),
        (
            "nat by the host",
            r#""network": {"interfaces": [{"name": "a", "ipv4": "static", "address": "192.0.2.1/24"}]}"#,
        ),
        ("host mode has no links", r#""network": {"mode": "host", "interfaces": [{"name": "a"}]}"#),
        ("forwards in nat mode", r#""network": {"mode": "bridge", "forward": [{"host": 80, "tenant": 80}]}"#),
        ("a VLAN in bridge mode", r#""network": {"vlan": 5}"#),
        ("not its own dependency", r#""dependsOn": ["web"]"#),
        ("woken by something", r#""tenant": {"activation": "on-demand"}"#),
        (
            "woken by connections",
            r#""tenant": {"activation": "on-demand"}, "network": {"forward": [{"host": 53, "tenant": 53, "protocol": "udp"}]}"#,
        ),
        ("sleep on demand", r#""tenant": {"sleepAfter": "1h"}"#),
        ("an IO priority of a class that has some", r#""resources": {"io": {"class": "idle", "priority": 0}}"#),
        ("nodes for a NUMA policy", r#""resources": {"memory": {"numaPolicy": "interleave"}}"#),
        ("nodes for a NUMA policy", r#""resources": {"memory": {"numaPolicy": "bind"}}"#),
        ("nodes for a NUMA policy", r#""resources": {"memory": {"numaPolicy": "preferred"}}"#),
        (
            "nodes for a NUMA policy",
            r#""resources": {"memory": {"numaPolicy": "preferred", "allowedMemoryNodes": "0-1"}}"#,
        ),
        ("a NUMA mask for a policy", r#""resources": {"memory": {"numaMask": "0"}}"#),
        ("a NUMA mask for a policy", r#""resources": {"memory": {"numaPolicy": "local", "numaMask": "0"}}"#),
        (
            "a NUMA mask of allowed nodes",
            r#""resources": {"memory": {"numaPolicy": "bind", "numaMask": "1", "allowedMemoryNodes": "0"}}"#,
        ),
    ];

    #[test]
    fn each_check_refuses_what_no_other_does() {
        let many =
            format!(r#""security": {{"syscalls": {{"deny": [{}]}}}}"#, ["\"read\""; MOST_SYSCALLS + 1].join(","));
        let alone = ALONE.into_iter().chain([("not more system calls than there are", many.as_str())]);
        for (name, part) in alone.clone() {
            let who = r#""tenant": {"name": "web", "type": "container""#;
            let (who, part) = match part.strip_prefix(r#""tenant": {"#) {
                Some(more) => (format!("{who}, "), more.to_owned()),
                None => (format!("{who}}}, "), part.to_owned()),
            };
            let text = format!(r#"{{"version": "1.0", "image": "debian", {who}{part}}}"#);
            let document = Document::json("web:metadata.json", text.as_bytes()).unwrap();
            let refusing: Vec<&str> =
                CHECKS.iter().filter(|(_, check)| !check(&document).is_empty()).map(|(name, _)| *name).collect();
            assert_eq!(refusing, [name], "{part}");
        }
        assert!(CHECKS.iter().all(|(name, _)| alone.clone().any(|(tried, _)| tried == *name)));
    }
}
