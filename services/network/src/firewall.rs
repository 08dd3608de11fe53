//! The one nftables table: who may send what, and where forwarded ports lead. Its rules are the same for one tenant and for
//! a thousand; only sets and maps grow.

use crate::places::Places;
use serde_json::Value;
use std::fmt::Display;

/// The table's family and name.
pub const TABLE: [&str; 2] = ["inet", "bitbuilder"];

/// Replaces the table, in the one transaction that a file is to nft(8): the first line makes the second one succeed.
const REPLACE: &str = "\
table inet bitbuilder
delete table inet bitbuilder
";

/// Takes the table away, whether or not it is there.
#[must_use]
pub fn absent() -> &'static str {
    REPLACE
}

const CHAINS: &str = r#"
	chain arriving {
		type filter hook prerouting priority raw; policy accept;
		# The bridges route 127.0.0.0/8 for forwarded ports; nobody outside may use that (CVE-2020-8558).
		iifname != "lo" ip daddr 127.0.0.0/8 drop
		iifname "bb-*" goto from-tenant
	}

	# Only as themselves, or as nobody to ask for a lease; no IPv6.
	chain from-tenant {
		iifname . ip saddr @tenants accept
		ip saddr 0.0.0.0 ip daddr 255.255.255.255 udp sport 68 udp dport 67 accept
		drop
	}

	chain input {
		type filter hook input priority filter; policy accept;
		iifname "bb-*" goto to-host
	}

	chain to-host {
		ct state vmap { invalid : drop, established : accept, related : accept }
		udp dport { 53, 67 } accept
		tcp dport 53 accept
		# What wakes a tenant, and no other program that may have its port: the socket's unit says so (Mark=).
		socket mark 1650589697 accept
		icmp type echo-request accept
		drop
	}

	chain forward {
		type filter hook forward priority filter; policy accept;
		iifname "bb-*" goto routed
		oifname "bb-*" goto routed
	}

	chain routed {
		ct state vmap { invalid : drop, established : accept, related : accept }
		ct status dnat accept
		iifname "bb-*" oifname != "bb-*" accept
		drop
	}

	chain prerouting {
		type nat hook prerouting priority dstnat; policy accept;
		# A forwarded port 67 must not take the leases of others.
		iifname "bb-*" udp dport 67 accept
		fib daddr type local dnat ip to meta l4proto . th dport map @forwards
	}

	chain output {
		type nat hook output priority -100; policy accept;
		fib daddr type local dnat ip to meta l4proto . th dport map @forwards
	}

	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		# A tenant that calls its own forwarded port would otherwise see a packet from itself.
		oifname . ip saddr @tenants masquerade
		oifname "bb-*" ip saddr 127.0.0.0/8 masquerade
		oifname != "bb-*" ip saddr @addresses masquerade
	}
"#;

/// The nft(8) file that makes the table what these tenants need.
#[must_use]
pub fn render(places: &Places) -> String {
    let tenants = places.values().map(|spec| format!("\"{}\" . {}", spec.bridge, spec.address));
    let addresses = places.values().map(|spec| spec.address);
    let always = places.values().filter(|spec| !spec.on_demand);
    let forwards = always.flat_map(|spec| {
        let lead = |forward: &model::Forward| {
            format!("{} . {} : {} . {}", forward.protocol, forward.host, spec.address, forward.tenant)
        };
        spec.forwards.iter().map(lead)
    });
    let tenants = set("set tenants", "ifname . ipv4_addr", tenants);
    let addresses = set("set addresses", "ipv4_addr", addresses);
    let forwards = set("map forwards", "inet_proto . inet_service : ipv4_addr . inet_service", forwards);
    format!("{REPLACE}table inet bitbuilder {{\n{tenants}{addresses}{forwards}{}}}\n", CHAINS.trim_start_matches('\n'))
}

fn set(head: &str, kind: &str, elements: impl Iterator<Item = impl Display>) -> String {
    let lines: Vec<String> = elements.map(|element| format!("\t\t\t{element}")).collect();
    // nft has no empty list of elements.
    let elements =
        if lines.is_empty() { String::new() } else { format!("\t\telements = {{\n{}\n\t\t}}\n", lines.join(",\n")) };
    format!("\t{head} {{\n\t\ttype {kind}\n{elements}\t}}\n\n")
}

/// A listing of the table by `nft --json`, without what differs between two listings of the same: handles, versions, and
/// the order of objects and of elements. The order of rules stays, because it means something.
#[must_use]
pub fn normal(listing: &Value) -> Value {
    let objects = listing.get("nftables").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let (rules, mut others): (Vec<Value>, Vec<Value>) = objects
        .iter()
        .filter(|object| object.get("metainfo").is_none())
        .map(|object| {
            let mut object = object.clone();
            object.as_object_mut().into_iter().flat_map(|kinds| kinds.values_mut()).for_each(normalise);
            object
        })
        .partition(|object| object.get("rule").is_some());
    others.sort_by_key(Value::to_string);
    // By chain, as the kernel may list the chains in any order; stable within each.
    let mut rules = rules;
    rules.sort_by_key(|rule| rule["rule"]["chain"].to_string());
    others.extend(rules);
    Value::Array(others)
}

fn normalise(object: &mut Value) {
    let Some(fields) = object.as_object_mut() else { return };
    fields.remove("handle");
    if let Some(Value::Array(elements)) = fields.get_mut("elem") {
        elements.sort_by_key(Value::to_string);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::places::tests::{any_place, forward, place};
    use model::{NetworkSpec, Protocol};
    use proptest::prelude::*;
    use serde_json::json;

    fn two() -> Places {
        Places::from([
            ("mail".parse().unwrap(), place(1, vec![forward(Protocol::Udp, 5300, 53)])),
            (
                "shop".parse().unwrap(),
                NetworkSpec { on_demand: true, ..place(2, vec![forward(Protocol::Tcp, 8090, 80)]) },
            ),
            (
                "web".parse().unwrap(),
                place(0, vec![forward(Protocol::Tcp, 8080, 80), forward(Protocol::Tcp, 8443, 443)]),
            ),
        ])
    }

    #[test]
    fn golden() {
        insta::assert_snapshot!(render(&two()), @r#"
        table inet bitbuilder
        delete table inet bitbuilder
        table inet bitbuilder {
        	set tenants {
        		type ifname . ipv4_addr
        		elements = {
        			"bb-3c6ef362" . 10.88.0.10,
        			"bb-daa66d13" . 10.88.0.18,
        			"bb-9e3779b1" . 10.88.0.2
        		}
        	}

        	set addresses {
        		type ipv4_addr
        		elements = {
        			10.88.0.10,
        			10.88.0.18,
        			10.88.0.2
        		}
        	}

        	map forwards {
        		type inet_proto . inet_service : ipv4_addr . inet_service
        		elements = {
        			udp . 5300 : 10.88.0.10 . 53,
        			tcp . 8080 : 10.88.0.2 . 80,
        			tcp . 8443 : 10.88.0.2 . 443
        		}
        	}

        	chain arriving {
        		type filter hook prerouting priority raw; policy accept;
        		# The bridges route 127.0.0.0/8 for forwarded ports; nobody outside may use that (CVE-2020-8558).
        		iifname != "lo" ip daddr 127.0.0.0/8 drop
        		iifname "bb-*" goto from-tenant
        	}

        	# Only as themselves, or as nobody to ask for a lease; no IPv6.
        	chain from-tenant {
        		iifname . ip saddr @tenants accept
        		ip saddr 0.0.0.0 ip daddr 255.255.255.255 udp sport 68 udp dport 67 accept
        		drop
        	}

        	chain input {
        		type filter hook input priority filter; policy accept;
        		iifname "bb-*" goto to-host
        	}

        	chain to-host {
        		ct state vmap { invalid : drop, established : accept, related : accept }
        		udp dport { 53, 67 } accept
        		tcp dport 53 accept
        		# What wakes a tenant, and no other program that may have its port: the socket's unit says so (Mark=).
        		socket mark 1650589697 accept
        		icmp type echo-request accept
        		drop
        	}

        	chain forward {
        		type filter hook forward priority filter; policy accept;
        		iifname "bb-*" goto routed
        		oifname "bb-*" goto routed
        	}

        	chain routed {
        		ct state vmap { invalid : drop, established : accept, related : accept }
        		ct status dnat accept
        		iifname "bb-*" oifname != "bb-*" accept
        		drop
        	}

        	chain prerouting {
        		type nat hook prerouting priority dstnat; policy accept;
        		# A forwarded port 67 must not take the leases of others.
        		iifname "bb-*" udp dport 67 accept
        		fib daddr type local dnat ip to meta l4proto . th dport map @forwards
        	}

        	chain output {
        		type nat hook output priority -100; policy accept;
        		fib daddr type local dnat ip to meta l4proto . th dport map @forwards
        	}

        	chain postrouting {
        		type nat hook postrouting priority srcnat; policy accept;
        		# A tenant that calls its own forwarded port would otherwise see a packet from itself.
        		oifname . ip saddr @tenants masquerade
        		oifname "bb-*" ip saddr 127.0.0.0/8 masquerade
        		oifname != "bb-*" ip saddr @addresses masquerade
        	}
        }
        "#);
    }

    proptest! {
        #[test]
        fn rules_do_not_grow_with_tenants(spec in any_place()) {
            let rules = |places: &Places| render(places).split_once("\tchain").map(|(_, rules)| rules.to_owned());
            let one = Places::from([("web".parse().unwrap(), spec.clone())]);
            prop_assert_eq!(rules(&one), rules(&Places::new()));
            let lines = render(&one).lines().count();
            let forwards = if spec.forwards.is_empty() { 0 } else { spec.forwards.len() + 2 };
            prop_assert_eq!(lines, render(&Places::new()).lines().count() + 6 + forwards);
        }
    }

    #[test]
    fn two_listings_of_the_same_are_equal_and_of_something_else_are_not() {
        let listing = |handle: u32, elements: Value, rules: [&str; 2]| {
            json!({"nftables": [
                {"metainfo": {"version": handle.to_string()}},
                {"set": {"name": "addresses", "handle": handle, "elem": elements}},
                {"rule": {"chain": "a", "handle": handle, "expr": [rules[0]]}},
                {"rule": {"chain": "a", "handle": handle + 1, "expr": [rules[1]]}},
            ]})
        };
        let one = normal(&listing(1, json!(["10.0.0.1", "10.0.0.2"]), ["accept", "drop"]));
        assert_eq!(one, normal(&listing(9, json!(["10.0.0.2", "10.0.0.1"]), ["accept", "drop"])));
        assert_ne!(one, normal(&listing(1, json!(["10.0.0.2"]), ["accept", "drop"])));
        assert_ne!(one, normal(&listing(1, json!(["10.0.0.1", "10.0.0.2"]), ["drop", "accept"])));
        assert_eq!(normal(&json!({})), json!([]));
    }
}
