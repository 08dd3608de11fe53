//! Twins of io.bitbuilder.Storage.

use crate::macros::{contract, errors, object};
use model::{ImageName, StorageSpec, TenantName};

object! {
    /// What is held for one tenant.
    Volumes { tenant: TenantName, generation: u64, spec: StorageSpec, path: String, intact: bool, subvolume: bool }
    /// A base image.
    Image { name: ImageName, shared: bool, size: Option<u64> }
    /// Shows images and room.
    Describe {}
    /// Images and room.
    Described { images: Vec<Image>, free: u64 }
    /// Makes a tenant's tree and root match.
    Ensure { tenant: TenantName, generation: u64, spec: StorageSpec }
    /// Whether anything was changed.
    Changed { changed: bool }
    /// Shows what is held.
    List { tenant: Option<TenantName> }
    /// What is held.
    Listed { volumes: Vec<Volumes> }
}

errors! {
    NoSuchImage { image: ImageName } = "the host has no base image {image}; images are directories below /var/lib/machines"
    StaleGeneration { generation: u64, current: u64 } = "generation {generation} is older than {current}, which this tenant's storage was last changed with"
    InUse { tenant: TenantName } = "{tenant} runs, and a new root needs it stopped"
    Failed { action: String, reason: String } = "cannot {action}: {reason}"
}

contract! { "io.bitbuilder.Storage", "io.bitbuilder.Storage.varlink", Error,
    Ensure => Changed, Mutate, Ignored;
    List => Listed, Read, Supported;
    Describe => Described, Read, Ignored;
}
