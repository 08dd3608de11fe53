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
    /// Speaks with a tenant of itself.
    OwnTenant,
}

/// Whether `role` may do `right` to `tenant`, the tenant that the call names if it names one.
#[must_use]
pub fn allowed(role: &Role, right: Right, tenant: Option<&str>) -> bool {
    match (role, right) {
        (Role::Root, Right::Read | Right::Mutate | Right::Synchronize | Right::Administer | Right::OwnTenant) => true,
        (Role::Orchestrator, Right::Read | Right::Mutate | Right::Synchronize) => true,
        (Role::Orchestrator, Right::Administer | Right::OwnTenant) => false,
        (Role::GitSync, Right::Synchronize) => true,
        (Role::GitSync, Right::Read | Right::Mutate | Right::Administer | Right::OwnTenant) => false,
        // What came from anywhere is a hint about one repository, never a command about all.
        (Role::Webhook, Right::Synchronize) => tenant.is_some(),
        (Role::Webhook, Right::Read | Right::Mutate | Right::Administer | Right::OwnTenant) => false,
        (Role::Reader, Right::Read) => true,
        (Role::Reader, Right::Mutate | Right::Synchronize | Right::Administer | Right::OwnTenant) => false,
        (Role::Guest(own), Right::Read | Right::Synchronize) => tenant == Some(own.as_str()),
        (Role::Guest(_), Right::Mutate | Right::Administer | Right::OwnTenant) => false,
        (Role::Tenant, Right::OwnTenant) => true,
        (Role::Tenant, Right::Read | Right::Mutate | Right::Synchronize | Right::Administer) => false,
        (Role::Stranger, Right::Read | Right::Mutate | Right::Synchronize | Right::Administer | Right::OwnTenant) => {
            false
        }
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
