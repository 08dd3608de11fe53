//! Mirrors repositories and makes immutable checkouts of their commits. The service answers calls; the work with what a
//! server sent is done by a bounded child, one per errand, that is killed when it takes too long. One more child only asks servers what is
//! new, for all.

mod bundle;
mod checkout;
pub mod client;
mod confine;
mod credentials;
mod damage;
pub mod errand;
mod export;
mod fault;
mod fetch;
mod forget;
mod git;
mod glance;
mod health;
mod import;
mod login;
pub mod looker;
mod looks;
mod mirror;
mod place;
mod prune;
mod push;
mod quiet;
mod record;
mod remotes;
mod sandbox;
mod seed;
mod session;
mod several;
mod tidy;
mod transport;
mod tree;
mod trust;

pub use errand::Errands;
pub use sandbox::is_there as is_confined;
pub use session::Session;

/// Where the mirrors and checkouts are.
pub const ROOT: &str = "/var/lib/bitbuilder/git";
