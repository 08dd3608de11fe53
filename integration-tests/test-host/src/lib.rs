//! A real systemd host in namespaces: Debian with systemd as PID 1, our package installed, its own network, cgroup and disk. It boots
//! in seconds, is thrown away afterwards, and changes nothing on the machine below. The same host in a virtual machine has a kernel too.

#![allow(
    clippy::disallowed_methods,
    reason = "a tool runs programs on the machine, and waits for them as a person would"
)]

mod apt;
mod cache;
mod command;
mod console;
mod disk;
mod host;
mod images;
mod inside;
mod leftovers;
mod notify;
mod rundir;
mod skip;
mod virtual_machine;

pub use apt::{FOR_IMAGES, require};
pub use cache::{Cache, key};
pub use disk::Disk;
pub use host::{Builder, Host, PACKAGE_VARIABLE, Package};
pub use images::build_images;
pub use inside::{Output, Running, exit_code};
pub use leftovers::{kill_owner, leave, traces};
pub use rundir::{Summary, list, sweep};
pub use skip::{SKIPS_VARIABLE, skip};
pub use virtual_machine::{Bytes, Firmware, VirtualMachine};
