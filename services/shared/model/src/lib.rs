//! What the product talks about: names, sizes, the manifest, the registry, what is desired and what was observed.
//! Pure: no clock, no file system, no network. Text from outside becomes a type here once, and is never checked again.

pub mod admission;
pub mod archive;
pub mod claim;
pub mod config;
pub mod desired;
pub mod diagnostic;
pub mod document;
pub mod export;
pub mod hooks;
pub mod identity;
pub mod interface;
pub mod manifest;
pub mod names;
pub mod network;
pub mod noticing;
pub mod notification;
pub mod observed;
pub mod policy;
pub mod progress;
pub mod record;
pub mod registry;
pub mod remote;
pub mod repository;
pub mod request;
pub mod retention;
pub mod schema;
pub mod secrets;
pub mod security;
pub mod services;
pub mod signer;
pub mod size;
pub mod text;
pub mod time;
pub mod tree;

pub use desired::{DesiredTenant, ExtensionSpec, InstanceSpec, Limits, StorageSpec};
pub use diagnostic::Diagnostic;
pub use hooks::{Hook, HookSpec};
pub use names::{ExtensionName, ImageName, TenantName, UnitName};
pub use network::{Forward, MacAddress, NetworkSpec, Protocol};
pub use noticing::Noticing;
pub use remote::{Mirrors, Remote, RemoteState};
pub use repository::{PushUrl, Reference, RepositoryUrl, Revision};
pub use retention::Retention;
pub use services::ServiceSpec;
pub use size::Size;
