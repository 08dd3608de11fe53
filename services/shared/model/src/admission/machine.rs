//! What a request needs of the machine that it is to run on.

use super::Case;
use crate::{
    diagnostic::Diagnostic,
    document::Document,
    manifest::{Kind, Manifest, Mode},
    names::ImageName,
    path,
    size::Size,
};

/// What could be learnt of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// The base images that are there.
    pub images: Vec<ImageName>,
    /// How much can still be written where the tenants' trees are.
    pub free: Size,
    /// Whether a new root takes no space of its own at first, because the file system shares it with its image.
    pub shares_images: bool,
    /// What one root made from an image takes, where nothing is shared.
    pub image_size: Option<Size>,
    /// systemd's version, if it says so: what is not known refuses nobody.
    pub systemd: Option<u32>,
}

/// The oldest systemd that has what this host needs (io.systemd.Manager, io.systemd.Unit.StartTransient).
pub const OLDEST_SYSTEMD: u32 = 261;
/// What has to stay free whatever a tenant asks for: the journal, the ledger and Git's objects live beside the tenants.
pub const KEPT_FREE: u64 = 256 << 20;

/// systemd's version as its manager or its command says it: `262-1`, `262 (262-1)`, `262.1-2`, `v263` or `262~rc1`.
#[must_use]
pub fn systemd_version(said: &str) -> Option<u32> {
    said.trim_start_matches('v').split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

impl Case<'_> {
    pub(super) fn machine(&self) -> Vec<Diagnostic> {
        let asks = self.asks();
        let mut faults = not_supported(self.document());
        let Some(machine) = self.host.machine else { return faults };
        if let Some(systemd) = machine.systemd.filter(|systemd| *systemd < OLDEST_SYSTEMD) {
            let message = format!("this host has systemd {systemd}; at least {OLDEST_SYSTEMD} is needed");
            faults.push(Diagnostic::of_file(self.document().origin(), &message));
        }
        if !machine.images.contains(&asks.image) {
            let images: Vec<&str> = machine.images.iter().map(AsRef::as_ref).collect();
            let images = if images.is_empty() { "none".to_owned() } else { images.join(", ") };
            faults.extend(
                self.fault(path!["image"], &format!("this host has no image {}; it has: {images}", asks.image)),
            );
        }
        let needed = machine.needs(asks).saturating_add(KEPT_FREE);
        if needed > machine.free.bytes() {
            let message = format!(
                "it would need {} of this host's disk, and {} are free",
                people(needed),
                people(machine.free.bytes())
            );
            faults.extend(self.fault(path!["resources", "storage"], &message));
        }
        faults
    }
}

/// What no host of this version has.
pub(super) fn not_supported(document: &Document<Manifest>) -> Vec<Diagnostic> {
    let asks = &document.content;
    let mut faults = Vec::new();
    if asks.tenant.kind == Kind::Vm {
        let message = "virtual machines are not supported on this host yet; allowed: container";
        faults.push(document.fault(path!["tenant", "type"], message));
    }
    if asks.network.mode != Mode::Nat {
        let message = format!("the network mode {} is not supported on this host yet; allowed: nat", asks.network.mode);
        faults.push(document.fault(path!["network", "mode"], &message));
    }
    faults
}

impl Machine {
    /// How many bytes have to be there before a tenant that asks for this is made: its volumes as declared, and at least a
    /// copy of its image where nothing is shared.
    fn needs(&self, asks: &Manifest) -> u64 {
        let copy = if self.shares_images { 0 } else { self.image_size.map_or(0, Size::bytes) };
        let declared = |size: Option<Size>| size.map_or(0, Size::bytes);
        copy.max(declared(asks.resources.storage.root)).saturating_add(declared(asks.resources.storage.data))
    }
}

/// A number of bytes as people read it, rounded up: `12.5G`.
fn people(bytes: u64) -> String {
    let (unit, name) = if bytes >= 1 << 30 { (1 << 30, "G") } else { (1 << 20, "M") };
    let tenths = bytes.saturating_mul(10).div_ceil(unit);
    format!("{}.{}{name}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemd_says_its_version_as_distributions_write_it() {
        for (text, number) in
            [("262-1", 262), ("262 (262-1)", 262), ("262.1-2", 262), ("v263", 263), ("262~rc1-1", 262)]
        {
            assert_eq!(systemd_version(text), Some(number), "{text}");
        }
        assert_eq!(systemd_version(""), None);
    }
}
