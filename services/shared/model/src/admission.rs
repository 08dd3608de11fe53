//! What a tenant's repository asks for, held against what the host allows it: a desired tenant, or the first reason why
//! not, at its place in metadata.json.

use crate::{
    desired::{DesiredTenant, Limits},
    diagnostic::Diagnostic,
    document::{Document, Step, Step::Element, Step::Field},
    manifest::{Kind, Manifest, Mode},
    names::UnitName,
    network::Forward,
    registry::Entry,
    repository::Revision,
    size::Size,
};
use std::collections::BTreeMap;

/// What a request is held against.
pub struct Host<'a> {
    /// What the registry says of the tenant.
    pub entry: &'a Entry,
    /// The other tenants of this host.
    pub others: &'a [&'a DesiredTenant],
    /// Whether the commit ships a unit under `units/`.
    pub ships: &'a dyn Fn(&UnitName) -> bool,
}

/// Turns the request of `revision` into a desired tenant.
///
/// # Errors
/// The first part of the request that is malformed, not possible on this host, held by another tenant, or over a limit of
/// the registry.
pub fn admit(origin: &str, bytes: &[u8], revision: &Revision, host: &Host<'_>) -> Result<DesiredTenant, Diagnostic> {
    let document: Document<Manifest> = Document::parse(origin, bytes)?;
    let entry = host.entry;
    let request = &document.content;
    let refuse = |path: &[Step<'_>], message: String| Err(document.fault(path, &message));

    if request.tenant.name != entry.name {
        let message = format!("the registry calls this tenant {}, not {}", entry.name, request.tenant.name);
        return refuse(&[Field("tenant"), Field("name")], message);
    }
    if request.tenant.kind == Kind::Vm {
        let message = "virtual machines are not supported on this host yet; allowed: container".to_owned();
        return refuse(&[Field("tenant"), Field("type")], message);
    }
    if request.network.mode != Mode::Nat {
        let message = "this network mode is not supported on this host yet; allowed: nat".to_owned();
        return refuse(&[Field("network"), Field("mode")], message);
    }
    within_limits(&document, entry)?;
    forwards_are_distinct_and_allowed(&document, entry)?;
    forwards_are_free(&document, host)?;
    if let Some(index) = request.services.systemd.iter().position(|unit| !(host.ships)(unit)) {
        let message = format!("the repository has no file units/{}", request.services.systemd[index]);
        return refuse(&[Field("services"), Field("systemd"), Element(index)], message);
    }

    Ok(DesiredTenant {
        name: entry.name.clone(),
        revision: revision.clone(),
        enabled: request.tenant.enabled,
        image: request.image.clone(),
        limits: Limits {
            // Who asks for nothing gets what the registry allows, not everything.
            cpu_cores: request.resources.cpu.cores.map(|cores| cores.number()).or(entry.limits.cpu.cores),
            cpu_weight: request.resources.cpu.shares.map(|shares| cpu_weight(shares.number())),
            memory: request.resources.memory.limit.or(entry.limits.memory.limit),
            swap: request.resources.memory.swap.or(entry.limits.memory.swap),
        },
        forwards: request.network.forward.clone(),
        sysext: distinct(&request.extensions.sysext),
        services: distinct(&request.services.systemd),
        not_in_effect: not_in_effect(request, entry),
    })
}

/// CPUWeight= for cgroup v1 style shares: 1024 shares are the default weight of 100.
fn cpu_weight(shares: u32) -> u32 {
    (shares.saturating_mul(100) / 1024).clamp(1, 10_000)
}

fn distinct<T: Clone + PartialEq>(items: &[T]) -> Vec<T> {
    let mut kept: Vec<T> = Vec::new();
    for item in items {
        if !kept.contains(item) {
            kept.push(item.clone());
        }
    }
    kept
}

fn within_limits(document: &Document<Manifest>, entry: &Entry) -> Result<(), Diagnostic> {
    let (asked, most) = (&document.content.resources, &entry.limits);
    if let (Some(asked), Some(most)) = (asked.cpu.cores, most.cpu.cores)
        && asked.number() > most
    {
        let message =
            format!("{} cores are more than the {most} that the registry allows {}", asked.number(), entry.name);
        return Err(document.fault(&[Field("resources"), Field("cpu"), Field("cores")], &message));
    }
    let sizes: [(&str, &str, Option<Size>, Option<Size>); 4] = [
        ("memory", "limit", asked.memory.limit, most.memory.limit),
        ("memory", "swap", asked.memory.swap, most.memory.swap),
        ("storage", "root", asked.storage.root, most.storage.root),
        ("storage", "data", asked.storage.data, most.storage.data),
    ];
    for (group, field, asked, most) in sizes {
        match (asked, most) {
            (Some(asked), Some(most)) if asked > most => {
                let message = format!("{asked} is more than the {most} that the registry allows {}", entry.name);
                return Err(document.fault(&[Field("resources"), Field(group), Field(field)], &message));
            }
            _ => {}
        }
    }
    Ok(())
}

fn forwards_are_distinct_and_allowed(document: &Document<Manifest>, entry: &Entry) -> Result<(), Diagnostic> {
    let mut seen = BTreeMap::new();
    for (index, forward) in document.content.network.forward.iter().enumerate() {
        let path = [Field("network"), Field("forward"), Element(index), Field("host")];
        if seen.insert((forward.protocol, forward.host), index).is_some() {
            let message = format!("the host's {} port {} is forwarded twice", forward.protocol, forward.host);
            return Err(document.fault(&path, &message));
        }
        if !entry.limits.ports.iter().any(|range| range.contains(forward.host.number())) {
            let allowed: Vec<String> = entry.limits.ports.iter().map(|range| String::from(*range)).collect();
            let allowed = if allowed.is_empty() { "none".to_owned() } else { allowed.join(", ") };
            let message = format!(
                "the registry does not allow {} the host's port {}; allowed: {allowed}",
                entry.name, forward.host
            );
            return Err(document.fault(&path, &message));
        }
    }
    Ok(())
}

/// What is asked for, valid, and without effect here: said in `status` rather than passed over.
fn not_in_effect(request: &Manifest, entry: &Entry) -> Vec<String> {
    let fields = [
        ("resources.storage", request.resources.storage != crate::manifest::Storage::default()),
        ("limits.storage of the registry", entry.limits.storage != crate::registry::StorageLimits::default()),
        ("network.interfaces", !request.network.interfaces.is_empty()),
        ("extensions.confext", !request.extensions.confext.is_empty()),
        ("services.portable", !request.services.portable.is_empty()),
        ("security", request.security != crate::manifest::Security::default()),
    ];
    fields.iter().filter(|(_, asked)| *asked).map(|(field, _)| (*field).to_owned()).collect()
}

fn forwards_are_free(document: &Document<Manifest>, host: &Host<'_>) -> Result<(), Diagnostic> {
    let others = || host.others.iter().filter(|other| other.name != host.entry.name && other.enabled);
    for (index, forward) in document.content.network.forward.iter().enumerate() {
        let taken = |held: &Forward| held.host == forward.host && held.protocol == forward.protocol;
        if others().any(|other| other.forwards.iter().any(taken)) {
            // Whose it is, is not this tenant's business.
            let message =
                format!("the host's {} port {} is forwarded to another tenant already", forward.protocol, forward.host);
            return Err(document.fault(&[Field("network"), Field("forward"), Element(index), Field("host")], &message));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const REVISION: &str = "0123456789abcdef0123456789abcdef01234567";

    fn entry() -> Entry {
        let text = r#"{"name": "web", "repository": "git://h/web", "limits": {"cpu": {"cores": 2}, "memory": {"limit": "1G"}, "ports": ["8080-8081"]}}"#;
        serde_json::from_str(text).unwrap()
    }

    fn admitted(text: &str) -> Result<DesiredTenant, Diagnostic> {
        beside(text, &[])
    }

    fn beside(text: &str, others: &[&DesiredTenant]) -> Result<DesiredTenant, Diagnostic> {
        let host = Host { entry: &entry(), others, ships: &|unit| unit.as_str() == "a.service" };
        admit("web:metadata.json", text.as_bytes(), &REVISION.parse().unwrap(), &host)
    }

    fn with(extra: &str) -> String {
        format!(
            "{{\"version\": \"1.0\", \"tenant\": {{\"name\": \"web\", \"type\": \"container\"}}, \"image\": \"debian\"{extra}}}"
        )
    }

    #[test]
    fn a_request_within_its_limits_is_admitted() {
        let text = with(
            r#", "resources": {"cpu": {"cores": 2, "shares": 2048}, "memory": {"limit": "1G"}}, "network": {"forward": [{"host": 8080, "tenant": 80}]}, "services": {"systemd": ["a.service", "a.service"]}, "security": {"capabilities": ["CAP_NET_ADMIN"]}"#,
        );
        let tenant = admitted(&text).unwrap();
        assert!(tenant.enabled);
        assert_eq!(tenant.limits.cpu_weight, Some(200));
        assert_eq!(tenant.services.len(), 1);
        assert_eq!(tenant.not_in_effect, ["security"]);
        assert_eq!((tenant.limits.cpu_cores, tenant.limits.memory), (Some(2), "1G".parse().ok()));
        let modest = admitted(&with("")).unwrap().limits;
        assert_eq!(
            (modest.cpu_cores, modest.memory),
            (Some(2), "1G".parse().ok()),
            "who asks for nothing is not limited"
        );
    }

    #[test]
    fn every_refusal_names_its_place_and_what_is_allowed() {
        let refusals: Vec<String> = [
            with(r#", "resources": {"cpu": {"cores": 4}}"#),
            with(r#", "resources": {"memory": {"limit": "2G"}}"#),
            with(r#", "resources": {"memory": {"limit": "-1"}}"#),
            with(r#", "resources": {"memory": {"limit": "9E"}}"#),
            with(r#", "network": {"mode": "host"}"#),
            with(r#", "network": {"forward": [{"host": 22, "tenant": 22}]}"#),
            with(r#", "network": {"forward": [{"host": 8080, "tenant": 80}, {"host": 8080, "tenant": 81}]}"#),
            with(r#", "network": {"forward": [{"host": 0, "tenant": 80}]}"#),
            with(r#", "services": {"systemd": ["a.service", "b.service"]}"#),
            with(r#", "surprise": 1"#),
            with(r#", "image": "debian""#),
            with("").replace("\"web\"", "\"mail\""),
            with("").replace("\"web\"", "\"..\""),
            with("").replace("container", "vm"),
            with("").replace("container", "jail"),
            with("").replace("1.0", "2.0"),
            "{\"version\": \"1.0\"".to_owned(),
            "{\"version\": \"1.0\"}".to_owned(),
        ]
        .iter()
        .map(|text| admitted(text).unwrap_err().to_string())
        .collect();
        insta::assert_snapshot!(refusals.join("\n"));
    }

    #[test]
    fn a_port_that_another_tenant_holds_is_refused() {
        let text = with(r#", "network": {"forward": [{"host": 8080, "tenant": 80}]}"#);
        let own = admitted(&text).unwrap();
        assert!(beside(&text, &[&own]).is_ok(), "a tenant stood in its own way");
        let other = DesiredTenant { name: "mail".parse().unwrap(), ..own };
        let refused = beside(&text, &[&other]).unwrap_err();
        assert_eq!(refused.message, "the host's tcp port 8080 is forwarded to another tenant already");
        let disabled = DesiredTenant { enabled: false, ..other };
        assert!(beside(&text, &[&disabled]).is_ok());
    }
}
