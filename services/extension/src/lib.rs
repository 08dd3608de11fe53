//! Checks and mounts the tenants' system extensions: each image once for the host, shown to each tenant that has it by a
//! link in the tenant's tree.

pub mod extensions;
pub mod images;
pub mod links;
pub mod mounts;
pub mod release;
mod session;

pub use extensions::{ExtensionError, Extensions, Paths};
pub use session::Session;
