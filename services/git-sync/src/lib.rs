//! Mirrors repositories and makes immutable checkouts of their commits. The service answers calls; the work with what a
//! server sent is done by a bounded child, one per errand, that is killed when it takes too long.

mod checkout;
pub mod client;
mod credentials;
pub mod errand;
mod fetch;
mod place;
mod prune;
mod record;
mod session;
mod transport;
mod tree;
mod trust;

pub use errand::Errands;
pub use session::Session;
pub use tree::Bounds;

/// Where the mirrors and checkouts are.
pub const ROOT: &str = "/var/lib/bitbuilder/git";
