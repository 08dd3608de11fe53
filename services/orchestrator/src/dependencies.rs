//! Who depends on others is started when those hold. That is waited for as long as it may come by itself; later it begins
//! where they hold.

use crate::{engine::Engine, fault::Fault};
use model::{DesiredTenant, TenantName};
use planner::{Awaited, TenantLedger, awaited};
use std::time::Duration;
use tokio::time::timeout;

/// How long a tenant's turn lasts at most for that.
const PATIENCE: Duration = Duration::from_secs(60);

impl Engine {
    /// Waits until everybody holds that a tenant depends on.
    pub(crate) async fn await_dependencies(&self, target: &DesiredTenant) -> Result<(), Fault> {
        if target.depends_on.is_empty() {
            return Ok(());
        }
        // From before the look: what changes after it is not missed.
        let mut changes = self.watch();
        let hold = async {
            while let Some(missing) = self.awaited(target) {
                if missing.stuck.is_some() {
                    return Err(missing);
                }
                // Missed ones were changes too.
                let _changed = changes.recv().await;
            }
            Ok(())
        };
        let held = timeout(PATIENCE, hold).await.unwrap_or_else(|_| self.awaited(target).map_or(Ok(()), Err));
        held.map_err(|missing| Fault::Waits(missing.to_string()))
    }

    fn awaited(&self, target: &DesiredTenant) -> Option<Awaited> {
        awaited(target, &self.store.memory().tenants)
    }

    /// A tenant holds that did not before: those who wait for it begin.
    pub(crate) fn wake_dependents(&self, tenant: &TenantName) {
        let waits = |ledger: &TenantLedger| {
            !ledger.holds() && ledger.target.as_ref().is_some_and(|target| target.depends_on.contains(tenant))
        };
        let dependents: Vec<TenantName> = {
            let memory = self.store.memory();
            memory.tenants.iter().filter(|(_, ledger)| waits(ledger)).map(|(name, _)| name.clone()).collect()
        };
        for dependent in dependents {
            let engine = self.clone();
            tokio::spawn(async move { engine.reconcile(&dependent).await });
        }
    }
}
