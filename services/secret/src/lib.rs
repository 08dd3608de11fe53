//! Opens what was sealed to this host: the one process that has the secret halves of the host's keys. Also makes and removes
//! keys, which the service manager keeps encrypted and gives to that process alone.

pub mod keys;
pub mod session;
pub mod store;
