//! Starts, stops and looks after the tenants' processes: one systemd-nspawn container each, in a unit of its own that
//! outlives this service.

pub mod blame;
mod change;
pub mod containers;
mod ending;
pub mod fault;
pub mod health;
pub mod held;
pub mod hooks;
mod inside;
pub mod journal;
pub mod limits;
pub mod log;
pub mod manager;
pub mod paths;
pub mod polling;
mod provision;
pub mod repository_units;
pub mod reserved;
pub mod run;
pub mod session;
pub mod sleep;
pub mod targets;
pub mod text;
mod unit_files;
pub mod units;
mod view;
