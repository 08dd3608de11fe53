//! Whose something is, as the ledger says.

use super::{meaning::Meaning, short};
use crate::store::Memory;
use model::{
    DesiredTenant, Protocol, Revision, TenantName, UnitName,
    claim::Claim,
    network::{Forward, Port},
};
use planner::TenantLedger;
use std::net::IpAddr;

/// Something of a tenant's, or of the system repository's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) tenant: Option<TenantName>,
    pub(super) what: String,
    pub(super) revision: Option<Revision>,
    pub(super) spot: Spot,
}

/// What in a commit's files it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Spot {
    /// tenants/registry.json.
    Registry,
    /// The tenant's name.
    Name,
    /// How it is reached.
    Network,
    /// Something that it has to itself.
    Claim(Claim),
    /// A service that it asks for.
    Service(UnitName),
    /// The file of a unit.
    UnitFile(UnitName),
}

/// Everything that `meaning` finds.
pub(super) fn find(memory: &Memory, meaning: &Meaning) -> Vec<Found> {
    let mut found = Vec::new();
    match meaning {
        Meaning::SystemUnit => found.push(system(memory, "the unit by which the system repository is looked at")),
        Meaning::Commit(prefix) => {
            let host = [&memory.host.revision, &memory.host.wanted].into_iter().flatten();
            for revision in distinct(host.filter(|revision| revision.as_str().starts_with(prefix))) {
                let followed = memory.host.revision.as_ref() == Some(&revision);
                let what = if followed { "that is followed" } else { "that was pushed last and is not followed" };
                let what = format!("commit {} of the system repository, {what}", short(&revision));
                found.push(Found { revision: Some(revision), ..system(memory, &what) });
            }
        }
        Meaning::Tenant(_)
        | Meaning::HostUnit(..)
        | Meaning::Unit(_)
        | Meaning::Address(..)
        | Meaning::HostPort(..)
        | Meaning::Link(_)
        | Meaning::Uid(_) => {}
    }
    for (name, ledger) in &memory.tenants {
        let of = Of { name, ledger, desired: ledger.target.as_ref().or(ledger.verified.as_ref()) };
        of.find(meaning, &mut found);
    }
    found
}

/// Whether the commit is one that the host follows or that a tenant is made into or goes back to.
pub(super) fn is_admitted(memory: &Memory, found: &Found) -> bool {
    let Some(revision) = &found.revision else { return false };
    match &found.tenant {
        None => memory.host.revision.as_ref() == Some(revision),
        Some(tenant) => memory.tenants.get(tenant).is_some_and(|ledger| {
            [&ledger.target, &ledger.verified].into_iter().flatten().any(|desired| desired.revision == *revision)
        }),
    }
}

fn system(memory: &Memory, what: &str) -> Found {
    Found { tenant: None, what: what.to_owned(), revision: memory.host.revision.clone(), spot: Spot::Registry }
}

/// A tenant that is looked at.
struct Of<'a> {
    name: &'a TenantName,
    ledger: &'a TenantLedger,
    desired: Option<&'a DesiredTenant>,
}

impl Of<'_> {
    fn found(&self, what: String, spot: Spot) -> Found {
        let revision = self.desired.map(|desired| desired.revision.clone());
        Found { tenant: Some(self.name.clone()), what, revision, spot }
    }

    fn find(&self, meaning: &Meaning, found: &mut Vec<Found>) {
        match meaning {
            Meaning::Tenant(name) if name == self.name => found.push(self.found("the tenant".to_owned(), Spot::Name)),
            Meaning::HostUnit(name, what) if name == self.name => {
                found.push(self.found(format!("the unit {what}"), Spot::Name));
            }
            Meaning::Unit(unit)
                if self.desired.is_some_and(|desired| desired.services.iter().any(|own| own.unit == *unit)) =>
            {
                found.push(self.found("a service that it asks for".to_owned(), Spot::Service(unit.clone())));
                found.push(self.found("the file of that service".to_owned(), Spot::UnitFile(unit.clone())));
            }
            Meaning::Address(address, port) => self.address(*address, *port, found),
            Meaning::HostPort(port, protocol) => self.port(*port, *protocol, found),
            Meaning::Link(link) => {
                if self.ledger.slot.is_some_and(|slot| slot.bridge().as_str() == link) {
                    found.push(self.found("the bridge that its link is on".to_owned(), Spot::Network));
                }
                if link.strip_prefix("vb-") == Some(self.name.as_str()) {
                    found.push(self.found("the host's side of its link".to_owned(), Spot::Network));
                }
            }
            Meaning::Uid(uid) => {
                if let Some(uids) = self.ledger.slot.map(|slot| slot.uids()).filter(|uids| uids.contains(*uid)) {
                    let inside = uid - uids.first;
                    found.push(self.found(format!("uid {inside} of its user namespace"), Spot::Name));
                }
            }
            Meaning::Commit(prefix) => self.commit(prefix, found),
            Meaning::Tenant(_) | Meaning::HostUnit(..) | Meaning::Unit(_) | Meaning::SystemUnit => {}
        }
    }

    fn address(&self, address: IpAddr, port: Option<Port>, found: &mut Vec<Found>) {
        let slot = self.ledger.slot;
        let own = slot.is_some_and(|slot| IpAddr::V4(slot.address()) == address);
        if own {
            let before = found.len();
            let forwards = self.forwards().filter(|forward| port == Some(forward.tenant));
            found.extend(forwards.map(|forward| self.forward(forward)));
            if found.len() == before {
                found.push(self.found("its address".to_owned(), Spot::Network));
            }
        }
        if slot.is_some_and(|slot| IpAddr::V4(slot.gateway()) == address) {
            found.push(self.found("the host's address on its link".to_owned(), Spot::Network));
        }
        if self.desired.is_some_and(|desired| desired.claims().any(|claim| claim == Claim::Address(address))) {
            found.push(self.found("an address that it has to itself".to_owned(), Spot::Claim(Claim::Address(address))));
        }
        // A port of any other address may be one of the host's.
        if let (Some(port), false) = (port, own || is_a_tenants(address)) {
            self.port(port, None, found);
        }
    }

    fn port(&self, port: Port, protocol: Option<Protocol>, found: &mut Vec<Found>) {
        let meant =
            |forward: &&Forward| forward.host == port && protocol.is_none_or(|protocol| forward.protocol == protocol);
        found.extend(self.forwards().filter(meant).map(|forward| self.forward(forward)));
    }

    fn forwards(&self) -> impl Iterator<Item = &Forward> {
        let enabled = self.desired.filter(|desired| desired.enabled);
        enabled.into_iter().flat_map(|desired| &desired.forwards)
    }

    fn forward(&self, Forward { host, tenant, protocol }: &Forward) -> Found {
        let what = format!("the host's {protocol} port {host}, which leads to its port {tenant}");
        self.found(what, Spot::Claim(Claim::Port(*protocol, *host)))
    }

    fn commit(&self, prefix: &str, found: &mut Vec<Found>) {
        let ledger = self.ledger;
        let of = |desired: &Option<DesiredTenant>| desired.as_ref().map(|desired| desired.revision.clone());
        let (target, verified, given_up) = (of(&ledger.target), of(&ledger.verified), of(&ledger.quarantined));
        let known = [&verified, &target, &given_up, &ledger.wanted].into_iter().flatten();
        for revision in distinct(known.filter(|revision| revision.as_str().starts_with(prefix))) {
            let is = |other: &Option<Revision>| other.as_ref() == Some(&revision);
            let what = match () {
                () if is(&given_up) => "that did not hold",
                () if is(&verified) => "that held last",
                () if is(&target) => "that is being applied",
                () => "that was pushed last and refused",
            };
            let what = format!("commit {} of its repository, {what}", short(&revision));
            found.push(Found { revision: Some(revision), ..self.found(what, Spot::Name) });
        }
    }
}

fn is_a_tenants(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(address) if model::identity::is_a_tenants(address))
}

fn distinct<'a>(revisions: impl Iterator<Item = &'a Revision>) -> Vec<Revision> {
    let mut kept: Vec<Revision> = Vec::new();
    for revision in revisions {
        if !kept.contains(revision) {
            kept.push(revision.clone());
        }
    }
    kept
}
