//! What a person may mean by a word: `8080` is a port, `1234567` a uid or the beginning of a commit.

use model::{Protocol, TenantName, UnitName, network::Port};
use std::net::{IpAddr, SocketAddr};

/// The fewest digits of a commit that mean one.
const SHORTEST_COMMIT: usize = 7;

/// Something that may be meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meaning {
    Tenant(TenantName),
    /// A unit of the host that exists once for each tenant.
    HostUnit(TenantName, &'static str),
    /// What the system repository is looked at by.
    SystemUnit,
    /// A unit in a tenant.
    Unit(UnitName),
    Address(IpAddr, Option<Port>),
    HostPort(Port, Option<Protocol>),
    Link(String),
    Uid(u32),
    /// The beginning of a commit's name.
    Commit(String),
}

/// The host's units that carry a tenant's name: what comes before and after it, and what the unit is.
const UNITS: [(&str, &[&str], &str); 5] = [
    ("git-sync@", &[".service", ".timer"], "by which its repository is looked at"),
    ("bitbuilder-container@", &[".service"], "in which it runs"),
    ("bitbuilder-machine@", &[".service"], "in which it runs"),
    ("bitbuilder-guest@", &[".service", ".socket"], "by which it speaks with the host"),
    ("tenant-", &[".target"], "that stands for it"),
];

/// Everything that `text` may mean.
pub(super) fn meanings(text: &str) -> Vec<Meaning> {
    let mut meanings = Vec::new();
    meanings.extend(text.parse().ok().map(Meaning::Tenant));
    meanings.extend(host_unit(text));
    meanings.extend(text.parse().ok().map(Meaning::Unit));
    if let Ok(address) = text.parse::<IpAddr>() {
        meanings.push(Meaning::Address(address, None));
    }
    if let Ok(socket) = text.parse::<SocketAddr>()
        && let Some(port) = port(&socket.port().to_string())
    {
        meanings.push(Meaning::Address(socket.ip(), Some(port)));
    }
    let (number, protocol) = match text.split_once('/') {
        Some((number, "tcp")) => (number, Some(Protocol::Tcp)),
        Some((number, "udp")) => (number, Some(Protocol::Udp)),
        Some(_) => ("", None),
        None => (text, None),
    };
    meanings.extend(port(number).map(|port| Meaning::HostPort(port, protocol)));
    if text.starts_with("bb-") || text.starts_with("vb-") {
        meanings.push(Meaning::Link(text.to_owned()));
    }
    meanings.extend(text.parse().ok().map(Meaning::Uid));
    let is_commit = (SHORTEST_COMMIT..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
    meanings.extend(is_commit.then(|| Meaning::Commit(text.to_ascii_lowercase())));
    meanings
}

fn port(text: &str) -> Option<Port> {
    text.parse::<i64>().ok()?.try_into().ok()
}

fn host_unit(text: &str) -> Option<Meaning> {
    UNITS.iter().find_map(|(before, after, what)| {
        let rest = text.strip_prefix(before)?;
        let name = after.iter().find_map(|suffix| rest.strip_suffix(suffix))?;
        if *before == "git-sync@" && name == "system" {
            return Some(Meaning::SystemUnit);
        }
        Some(Meaning::HostUnit(name.parse().ok()?, what))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_means_what_it_can() {
        let count = |text| meanings(text).len();
        assert_eq!(meanings("web"), [Meaning::Tenant("web".parse().unwrap())]);
        assert!(
            meanings("git-sync@web.timer")
                .contains(&Meaning::HostUnit("web".parse().unwrap(), "by which its repository is looked at"))
        );
        assert!(meanings("git-sync@system.service").contains(&Meaning::SystemUnit));
        assert_eq!(meanings("8080/udp"), [Meaning::HostPort(8080.try_into().unwrap(), Some(Protocol::Udp))]);
        assert_eq!(meanings("1234567"), [Meaning::Uid(1_234_567), Meaning::Commit("1234567".to_owned())]);
        assert_eq!(meanings("ABCDEF0"), [Meaning::Commit("abcdef0".to_owned())]);
        assert!(
            meanings("10.88.0.2:80")
                .contains(&Meaning::Address("10.88.0.2".parse().unwrap(), Some(80.try_into().unwrap())))
        );
        for nothing in ["", "../x", "80/sctp", "0/tcp", "10.88.0.2:0", "a b", "%s", "-1", "70000/tcp"] {
            assert_eq!(count(nothing), 0, "{nothing:?} means {:?}", meanings(nothing));
        }
    }
}
