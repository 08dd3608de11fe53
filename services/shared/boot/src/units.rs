//! The units of a tenant that are files of their own, by name and text. Whatever is not fixed in them is a checked name or a
//! number of seconds, in which there is nothing that systemd would read as more.

use model::{TenantName, Wake, names::RepositoryName};
use std::collections::BTreeSet;

/// What a drop-in of ours is called in its unit's directory.
pub const DROP_IN: &str = "50-bitbuilder.conf";
/// Where a tenant's record is.
pub const STATE: &str = "/var/lib/bitbuilder/boot";
/// The program that makes units of it at boot.
pub const GENERATOR: &str = "/usr/lib/systemd/system-generators/tenant-generator";
/// Starts the timers of all repositories.
pub const POLLING: &str = "bitbuilder-polling.service";
/// Starts the sockets of all tenants that are woken.
pub const LISTENING: &str = "bitbuilder-listening.service";
/// Says what of the state could not be used.
pub const FAULTS: &str = "bitbuilder-boot-state.service";
/// Starts the tenants when their state comes later than the boot's units are made.
pub const LATE: &str = "bitbuilder-late.service";
/// What it starts.
pub const LATE_TARGET: &str = "bitbuilder-late.target";

/// How many units one command starts: a line and a command line have an end.
const STARTED: usize = 500;

/// What a tenant is wanted, started and stopped by.
#[must_use]
pub fn target(tenant: &TenantName) -> String {
    format!("tenant-{tenant}.target")
}

/// The unit that is a tenant's process tree.
#[must_use]
pub fn container(tenant: &TenantName) -> String {
    format!("bitbuilder-container@{tenant}.service")
}

/// What listens on the ports that wake a tenant.
#[must_use]
pub fn wake_socket(tenant: &TenantName) -> String {
    format!("bitbuilder-wake@{tenant}.socket")
}

/// What a connection to these ports starts, and the tenant with it.
#[must_use]
pub fn wake_service(tenant: &TenantName) -> String {
    format!("bitbuilder-wake@{tenant}.service")
}

/// The unit that asks for looks at a repository.
#[must_use]
pub fn timer(repository: &RepositoryName) -> String {
    format!("git-sync@{repository}.timer")
}

/// A tenant's target. It wants the container and does not bind to it: a container that is restarted leaves it alone. What is
/// told to the target reaches the container by PartOf= there.
#[must_use]
pub fn target_text(tenant: &TenantName, depends_on: &BTreeSet<TenantName>) -> String {
    let container = container(tenant);
    let mut text = format!(
        "[Unit]\nDescription=BitBuilder tenant {tenant} and what belongs to it\nWants={container}\nAfter={container}\n"
    );
    for other in depends_on.iter().map(target) {
        text.push_str(&format!("Wants={other}\nAfter={other}\n"));
    }
    text
}

/// What a tenant's container waits for besides what its template says; nothing if there is nothing. It is an order and no
/// condition: what it waits for may have failed, or never be started.
#[must_use]
pub fn order_text(depends_on: &BTreeSet<TenantName>, extended: bool) -> Option<String> {
    if depends_on.is_empty() && !extended {
        return None;
    }
    let mut text = "[Unit]\n".to_owned();
    if extended {
        // It mounts again what a boot took away.
        text.push_str("Wants=bitbuilder-extension.service\nAfter=bitbuilder-extension.service\n");
    }
    for other in depends_on.iter().map(container) {
        text.push_str(&format!("After={other}\n"));
    }
    Some(text)
}

/// Which ports wake a tenant: on each IPv4 address of the host. Where they lead is said too, so that another text is another
/// way (X- is nothing to systemd, systemd.unit(5)).
#[must_use]
pub fn listen_text(wake: &Wake) -> String {
    let mut text = "[Socket]\n".to_owned();
    for forward in &wake.forwards {
        text.push_str(&format!("ListenStream=0.0.0.0:{}\nX-LeadsTo={}\n", forward.host, forward.tenant));
    }
    text
}

/// Starts units, and wants none of them: one that a loaded unit wants stays loaded itself when it is stopped, and would not
/// read what it is told anew without a reload of PID 1.
pub(crate) fn starting_text(what: &str, units: &[String]) -> String {
    let start: String = units
        .chunks(STARTED)
        .map(|units| format!("ExecStart=systemctl start --no-block {}\n", units.join(" ")))
        .collect();
    format!("[Unit]\nDescription=BitBuilder {what}\n\n[Service]\nType=oneshot\nRemainAfterExit=yes\n{start}")
}

/// Says in the journal what of the state could not be used, and never fails: a boot is not to be called degraded for it.
pub(crate) fn faults_text(count: usize) -> String {
    format!(
        "\
[Unit]
Description=BitBuilder boot state, of which {count} could not be used
RequiresMountsFor={STATE}

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={GENERATOR} --check
CapabilityBoundingSet=
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
PrivateNetwork=yes
"
    )
}

/// Makes the units when the state is there, and starts what wants them all: PID 1 knows none of them yet, and needs no reload.
pub(crate) fn late_text() -> String {
    format!(
        "\
[Unit]
Description=BitBuilder tenants whose state came late
RequiresMountsFor={STATE}
After=local-fs.target
ConditionDirectoryNotEmpty={STATE}

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={GENERATOR} --late /run/systemd/system
ExecStart=systemctl start --no-block {LATE_TARGET}
"
    )
}

pub(crate) fn late_target_text<'a>(wanted: impl Iterator<Item = &'a str>) -> String {
    let wanted: String = wanted.map(|unit| format!("Wants={unit}\n")).collect();
    format!("[Unit]\nDescription=BitBuilder tenants whose state came late\n{wanted}")
}
