//! What a tenant may be confined by: every word of it is one that its policy lists, or makes the tenant smaller.

use super::Case;
use crate::{diagnostic::Diagnostic, manifest, path, security::Security, tree::distinct};

impl Case<'_> {
    pub(super) fn capabilities(&self) -> Vec<Diagnostic> {
        let asked = &self.asks().security.capabilities;
        self.listed(path!["security", "capabilities"], asked, &self.policy().capabilities)
    }

    pub(super) fn syscalls(&self) -> Vec<Diagnostic> {
        let asked = &self.asks().security.syscalls.allow;
        self.listed(path!["security", "syscalls", "allow"], asked, &self.policy().syscalls)
    }

    pub(super) fn selinux(&self) -> Vec<Diagnostic> {
        let asked = self.asks().security.selinux_context.as_slice();
        let faults = self.listed(&[], asked, &self.policy().selinux);
        faults.iter().flat_map(|fault| self.fault(path!["security", "selinux_context"], &fault.message)).collect()
    }

    pub(super) fn apparmor(&self) -> Vec<Diagnostic> {
        let asked = self.asks().security.apparmor_profile.as_slice();
        let faults = self.listed(&[], asked, &self.policy().apparmor);
        faults.iter().flat_map(|fault| self.fault(path!["security", "apparmor_profile"], &fault.message)).collect()
    }

    /// What is asked for, valid, and without effect on this host, whose kernel may lack a security module.
    pub(super) fn not_in_effect(&self) -> Vec<String> {
        let mut said = super::not_in_effect(self.request);
        let (asks, modules) = (&self.asks().security, self.host.modules);
        if asks.selinux_context.is_some() && modules.is_some_and(|modules| !modules.selinux) {
            said.push("security.selinux_context".to_owned());
        }
        if asks.apparmor_profile.is_some() && modules.is_some_and(|modules| !modules.apparmor) {
            said.push("security.apparmor_profile".to_owned());
        }
        said
    }
}

pub(super) fn granted(asks: &manifest::Security) -> Security {
    Security {
        capabilities: distinct(&asks.capabilities),
        allow: distinct(&asks.syscalls.allow),
        deny: distinct(&asks.syscalls.deny),
        no_new_privileges: asks.no_new_privileges,
        selinux_context: asks.selinux_context.clone(),
        apparmor_profile: asks.apparmor_profile.clone(),
    }
}
