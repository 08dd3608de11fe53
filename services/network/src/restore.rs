//! What a boot took away is made again from the records, before anybody is asked for it: first the rules, then the bridges,
//! so that nobody is on a bridge that nothing isolates.

use super::{Network, places};
use crate::{
    error::NetworkError,
    machine::Machine,
    networkd,
    places::{Places, check, conflict},
};
use futures_util::{StreamExt, stream};
use host::files;
use model::{NetworkSpec, TenantName};
use tracing::{info, warn};

/// How many bridges are waited for at a time.
const AT_A_TIME: usize = 64;

impl<M: Machine> Network<M> {
    /// Makes the networks of all tenants as recorded, once in each boot. A tenant whose network cannot be made has none, and
    /// is not started on it.
    ///
    /// # Errors
    /// The rules cannot be loaded: then there are no bridges either. Or the records cannot be read.
    pub async fn restore(&self) -> Result<(), NetworkError> {
        // No tenant's record is called that.
        let done = self.directory.join("restored");
        if done.exists() {
            return Ok(());
        }
        let table = self.table.lock().await;
        let wanted = possible(&places(&self.book()?));
        table.ensure(&self.machine, &wanted).await?;
        drop(table);
        // All files first: one reload serves them.
        for (tenant, spec) in &wanted {
            files::write_atomically(&self.pending(tenant), b"", 0o644)?;
            self.files.write(tenant, &networkd::render(spec))?;
        }
        let count = wanted.len();
        let laid = stream::iter(wanted).map(|(tenant, spec)| self.lay_again(tenant, spec));
        let failed = laid.buffer_unordered(AT_A_TIME).filter(|laid| std::future::ready(!laid)).count().await;
        if count > 0 {
            info!(tenants = count, failed, "networks are as they were recorded");
        }
        files::write_atomically(&done, b"", 0o644)?;
        Ok(())
    }

    async fn lay_again(&self, tenant: TenantName, spec: NetworkSpec) -> bool {
        let _turn = self.turns.take(&tenant).await;
        match self.lay(&tenant, &spec).await {
            Ok(_) => true,
            Err(fault) => {
                warn!(%tenant, "its network is not restored: {}", runtime::chain(&fault));
                false
            }
        }
    }
}

/// The places that can be made beside each other. Records that are as they were written all can.
fn possible(recorded: &Places) -> Places {
    let mut possible = Places::new();
    for (tenant, spec) in recorded {
        match (check(spec), conflict(&possible, tenant, spec)) {
            (Ok(()), None) => drop(possible.insert(tenant.clone(), spec.clone())),
            (Err(fault), _) => warn!(%tenant, "its network is not restored: {fault}"),
            (Ok(()), Some(conflict)) => {
                warn!(%tenant, "its network is not restored: {} is held by {}", conflict.what, conflict.tenant);
            }
        }
    }
    possible
}
