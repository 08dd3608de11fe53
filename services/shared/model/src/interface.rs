//! A tenant's links as its repository asks for them: names, hardware addresses, addresses, VLANs.

use crate::{
    document::{Decode, Faults, Node},
    network::MacAddress,
    text::{InvalidText, bounded, checked_text, decoded_text, written_as_text},
};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::{fmt, net::IpAddr, str::FromStr};

checked_text!(
    /// A link's name in a tenant.
    InterfaceName,
    "a link name",
    "1 to 15 letters, digits, '.', '_' and '-', beginning with a letter or digit, not all, default, lo or a number",
    |text| {
        // net/core/dev.c, dev_valid_name(), and what systemd refuses besides (ifname_valid()).
        (1..=15).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
            // Stricter than both: a name that begins with '-' is an option to somebody.
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && !matches!(text, "all" | "default" | "lo")
            && !text.bytes().all(|b| b.is_ascii_digit())
    },
    schema { "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,14}$", "not": { "pattern": "^([0-9]+|all|default|lo)$" } }
);

bounded!(
    /// An 802.1Q VLAN.
    VlanId(u16), "a VLAN", 1 to 4094
);

/// Where a link's hardware address comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hardware {
    /// The host makes one from the tenant's slot; it stays the same.
    Auto,
    /// As written.
    Fixed(MacAddress),
}

impl Hardware {
    /// The address, if one is written down.
    #[must_use]
    pub fn fixed(self) -> Option<MacAddress> {
        match self {
            Self::Auto => None,
            Self::Fixed(address) => Some(address),
        }
    }
}

impl FromStr for Hardware {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "auto" { Ok(Self::Auto) } else { text.parse().map(Self::Fixed) }
    }
}

decoded_text!(
    Hardware,
    "a hardware address",
    "auto, or six pairs of hexadecimal digits, locally administered and unicast",
    schema { "pattern": "^(auto|[0-9A-Fa-f][26AEae](:[0-9A-Fa-f]{2}){5})$" }
);

/// An address and how many leading bits name its network, written `192.0.2.10/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InterfaceAddress(IpNet);

impl InterfaceAddress {
    /// The address alone.
    #[must_use]
    pub fn ip(self) -> IpAddr {
        self.0.addr()
    }

    /// Whether another address is in the same network.
    #[must_use]
    pub fn reaches(self, other: IpAddr) -> bool {
        self.0.contains(&other) && other != self.ip()
    }
}

impl FromStr for InterfaceAddress {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || Self::refused(text);
        // Not IpNet's own parser, which takes 192.0.02.1 for 192.0.2.1; others take such numbers for octal.
        let (ip, length) = text.split_once('/').ok_or_else(refused)?;
        let plain = length.bytes().all(|b| b.is_ascii_digit()) && (length == "0" || !length.starts_with('0'));
        let length = length.parse().ok().filter(|_| plain).ok_or_else(refused)?;
        let parsed = IpNet::new(ip.parse().map_err(|_| refused())?, length).map_err(|_| refused())?;
        let ip = parsed.addr();
        let of_one_host = !ip.is_unspecified()
            && !ip.is_multicast()
            && !ip.is_loopback()
            && (parsed.prefix_len() >= parsed.max_prefix_len() - 1 || ip != parsed.network() || ip.is_ipv6())
            && (parsed.prefix_len() >= parsed.max_prefix_len() - 1 || ip != parsed.broadcast() || ip.is_ipv6())
            && parsed.prefix_len() > 0;
        if of_one_host { Ok(Self(parsed)) } else { Err(refused()) }
    }
}

written_as_text!(
    InterfaceAddress,
    "an address",
    "an IPv4 or IPv6 address of one host with its prefix length, as 192.0.2.10/24"
);

impl fmt::Display for InterfaceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Decode for IpAddr {
    fn decode(node: &Node, faults: &mut Faults) -> Option<Self> {
        let text = String::decode(node, faults)?;
        match text.parse() {
            Ok(address) => Some(address),
            Err(_) => {
                let fault = InvalidText::new(&text, "an address", "an IPv4 or IPv6 address without a prefix length");
                faults.refuse(node.caret(), fault.to_string())
            }
        }
    }

    fn schema() -> serde_json::Value {
        serde_json::json!({ "type": "string", "anyOf": [{ "format": "ipv4" }, { "format": "ipv6" }] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_of_one_host() {
        for good in ["192.0.2.10/24", "2001:db8::10/64", "192.0.2.0/31", "192.0.2.1/32", "10.0.0.1/8"] {
            assert_eq!(good.parse::<InterfaceAddress>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "192.0.2.10",
            "192.0.2.0/24",
            "192.0.2.255/24",
            "0.0.0.0/0",
            "127.0.0.1/8",
            "224.0.0.1/24",
            "::1/128",
            "::/0",
            "1.2.3.4/33",
            "1.2.3.4/24\n",
            "192.0.02.1/24",
            "192.0.2.1/024",
            "192.0.2.1/+24",
            "192.0.2.1/",
        ] {
            assert!(bad.parse::<InterfaceAddress>().is_err(), "{bad:?} was accepted");
        }
        let address: InterfaceAddress = "192.0.2.10/24".parse().unwrap();
        assert!(address.reaches("192.0.2.1".parse().unwrap()));
        assert!(!address.reaches("192.0.2.10".parse().unwrap()) && !address.reaches("192.0.3.1".parse().unwrap()));
    }

    #[test]
    fn link_names_are_what_the_kernel_takes() {
        for good in ["eth0", "host0", "a.100", "wan_1"] {
            assert!(good.parse::<InterfaceName>().is_ok(), "{good:?} was refused");
        }
        for bad in [
            "",
            ".",
            "..",
            "-a",
            "_a",
            "a/b",
            "a b",
            "abcdefghijklmnop",
            "all",
            "default",
            "lo",
            "42",
            "é",
            "a%i",
            "a:1",
        ] {
            assert!(bad.parse::<InterfaceName>().is_err(), "{bad:?} was accepted");
        }
    }
}
