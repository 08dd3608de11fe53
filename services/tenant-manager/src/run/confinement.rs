//! What confines a tenant beyond what always does, as arguments of systemd-nspawn: capabilities, system calls by their
//! names on this host, and the host's security modules.

use super::RunError;
use host::{confinement, confinement::SyscallGroups, files::FileError};
use model::security::{Security, Syscalls};
use std::{collections::BTreeSet, path::Path};

/// With it a tenant would raise what its users may have of the kernel (sysctls below user.) and set limits of its own aside.
const KEPT_FROM_ALL: &str = "CAP_SYS_RESOURCE";

/// The arguments for `security`, whose system calls are each one that this host knows.
pub(super) async fn arguments(security: &Security) -> Result<Vec<String>, RunError> {
    let groups = match (security.allow.as_slice(), security.deny.as_slice()) {
        ([], []) => SyscallGroups::default(),
        _ => SyscallGroups::look_up().await.map_err(|cause| RunError::Syscalls(Box::new(cause)))?,
    };
    let mut arguments = written(security, &groups)?;
    if let Some(context) = security.selinux_context.as_ref().filter(|_| confinement::has_selinux()) {
        arguments.push(format!("--selinux-context={context}"));
    }
    Ok(arguments)
}

fn written(security: &Security, groups: &SyscallGroups) -> Result<Vec<String>, RunError> {
    let capabilities: Vec<&str> = security.capabilities.iter().map(AsRef::as_ref).collect();
    let mut arguments = Vec::new();
    if !capabilities.contains(&KEPT_FROM_ALL) {
        arguments.push(format!("--drop-capability={KEPT_FROM_ALL}"));
    }
    if !capabilities.is_empty() {
        arguments.push(format!("--capability={}", capabilities.join(",")));
    }
    // systemd-nspawn leaves out of a group what is denied by its own name, and not what is denied by another group's.
    let (allow, deny) = (resolved(&security.allow, groups)?, resolved(&security.deny, groups)?);
    let allow: Vec<&str> = allow.difference(&deny).copied().collect();
    let deny: Vec<&str> = deny.into_iter().collect();
    for (prefix, calls) in [("", allow), ("~", deny)] {
        if !calls.is_empty() {
            arguments.push(format!("--system-call-filter={prefix}{}", calls.join(" ")));
        }
    }
    if security.no_new_privileges {
        arguments.push("--no-new-privileges=yes".to_owned());
    }
    Ok(arguments)
}

/// All system calls that are meant. What systemd-nspawn does not know it would pass over.
fn resolved<'a>(names: &[Syscalls], groups: &'a SyscallGroups) -> Result<BTreeSet<&'a str>, RunError> {
    let members = names.iter().map(|name| groups.members(name.as_str()).ok_or_else(|| RunError::Syscall(name.clone())));
    Ok(members.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

/// Has this thread be confined by an AppArmor profile from its next program on (apparmor(7)), where the host has AppArmor.
pub(super) fn enter_profile(security: &Security) -> Result<(), RunError> {
    let Some(profile) = security.apparmor_profile.as_ref().filter(|_| confinement::has_apparmor()) else {
        return Ok(());
    };
    let attribute = Path::new("/proc/thread-self/attr/apparmor/exec");
    #[allow(clippy::disallowed_methods)] // the kernel takes it whole or not at all
    let written = std::fs::write(attribute, format!("exec {profile}"));
    Ok(written.map_err(FileError::new("write", attribute))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUPS: &str = "@clock\n    settimeofday\n    stime\n@module\n    init_module\n@more\n    @clock\n    bpf\n";

    fn security(capabilities: &[&str], allow: &[&str], deny: &[&str]) -> Security {
        Security {
            capabilities: capabilities.iter().map(|name| name.parse().unwrap()).collect(),
            allow: allow.iter().map(|name| name.parse().unwrap()).collect(),
            deny: deny.iter().map(|name| name.parse().unwrap()).collect(),
            ..Security::default()
        }
    }

    fn lines(security: &Security) -> String {
        written(security, &GROUPS.parse().unwrap()).unwrap().join("\n")
    }

    #[test]
    fn nothing_said_is_smaller_than_what_the_container_manager_gives() {
        assert_eq!(lines(&Security::default()), "--drop-capability=CAP_SYS_RESOURCE");
    }

    #[test]
    fn each_word_is_one_argument_and_what_is_denied_is_not_allowed() {
        let asked = security(&["CAP_SYS_TIME", "CAP_BPF"], &["@clock", "bpf"], &["stime", "@module"]);
        let asked = Security { no_new_privileges: true, ..asked };
        assert_eq!(
            lines(&asked),
            "--drop-capability=CAP_SYS_RESOURCE
--capability=CAP_SYS_TIME,CAP_BPF
--system-call-filter=bpf settimeofday
--system-call-filter=~init_module stime
--no-new-privileges=yes"
        );
        assert_eq!(lines(&security(&["CAP_SYS_RESOURCE"], &[], &[])), "--capability=CAP_SYS_RESOURCE");
    }

    #[test]
    fn what_this_host_does_not_know_is_refused_and_not_passed_over() {
        for unknown in ["conect", "@swap"] {
            let fault = written(&security(&[], &[], &[unknown]), &GROUPS.parse().unwrap()).unwrap_err();
            assert!(fault.is_tenants() && fault.to_string().contains(unknown), "{fault}");
        }
    }
}
