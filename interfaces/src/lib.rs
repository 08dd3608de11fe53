//! The contracts: the hand-written .varlink files are the truth; the Rust twins here are compared with them by a test,
//! and every incoming call is checked against them before a service sees it.

pub mod access;
pub mod contract;
pub mod extension;
pub mod git_sync;
pub mod guest;
mod macros;
pub mod network;
pub mod notification;
pub mod orchestrator;
pub mod secret;
pub mod shape;
mod shapes;
pub mod storage;
pub mod tenant;

pub use contract::{Contract, Method};
pub use shape::{Shape, Shaped};

/// Every contract of the product, one per service.
pub static ALL: [&Contract; 9] = [
    &git_sync::CONTRACT,
    &tenant::CONTRACT,
    &network::CONTRACT,
    &storage::CONTRACT,
    &extension::CONTRACT,
    &secret::CONTRACT,
    &notification::CONTRACT,
    &orchestrator::CONTRACT,
    &guest::CONTRACT,
];
