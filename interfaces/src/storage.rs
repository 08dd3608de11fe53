//! Twins of io.bitbuilder.Storage.

use crate::macros::{contract, errors, object};
use model::{ImageName, StorageSpec, TenantName, archive::Manifest, secrets::Digest};

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
    /// Packs a tenant's data into one file.
    Archive { tenant: TenantName, generation: u64, manifest: Manifest }
    /// Where it is.
    Archived { changed: bool, path: String }
    /// Removes a tenant's tree.
    Remove { tenant: TenantName, generation: u64 }
    /// Unpacks an archive.
    Import { tenant: TenantName, file_descriptor_index: u32, sha256: Option<Digest>, force: Option<bool> }
    /// Where, and whose it was.
    Imported { path: String, manifest: Manifest }
    /// Shows archives.
    ListArchives { tenant: Option<TenantName> }
    /// A file with the data of a tenant that left.
    ArchiveFile { tenant: TenantName, left: String, path: String, bytes: u64 }
    /// Archives.
    Archives { archives: Vec<ArchiveFile> }
    /// Shows what is held.
    List { tenant: Option<TenantName> }
    /// What is held.
    Listed { volumes: Vec<Volumes> }
}

errors! {
    NoSuchImage { image: ImageName } = "the host has no base image {image}; images are directories below /var/lib/machines"
    StaleGeneration { generation: u64, current: u64 } = "generation {generation} is older than {current}, which this tenant's storage was last changed with"
    InUse { tenant: TenantName } = "{tenant} runs, and has to be stopped for that"
    NotOwned { tenant: TenantName, path: String } = "{path} does not bear the mark of {tenant}: nothing of it is removed"
    NoRoom { needed: u64, free: u64 } = "there is not enough room: it takes up to {needed} bytes, and {free} are free"
    DataThere { tenant: TenantName } = "{tenant} has data already; with --force it is moved aside, to data.before"
    RefusedArchive { reason: String } = "the archive is not used: {reason}"
    Failed { action: String, reason: String } = "cannot {action}: {reason}"
}

contract! { "io.bitbuilder.Storage", "io.bitbuilder.Storage.varlink", Error,
    Ensure => Changed, Mutate, Ignored;
    Archive => Archived, Mutate, Ignored;
    Remove => Changed, Mutate, Ignored;
    Import => Imported, Administer, Ignored;
    ListArchives => Archives, Read, Supported;
    List => Listed, Read, Supported;
    Describe => Described, Read, Ignored;
}
