//! A tenant's place in the network: its bridge, subnet, hardware address, and the ports that are forwarded to it.

use crate::{
    document::declare::{choice, record},
    text::{InvalidText, bounded, checked_text, written_as_text},
};
use serde::{Deserialize, Serialize};
use std::{fmt, net::Ipv4Addr, str::FromStr};

checked_text!(
    /// The name of a network link on the host: `bb-` and eight hexadecimal digits, within IFNAMSIZ.
    LinkName,
    "a link name of ours",
    "bb- and eight hexadecimal digits",
    |text| text.strip_prefix("bb-").is_some_and(|hash| hash.len() == 8 && hash.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)))
);

/// A locally administered unicast hardware address (IEEE 802), written `02:…`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MacAddress([u8; 6]);

impl MacAddress {
    /// The address that these octets make once the two bits that mean "local" and "unicast" are set.
    #[must_use]
    pub fn local(mut octets: [u8; 6]) -> Self {
        octets[0] = (octets[0] | 0x02) & 0xfe;
        Self(octets)
    }

    /// The six octets, as on the wire.
    #[must_use]
    pub fn octets(self) -> [u8; 6] {
        self.0
    }
}

written_as_text!(MacAddress, "a hardware address", "six pairs of hexadecimal digits, locally administered and unicast");

impl FromStr for MacAddress {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || Self::refused(text);
        let mut octets = [0; 6];
        let mut parts = text.split(':');
        for octet in &mut octets {
            let part = parts
                .next()
                .filter(|part| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit()))
                .ok_or_else(refused)?;
            *octet = u8::from_str_radix(part, 16).map_err(|_| refused())?;
        }
        (parts.next().is_none() && Self::local(octets).0 == octets).then_some(Self(octets)).ok_or_else(refused)
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

choice! {
    /// A transport protocol whose ports can be forwarded.
    Protocol, "a protocol" {
        /// RFC 9293.
        Tcp = "tcp",
        /// RFC 768.
        Udp = "udp",
    }
}

record! {
    /// A port of the host that leads to a port of a tenant.
    #[derive(Copy, PartialOrd, Ord, Hash, Serialize, Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    Forward {
        /// The port on every IPv4 address of the host, and on 127.0.0.1 from the host itself.
        host: Port,
        /// The port in the tenant.
        tenant: Port,
        /// The transport protocol; tcp if nothing is said.
        protocol: Protocol = Protocol::Tcp,
    }
}

bounded!(
    /// A port number.
    Port(u16), "a port", 1 to 65535
);

/// What the network service keeps for a tenant in NAT mode: a bridge of its own with a DHCP server that leases one
/// address, and the forwarded ports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NetworkSpec {
    /// The tenant's bridge on the host.
    pub bridge: LinkName,
    /// The bridge's own address, which is the tenant's gateway.
    pub gateway: Ipv4Addr,
    /// How many leading bits of the addresses name the subnet.
    pub prefix_length: u8,
    /// The address that the tenant is leased, always the same.
    pub address: Ipv4Addr,
    /// The hardware address of the tenant's side of the link.
    pub mac: MacAddress,
    /// The forwarded ports, in order.
    pub forwards: Vec<Forward>,
    /// Whether somebody listens on them who wakes the tenant; if not, they lead to it by themselves.
    #[serde(default)]
    pub on_demand: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_local_address_survives_being_written(octets: [u8; 6]) {
            let mac = MacAddress::local(octets);
            prop_assert_eq!(mac.to_string().parse::<MacAddress>().unwrap(), mac);
        }
    }

    #[test]
    fn foreign_hardware_addresses_are_refused() {
        for bad in [
            "",
            "00:11:22:33:44:55",
            "03:11:22:33:44:55",
            "02:11:22:33:44",
            "02:11:22:33:44:55:66",
            "02:11:22:33:44:+5",
            "2:11:22:33:44:55",
        ] {
            assert!(bad.parse::<MacAddress>().is_err(), "{bad:?} was accepted");
        }
    }
}
