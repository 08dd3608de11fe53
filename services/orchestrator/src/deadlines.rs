//! The deadlines that the ledger holds: of graces and of trials. They are re-armed at each start, because they are read from
//! what is remembered and from nothing else.

use crate::{engine::Engine, store::now_usec};
use model::TenantName;
use planner::TenantLedger;
use std::{collections::HashMap, time::Duration};

/// How long until the clock is looked at again, which somebody may have set, or which went on while the machine slept.
const LONGEST: Duration = Duration::from_secs(60);

impl Engine {
    /// Looks after each tenant when its deadline has come. If the host fails then, it is tried again as ever.
    pub(crate) async fn keep_deadlines(self) {
        let mut met: HashMap<TenantName, u64> = HashMap::new();
        loop {
            let now = now_usec();
            let deadlines: HashMap<TenantName, u64> = {
                let memory = self.store.memory();
                let deadline = |(name, ledger): (&TenantName, &TenantLedger)| Some((name.clone(), ledger.deadline()?));
                memory.tenants.iter().filter_map(deadline).collect()
            };
            met.retain(|tenant, at| deadlines.get(tenant) == Some(at));
            let (due, ahead): (Vec<_>, Vec<_>) =
                deadlines.into_iter().filter(|(tenant, _)| !met.contains_key(tenant)).partition(|(_, at)| *at <= now);
            for (tenant, at) in due {
                met.insert(tenant.clone(), at);
                let engine = self.clone();
                tokio::spawn(async move { engine.reconcile(&tenant).await });
            }
            let next = ahead.into_iter().map(|(_, at)| at - now).min();
            let pause = next.map_or(LONGEST, |next| Duration::from_micros(next).min(LONGEST));
            tokio::select! {
                () = self.deadlines.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}
