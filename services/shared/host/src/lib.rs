//! Effects that several services use: commands, files, records that survive a kill, turns, places, what the machine has
//! room for and confines with, the service manager, and repositories' work trees.

pub mod capacity;
pub mod command;
pub mod confinement;
pub mod files;
pub mod inside;
pub mod lanes;
pub mod lines;
pub mod records;
pub mod systemd;
pub mod turns;
pub mod worktree;
