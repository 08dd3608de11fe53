//! What a person may ask for against what Git says: that a tenant be left alone for a while, and that a commit that did not
//! hold be tried once more.

use crate::{
    engine::{Cause, Engine},
    store::now_usec,
};
use interfaces::orchestrator::{Changed, Error};
use model::TenantName;
use planner::TenantLedger;
use tracing::info;

impl Engine {
    /// Leaves a tenant alone: what runs goes on running, and nothing that is pushed is looked at.
    pub(crate) fn suspend(&self, tenant: &TenantName) -> Result<Changed, Error> {
        let changed = self.mark(tenant, "suspend", |ledger| ledger.suspend(now_usec()))?;
        if changed {
            info!(%tenant, "suspended");
        }
        Ok(Changed { changed })
    }

    /// Follows a tenant's repository again, and looks at it at once.
    pub(crate) fn resume(&self, tenant: &TenantName) -> Result<Changed, Error> {
        let changed = self.mark(tenant, "resume", TenantLedger::resume)?;
        if changed {
            info!(%tenant, "resumed");
            // It goes on by itself.
            drop(self.look_at(tenant, Cause::Asked));
        }
        Ok(Changed { changed })
    }

    /// Tries a commit again that did not hold, if the look that begins now still admits it.
    pub(crate) async fn try_again(&self, tenant: &TenantName) -> Result<Changed, Error> {
        // What is being settled now must not be taken for something else.
        let turn = self.turns.take(tenant).await;
        if self.store.tenant(tenant).is_some_and(|ledger| ledger.is_suspended()) {
            return Err(Error::TenantSuspended { tenant: tenant.clone() });
        }
        let changed = self.mark(tenant, "retry", TenantLedger::retry)?;
        drop(turn);
        if changed {
            info!(%tenant, "tried again");
            self.recovered(tenant);
            drop(self.look_at(tenant, Cause::Asked));
        }
        Ok(Changed { changed })
    }

    pub(crate) fn mark(
        &self,
        tenant: &TenantName,
        action: &str,
        mark: impl FnOnce(&mut TenantLedger) -> bool,
    ) -> Result<bool, Error> {
        let marked = self.change(tenant, |ledger, _| ledger.registered.then(|| mark(ledger)));
        match marked {
            Ok(changed) => changed.flatten().ok_or_else(|| Error::NoSuchTenant { tenant: tenant.clone() }),
            Err(error) => Err(Error::Failed { action: format!("{action} {tenant}"), reason: runtime::chain(&error) }),
        }
    }
}
