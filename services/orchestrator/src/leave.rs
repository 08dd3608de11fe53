//! Tenants that leave: in which order they are stopped, what is left to do about one, and what a person may say of it.

use crate::{engine::Engine, store::now_usec};
use interfaces::orchestrator::{Changed, Error};
use model::{TenantName, observed::ObservedTenant};
use planner::{Aim, Plan, TenantLedger, ledger::leaving, plan_absence, plan_removal};
use tracing::info;

/// The steps towards `aim` of a tenant that is not to run.
pub(crate) fn plan_leave(tenant: &TenantName, ledger: &TenantLedger, aim: Aim<'_>, observed: &ObservedTenant) -> Plan {
    match aim {
        Aim::Remove(leaving, why) => {
            let archive = leaving.is_archived().then(|| ledger.manifest(tenant, leaving));
            plan_removal(observed, archive.as_ref(), why)
        }
        Aim::Stop(why) => plan_absence(observed, why),
        Aim::Nothing | Aim::Run(_) => Plan::default(),
    }
}

impl Engine {
    /// Stops those of `changed` that the registry does not name any more: who depends on another goes before it.
    pub(crate) async fn see_off(&self, changed: &[TenantName]) {
        let order = {
            let memory = self.store.memory();
            let has_left = |tenant: &&TenantName| memory.tenants.get(*tenant).is_some_and(|ledger| !ledger.registered);
            let gone: Vec<TenantName> = changed.iter().filter(has_left).cloned().collect();
            leaving::order(&gone, &memory.tenants)
        };
        for together in order {
            self.each(together, |engine, tenant| async move { engine.reconcile(&tenant).await }).await;
        }
    }

    /// Whether a tenant is still to be removed: somebody may have said otherwise since that was begun.
    pub(crate) fn is_to_go(&self, tenant: &TenantName) -> bool {
        self.store.tenant(tenant).is_some_and(|ledger| matches!(ledger.aim(now_usec()), Aim::Remove(..)))
    }

    /// Keeps what is there of a tenant that leaves until somebody says otherwise.
    pub(crate) fn keep(&self, tenant: &TenantName) -> Result<Changed, Error> {
        let changed = self.say_of_leaving(tenant, "keep", TenantLedger::keep)?;
        if changed.changed {
            info!(%tenant, "kept until somebody says otherwise");
        }
        Ok(changed)
    }

    /// Removes what is there of a tenant that leaves, without waiting.
    pub(crate) fn remove(&self, tenant: &TenantName) -> Result<Changed, Error> {
        let changed = self.say_of_leaving(tenant, "remove", TenantLedger::end_grace)?;
        info!(%tenant, "removed without waiting");
        let (engine, tenant) = (self.clone(), tenant.clone());
        // It goes on by itself.
        tokio::spawn(async move { engine.reconcile(&tenant).await });
        Ok(changed)
    }

    fn say_of_leaving(
        &self,
        tenant: &TenantName,
        action: &str,
        say: impl FnOnce(&mut TenantLedger) -> Option<bool>,
    ) -> Result<Changed, Error> {
        let said = self.change(tenant, |ledger, _| say(ledger));
        let failed = |error| Error::Failed { action: format!("{action} {tenant}"), reason: runtime::chain(&error) };
        let changed = said.map_err(failed)?.ok_or_else(|| Error::NoSuchTenant { tenant: tenant.clone() })?;
        changed.map(|changed| Changed { changed }).ok_or_else(|| Error::NotLeaving { tenant: tenant.clone() })
    }
}
