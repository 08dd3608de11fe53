//! Effects that several services use: commands, files, records that survive a kill, turns, places, the service manager,
//! and repositories' work trees.

pub mod command;
pub mod files;
pub mod lanes;
pub mod lines;
pub mod records;
pub mod systemd;
pub mod turns;
pub mod worktree;
