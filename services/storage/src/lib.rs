//! Makes the tenants' directory trees below /var/lib/tenants, each with a root made from a base image: a Btrfs snapshot
//! where it can be one, a copy elsewhere.

mod archives;
mod backend;
mod images;
pub mod instances;
pub mod layout;
mod pack;
mod remove;
mod restore;
mod session;
mod tree;
pub mod volumes;

pub use pack::is_confined;
pub use session::Session;
pub use volumes::{Paths, VolumeError, Volumes};
