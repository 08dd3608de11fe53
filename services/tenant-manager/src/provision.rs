//! What a tenant's repository has run before its root is made.

use crate::{containers::Containers, fault::Fault, held::Holding, manager::Manager};
use host::{records::Record, systemd::SystemdError};
use model::{Hook, InstanceSpec, TenantName};

impl<C: Containers> Manager<C> {
    /// Runs it, in a sandbox. False if there is nothing to run.
    ///
    /// # Errors
    /// The call is stale, the script failed, or something on the host did.
    pub async fn pre_provision(&self, tenant: &TenantName, generation: u64, spec: InstanceSpec) -> Result<bool, Fault> {
        let _turn = self.turn(tenant).await;
        Holding::accept(self.held.read(tenant)?.as_ref(), generation)?;
        self.check(tenant, &spec)?;
        if spec.hook(Hook::PreProvision).is_none() {
            return Ok(false);
        }
        self.held.forget_hook_failure(tenant)?;
        self.held.note_to_provision(tenant, &Record { generation, spec })?;
        match self.containers.pre_provision(tenant).await {
            Ok(()) => Ok(true),
            Err(fault @ SystemdError::Job { .. }) => match self.hook_failure(tenant).await? {
                Some(reason) => Err(Fault::Hook { tenant: tenant.clone(), reason }),
                None => Err(fault.into()),
            },
            Err(fault) => Err(fault.into()),
        }
    }

    /// Why a hook of the tenant's failed, if that was not because the host ends everything.
    pub(crate) async fn hook_failure(&self, tenant: &TenantName) -> Result<Option<String>, Fault> {
        let failure = self.held.hook_failure(tenant)?;
        if failure.is_some() && self.containers.stopping().await? { Err(Fault::GoingDown) } else { Ok(failure) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manager::tests::{Fixture, fixture, spec};
    use model::HookSpec;

    #[tokio::test]
    async fn a_script_before_the_root_is_asked_and_may_refuse() {
        let Fixture { fake, manager, web, root: _root } = fixture();
        let hooked = |digit| InstanceSpec {
            hooks: vec![HookSpec::new(Hook::PreProvision, "scripts/room".parse().unwrap(), None)],
            ..spec(digit)
        };
        assert!(!manager.pre_provision(&web, 1, spec("a")).await.unwrap());
        assert_eq!(fake.asked(), [""; 0]);
        assert!(manager.pre_provision(&web, 1, hooked("a")).await.unwrap());
        let refused = manager.pre_provision(&web, 2, hooked("b")).await.unwrap_err();
        assert_eq!(refused.to_string(), "a hook of web failed: pre-provision scripts/room exited with 1");
        assert_eq!(fake.asked(), ["pre-provision web", "pre-provision web"]);
        // It is nothing that the tenant holds.
        assert!(manager.list(None).await.unwrap().is_empty());
        assert!(manager.ensure(&web, 3, hooked("a")).await.unwrap());
        assert!(matches!(manager.pre_provision(&web, 2, hooked("a")).await, Err(Fault::Stale(_))));
    }
}
