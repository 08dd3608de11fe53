//! What confines a tenant beyond what always does, and the words of the kernel's and systemd's that it is written in.

use crate::text::checked_text;
use serde::{Deserialize, Serialize};

/// The most system calls that a tenant can name: more than any kernel has, and few enough for one argument of a program.
pub const MOST_SYSCALLS: usize = 1024;

/// What a tenant is started with, once a policy has narrowed it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Security {
    /// Capabilities in its user namespace besides those of every container.
    pub capabilities: Vec<Capability>,
    /// System calls allowed besides those of every container.
    pub allow: Vec<Syscalls>,
    /// System calls refused, also if they are allowed as well.
    pub deny: Vec<Syscalls>,
    /// Whether no program of it gains rights by being executed (prctl(2), PR_SET_NO_NEW_PRIVS).
    pub no_new_privileges: bool,
    /// The SELinux context of its processes, where the host has SELinux.
    pub selinux_context: Option<SelinuxContext>,
    /// The AppArmor profile of its processes, where the host has AppArmor.
    pub apparmor_profile: Option<ApparmorProfile>,
}

/// Which security modules a host's kernel runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SecurityModules {
    /// SELinux.
    pub selinux: bool,
    /// AppArmor.
    pub apparmor: bool,
}

/// capabilities(7), in the kernel's order; a test on a host holds this against `systemd-analyze capability`.
pub const CAPABILITIES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// systemd.exec(5), SystemCallFilter=; a test on a host holds this against `systemd-analyze syscall-filter`.
pub const SYSCALL_GROUPS: [&str; 30] = [
    "@aio",
    "@basic-io",
    "@chown",
    "@clock",
    "@cpu-emulation",
    "@debug",
    "@default",
    "@file-system",
    "@io-event",
    "@ipc",
    "@keyring",
    "@known",
    "@memlock",
    "@module",
    "@mount",
    "@network-io",
    "@obsolete",
    "@pkey",
    "@privileged",
    "@process",
    "@raw-io",
    "@reboot",
    "@resources",
    "@sandbox",
    "@setuid",
    "@signal",
    "@swap",
    "@sync",
    "@system-service",
    "@timer",
];

checked_text!(
    /// A capability, by its name in capabilities(7).
    Capability,
    "a capability",
    "a name from capabilities(7), as CAP_NET_ADMIN",
    |text| CAPABILITIES.contains(&text),
    schema { "enum": CAPABILITIES.as_slice() }
);

checked_text!(
    /// A system call, or a group of them.
    Syscalls,
    "a system call",
    "a name from syscalls(2), or a group from systemd.exec(5), as @basic-io",
    |text| match text.strip_prefix('@') {
        Some(_) => SYSCALL_GROUPS.contains(&text),
        None => {
            (1..=40).contains(&text.len())
                && text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
                && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        }
    },
    schema { "anyOf": [{ "pattern": "^[a-z_][a-z0-9_]{0,39}$" }, { "enum": SYSCALL_GROUPS }] }
);

checked_text!(
    /// An SELinux context, or a type alone.
    SelinuxContext,
    "an SELinux context",
    "1 to 255 letters, digits, '_', '-', '.', ',' and ':', beginning with a letter, digit or '_'",
    |text| (1..=255).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.,:".contains(&b)),
    schema { "pattern": "^[A-Za-z0-9_][A-Za-z0-9_.,:-]{0,254}$" }
);

checked_text!(
    /// The name of an AppArmor profile that the host has loaded.
    ApparmorProfile,
    "an AppArmor profile",
    "1 to 128 letters, digits, '_', '-' and '.', beginning with a letter, digit or '_'",
    |text| (1..=128).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b)),
    schema { "pattern": "^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$" }
);
