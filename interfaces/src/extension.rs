//! Twins of io.bitbuilder.Extension.

use crate::macros::{contract, errors, object};
use model::{ExtensionName, ExtensionSpec, TenantName};

object! {
    /// What is held for one tenant.
    Layers { tenant: TenantName, generation: u64, spec: ExtensionSpec, intact: bool }
    /// Makes a tenant's layers match.
    Ensure { tenant: TenantName, generation: u64, spec: ExtensionSpec }
    /// Removes a tenant's layers.
    Remove { tenant: TenantName, generation: u64 }
    /// Whether anything was changed.
    Changed { changed: bool }
    /// Shows what is held.
    List { tenant: Option<TenantName> }
    /// What is held.
    Listed { layers: Vec<Layers> }
}

errors! {
    NoSuchExtension { name: ExtensionName } = "the host has no extension image {name}; images are NAME.raw below /var/lib/bitbuilder/images/sysext or /usr/lib/extensions"
    InvalidImage { name: ExtensionName, reason: String } = "the extension image {name} cannot be used: {reason}"
    Incompatible { name: ExtensionName, wants: String, tenant: String } = "the extension {name} was made for {wants}, and the tenant is {tenant}"
    StaleGeneration { generation: u64, current: u64 } = "generation {generation} is older than {current}, which this tenant's layers were last changed with"
    Failed { action: String, reason: String } = "cannot {action}: {reason}"
}

contract! { "io.bitbuilder.Extension", "io.bitbuilder.Extension.varlink", Error,
    Ensure => Changed, Mutate, Ignored;
    Remove => Changed, Mutate, Ignored;
    List => Listed, Read, Supported;
}
