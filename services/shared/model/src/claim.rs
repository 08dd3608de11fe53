//! What one tenant of a host has to itself because its repository names it.

use crate::{
    document::Step,
    interface::VlanId,
    manifest::Manifest,
    network::{MacAddress, Port, Protocol},
};
use serde::{Deserialize, Serialize};
use std::{fmt, net::IpAddr};

/// Something that two tenants of a host cannot both have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Claim {
    /// A port of the host.
    Port(Protocol, Port),
    /// A VLAN.
    Vlan(VlanId),
    /// An address on the host's own segment.
    Address(IpAddr),
    /// A hardware address.
    Hardware(MacAddress),
}

impl Claim {
    /// All that a request claims, each with its place.
    #[must_use]
    pub fn of(manifest: &Manifest) -> Vec<(Self, Vec<Step<'static>>)> {
        let network = &manifest.network;
        let mut claims = Vec::new();
        for (index, forward) in network.forward.iter().enumerate() {
            let place = vec!["network".into(), "forward".into(), index.into(), "host".into()];
            claims.push((Self::Port(forward.protocol, forward.host), place));
        }
        if let Some(vlan) = network.vlan {
            claims.push((Self::Vlan(vlan), vec!["network".into(), "vlan".into()]));
        }
        for (index, interface) in network.interfaces.iter().enumerate() {
            let place = |field: &'static str| vec!["network".into(), "interfaces".into(), index.into(), field.into()];
            claims.extend(interface.address.0.iter().map(|address| (Self::Address(address.ip()), place("address"))));
            claims.extend(interface.mac.fixed().map(|mac| (Self::Hardware(mac), place("mac"))));
        }
        claims
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(protocol, port) => write!(f, "the host's {protocol} port {port}"),
            Self::Vlan(vlan) => write!(f, "VLAN {vlan}"),
            Self::Address(address) => write!(f, "the address {address}"),
            Self::Hardware(mac) => write!(f, "the hardware address {mac}"),
        }
    }
}
