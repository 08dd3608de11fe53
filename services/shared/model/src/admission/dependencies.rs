//! Tenants that wait for others: all are there, and none waits for itself in the end.

use super::Case;
use crate::{diagnostic::Diagnostic, names::TenantName, path};
use std::collections::BTreeSet;

impl Case<'_> {
    pub(super) fn dependencies(&self) -> Vec<Diagnostic> {
        let wanted = self.asks().depends_on.iter().enumerate();
        let missing = wanted.filter(|(_, other)| !self.host.registered.contains(*other));
        missing
            .flat_map(|(index, other)| {
                self.fault(path!["dependsOn", index], &format!("no tenant {other} is registered on this host"))
            })
            .collect()
    }

    pub(super) fn cycles(&self) -> Vec<Diagnostic> {
        let own = &self.registration.name;
        let wanted = self.asks().depends_on.iter().enumerate();
        wanted
            .filter_map(|(index, other)| {
                let mut way = vec![own.clone(), other.clone()];
                self.leads_back(&mut way, &mut BTreeSet::new()).then(|| {
                    let way: Vec<&str> = way.iter().map(AsRef::as_ref).collect();
                    self.document().fault(
                        path!["dependsOn", index],
                        &format!("tenants would wait for each other: {}", way.join(" → ")),
                    )
                })
            })
            .collect()
    }

    /// Whether the last tenant of `way` depends, over others, on the first. `way` is then the whole circle.
    fn leads_back(&self, way: &mut Vec<TenantName>, seen: &mut BTreeSet<TenantName>) -> bool {
        let Some(last) = way.last().cloned() else { return false };
        let Some(other) = self.host.others.iter().find(|other| other.name == last) else { return false };
        for next in &other.depends_on {
            if Some(next) == way.first() {
                way.push(next.clone());
                return true;
            }
            if seen.insert(next.clone()) {
                way.push(next.clone());
                if self.leads_back(way, seen) {
                    return true;
                }
                way.pop();
            }
        }
        false
    }
}
