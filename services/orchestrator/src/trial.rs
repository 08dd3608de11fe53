//! Commits on trial: what a person says of them, and their end if nobody does.

use crate::{
    engine::{Cause, Engine},
    store::now_usec,
};
use interfaces::orchestrator::{Changed, Error};
use model::{Revision, TenantName, time::TimeSpan};
use planner::TenantLedger;
use std::time::Duration;
use tracing::{info, warn};

/// How long somebody may have to confirm a commit.
const LONGEST: Duration = Duration::from_secs(86400);

impl Engine {
    /// Puts the next commit of a tenant on trial, and looks at its repository at once.
    pub(crate) async fn try_next(&self, tenant: &TenantName, time: TimeSpan) -> Result<Changed, Error> {
        if time.duration().is_zero() || time.duration() > LONGEST {
            let reason = format!("{time} is not possible; allowed: 1s to 1d");
            return Err(Error::Failed { action: format!("put {tenant} on trial"), reason });
        }
        // What is being settled now must not be taken for something else.
        let turn = self.turns.take(tenant).await;
        if self.store.tenant(tenant).is_some_and(|ledger| ledger.is_suspended()) {
            return Err(Error::TenantSuspended { tenant: tenant.clone() });
        }
        let changed = self.mark(tenant, "try", |ledger| {
            ledger.put_next_on_trial(time);
            true
        })?;
        drop(turn);
        info!(%tenant, %time, "the next commit is on trial");
        self.recovered(tenant);
        // It goes on by itself.
        drop(self.look_at(tenant, Cause::Asked));
        Ok(Changed { changed })
    }

    /// Confirms the commit that holds.
    pub(crate) fn confirm(&self, tenant: &TenantName, revision: Option<&Revision>) -> Result<Changed, Error> {
        let confirmed = self.mark(tenant, "confirm", |ledger| ledger.confirm(revision, now_usec()))?;
        self.after_trial(tenant, confirmed, "confirmed")
    }

    /// Takes the commit back that is on trial.
    pub(crate) fn reject(&self, tenant: &TenantName, revision: Option<&Revision>) -> Result<Changed, Error> {
        let rejected = self.mark(tenant, "reject", |ledger| ledger.reject(revision))?;
        self.after_trial(tenant, rejected, "rejected")
    }

    fn after_trial(&self, tenant: &TenantName, changed: bool, what: &str) -> Result<Changed, Error> {
        if !changed {
            return Err(Error::NothingOnTrial { tenant: tenant.clone() });
        }
        info!(%tenant, "{what}");
        let (engine, tenant) = (self.clone(), tenant.clone());
        // It goes on by itself.
        tokio::spawn(async move { engine.reconcile(&tenant).await });
        Ok(Changed { changed })
    }

    /// Takes a commit back whose time is over. Who confirms it at the same moment is either before that or too late.
    pub(crate) fn end_trial(&self, tenant: &TenantName) {
        self.remember(tenant, |ledger: &mut TenantLedger, now| {
            if let Some(reason) = ledger.unconfirmed(now) {
                warn!(%tenant, revision = ledger.target.as_ref().map(|target| target.revision.as_str()), "goes back: {reason}");
                ledger.fail(reason, now);
            }
        });
    }
}
