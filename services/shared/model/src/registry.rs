//! tenants/registry.json of the system repository: which tenants there are, where each one's repository is, and what it
//! may ask for at most.

use crate::{
    diagnostic::Diagnostic,
    document::{Document, Step},
    manifest::Version,
    names::TenantName,
    repository::{Reference, RepositoryUrl},
    size::Size,
    text::InvalidText,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registry {
    /// The format's version.
    pub version: Version,
    /// The tenants.
    pub tenants: Vec<Entry>,
}

/// One tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its name, the same as in its metadata.json.
    pub name: TenantName,
    /// Where its repository is.
    pub repository: RepositoryUrl,
    /// Which reference counts.
    #[serde(default = "Reference::main")]
    pub reference: Reference,
    /// What it may ask for.
    #[serde(default)]
    pub limits: Limits,
}

/// What a tenant may ask for at most. Nothing said means no limit, except for ports: none may be forwarded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Processors.
    pub cpu: CpuLimits,
    /// Memory.
    pub memory: MemoryLimits,
    /// Storage.
    pub storage: StorageLimits,
    /// Ports of the host that it may forward.
    pub ports: Vec<PortRange>,
}

/// Most processors.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CpuLimits {
    /// Cores.
    pub cores: Option<u32>,
}

/// Most memory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MemoryLimits {
    /// Memory.
    pub limit: Option<Size>,
    /// Swap.
    pub swap: Option<Size>,
}

/// Most storage.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StorageLimits {
    /// Root volume.
    pub root: Option<Size>,
    /// Data volume.
    pub data: Option<Size>,
}

/// A port, or a range of ports, written `8080` or `8080-8099`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// Whether `port` is in the range.
    #[must_use]
    pub fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }
}

impl TryFrom<String> for PortRange {
    type Error = InvalidText;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let (first, last) = text.split_once('-').unwrap_or((&text, &text));
        let number =
            |digits: &str| digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<u16>().ok()).flatten();
        match (number(first), number(last)) {
            (Some(first), Some(last)) if 0 < first && first <= last => Ok(Self { first, last }),
            _ => Err(InvalidText::new(
                &text,
                "a range of ports",
                "a port from 1 to 65535, or two joined by '-', the lower first",
            )),
        }
    }
}

impl From<PortRange> for String {
    fn from(range: PortRange) -> Self {
        if range.first == range.last { range.first.to_string() } else { format!("{}-{}", range.first, range.last) }
    }
}

impl Registry {
    /// Reads the file `origin` of the system repository.
    ///
    /// # Errors
    /// The first fault, at its place; two tenants of one name are one.
    pub fn parse(origin: &str, bytes: &[u8]) -> Result<Document<Self>, Diagnostic> {
        let document: Document<Self> = Document::parse(origin, bytes)?;
        let mut seen = BTreeMap::new();
        for (index, entry) in document.content.tenants.iter().enumerate() {
            let path = |index| [Step::Field("tenants"), Step::Element(index), Step::Field("name")];
            if let Some(first) = seen.insert(&entry.name, index) {
                let message =
                    format!("the tenant {} is registered already, at {}", entry.name, document.place(&path(first)));
                return Err(document.fault(&path(index), &message));
            }
        }
        Ok(document)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_tenants_of_one_name_are_refused_with_both_places() {
        let text = "{\"version\": \"1.0\", \"tenants\": [\n  {\"name\": \"web\", \"repository\": \"git://h/web\"},\n  {\"name\": \"web\", \"repository\": \"git://h/other\"}\n]}";
        let fault = Registry::parse("system:tenants/registry.json", text.as_bytes()).unwrap_err();
        assert_eq!(
            fault.to_string(),
            "system:tenants/registry.json:3:12: the tenant web is registered already, at system:tenants/registry.json:2"
        );
    }

    #[test]
    fn port_ranges_follow_the_rule() {
        for good in ["80", "8080-8099", "1-65535"] {
            assert_eq!(String::from(PortRange::try_from(good.to_owned()).unwrap()), good);
        }
        for bad in ["", "0", "65536", "90-80", "-", "80-", "80-90-100", "+80", " 80"] {
            assert!(PortRange::try_from(bad.to_owned()).is_err(), "{bad:?} was accepted");
        }
    }
}
