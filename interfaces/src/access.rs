//! Who may call what: one decision for every method of every service, deny by default.

use model::TenantName;

/// Who calls, as the kernel says by the socket's credentials (unix(7), SO_PEERCRED).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// uid 0 of the host.
    Root,
    /// The orchestrator's own user.
    Orchestrator,
    /// The user of git-sync and its timers.
    GitSync,
    /// The user of the webhook receiver.
    Webhook,
    /// A member of the group `bitbuilder`.
    Reader,
    /// The guest service of one tenant.
    Guest(TenantName),
    /// A process of the tenant whose own socket this is.
    Tenant,
    /// Anybody else.
    Stranger,
}

/// What a method does, as far as it matters to who may call it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Shows what is.
    Read,
    /// Changes a tenant's parts; the orchestrator's alone, because only it has a plan.
    Mutate,
    /// Asks for convergence with what Git says.
    Synchronize,
    /// Changes what the host follows.
    Administer,
    /// Looks whether a tenant's secrets can be opened, without showing them.
    Examine,
    /// Opens a tenant's secrets: root's alone, who starts the tenant.
    Reveal,
    /// Speaks with a tenant of itself.
    OwnTenant,
}

/// Whether `role` may do `right` to `tenant`, the tenant that the call names if it names one.
#[must_use]
pub fn allowed(role: &Role, right: Right, tenant: Option<&str>) -> bool {
    use Right::{Administer, Examine, Mutate, OwnTenant, Read, Reveal, Synchronize};
    match (role, right) {
        (Role::Root, Read | Mutate | Synchronize | Administer | Examine | Reveal | OwnTenant) => true,
        (Role::Orchestrator, Read | Mutate | Synchronize | Examine) => true,
        (Role::Orchestrator, Administer | Reveal | OwnTenant) => false,
        (Role::GitSync, Synchronize) => true,
        (Role::GitSync, Read | Mutate | Administer | Examine | Reveal | OwnTenant) => false,
        // What came from anywhere is a hint about one repository, never a command about all.
        (Role::Webhook, Synchronize) => tenant.is_some(),
        (Role::Webhook, Read | Mutate | Administer | Examine | Reveal | OwnTenant) => false,
        (Role::Reader, Read) => true,
        (Role::Reader, Mutate | Synchronize | Administer | Examine | Reveal | OwnTenant) => false,
        (Role::Guest(own), Read | Synchronize) => tenant == Some(own.as_str()),
        (Role::Guest(_), Mutate | Administer | Examine | Reveal | OwnTenant) => false,
        (Role::Tenant, OwnTenant) => true,
        (Role::Tenant, Read | Mutate | Synchronize | Administer | Examine | Reveal) => false,
        (Role::Stranger, Read | Mutate | Synchronize | Administer | Examine | Reveal | OwnTenant) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;

    #[test]
    fn who_may_call_what() {
        let web: TenantName = "web".parse().unwrap();
        let roles = [
            Role::Root,
            Role::Orchestrator,
            Role::GitSync,
            Role::Webhook,
            Role::Reader,
            Role::Guest(web),
            Role::Tenant,
            Role::Stranger,
        ];
        let mut table = String::new();
        for contract in crate::ALL {
            for method in contract.methods {
                write!(table, "{:55}", format!("{}.{}", contract.name, method.name)).unwrap();
                for role in &roles {
                    let verdict =
                        match (allowed(role, method.right, Some("web")), allowed(role, method.right, Some("mail"))) {
                            (true, true) => "all",
                            (true, false) => "own",
                            (false, false) => "-",
                            (false, true) => {
                                unreachable!("nobody may do more to a stranger's tenant than to their own")
                            }
                        };
                    write!(table, " {verdict:4}").unwrap();
                }
                writeln!(table).unwrap();
            }
        }
        insta::assert_snapshot!(format!("{:55} root orch git  hook read guest tenant other\n{table}", ""));
    }
}
