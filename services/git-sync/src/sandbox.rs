//! What files a child of ours may reach, whatever a server makes of it (landlock(7)): it, and what it starts, reads the system
//! and what its errand needs, and writes to one repository's directory. A kernel without that does without.

use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, Scope,
    path_beneath_rules,
};
use std::{fs, io, path::PathBuf};

/// The newest of Landlock's interfaces that is asked for; an older kernel gives what it has.
const NEWEST: ABI = ABI::V6;
/// What programs are made of, how they find users and servers, and what they know of themselves. Neither /run, where
/// credentials are, nor /var.
const SYSTEM: [&str; 11] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib64",
    "/etc",
    "/proc",
    "/sys/devices/system/cpu",
    "/run/systemd/resolve",
    "/run/systemd/userdb",
    "/run/nscd",
];
/// Devices that hold nothing.
const DEVICES: [&str; 5] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];
/// Where an administrator may have put what https servers are known by.
const AUTHORITIES: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// Files and directories, with what is below them.
#[derive(Debug, Default)]
pub(crate) struct Allowed {
    pub(crate) read: Vec<PathBuf>,
    pub(crate) write: Vec<PathBuf>,
}

/// Lets this thread, and what it starts from now on, reach no other files, and signal and call nobody outside. What is not
/// there cannot be reached either.
pub(crate) fn restrict(allowed: &Allowed) -> io::Result<()> {
    restricted(allowed).map_err(io::Error::other)
}

fn restricted(allowed: &Allowed) -> Result<(), RulesetError> {
    let (all, read) = (AccessFs::from_all(NEWEST), AccessFs::from_read(NEWEST));
    let authorities = AUTHORITIES.iter().filter_map(|name| std::env::var_os(name).map(PathBuf::from));
    // Often a link to a file below /run.
    let resolver = fs::canonicalize("/etc/resolv.conf").ok();
    Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(all)?
        .scope(Scope::from_all(NEWEST))?
        .create()?
        .add_rules(path_beneath_rules(SYSTEM, read))?
        .add_rules(path_beneath_rules(authorities.chain(resolver), read))?
        .add_rules(path_beneath_rules(DEVICES, AccessFs::ReadFile | AccessFs::WriteFile))?
        .add_rules(path_beneath_rules(&allowed.read, read))?
        .add_rules(path_beneath_rules(&allowed.write, all))?
        .restrict_self()
        .map(drop)
}

/// Whether this kernel confines at all.
#[must_use]
pub fn is_there() -> bool {
    let asked =
        Ruleset::default().set_compatibility(CompatLevel::HardRequirement).handle_access(AccessFs::from_all(ABI::V1));
    asked.and_then(Ruleset::create).is_ok()
}
