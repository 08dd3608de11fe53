//! The three verbs. What is wanted is recorded first and forgotten last, so that whatever a kill leaves behind is known and
//! the next call finishes it.

use crate::{
    error::NetworkError,
    machine::Machine,
    networkd::{self, NetworkdFiles},
    places::{self, Places},
    table::Table,
};
use host::{
    files,
    records::{Record, Records},
    turns::Turns,
};
use interfaces::network::{Attachment, Changed, Ensure, List, Remove};
use model::{NetworkSpec, TenantName};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::sync::Mutex;
use tracing::{info, warn};

#[path = "restore.rs"]
mod restore;

type Book = BTreeMap<TenantName, Record<NetworkSpec>>;

/// The networks of all tenants.
#[derive(Debug, Clone)]
pub struct Network<M> {
    machine: M,
    records: Arc<Records<NetworkSpec>>,
    directory: PathBuf,
    files: NetworkdFiles,
    turns: Turns,
    /// Held while the records and the table, which is made of all of them, are looked at together.
    table: Arc<Mutex<Table>>,
}

impl<M: Machine> Network<M> {
    /// The networks that are recorded in `records`, made from files in the directory that systemd-networkd reads; what is
    /// known of this boot is in `directory`.
    #[must_use]
    pub fn new(records: &Path, directory: &Path, networkd: &Path, machine: M) -> Self {
        Self {
            machine,
            records: Arc::new(Records::swept(records)),
            directory: directory.to_owned(),
            files: NetworkdFiles::in_directory(networkd),
            turns: Turns::default(),
            // No tenant's record ends like this.
            table: Arc::new(Mutex::new(Table::remembered_in(&directory.join("firewall")))),
        }
    }

    /// Makes a tenant's bridge, lease and forwards match.
    ///
    /// # Errors
    /// It is refused, or the machine failed; calling again goes on from there.
    pub async fn ensure(&self, call: &Ensure) -> Result<Changed, NetworkError> {
        let Ensure { tenant, generation, spec } = call;
        places::check(spec)?;
        let _turn = self.turns.take(tenant).await;
        let table = self.table.lock().await;
        let (mut changed, places) = self.record(tenant, *generation, spec)?;
        let firewall = async {
            let ensured = table.ensure(&self.machine, &places).await;
            drop(table);
            ensured
        };
        // Side by side, and both seen to their end: nobody is on a bridge that is being made until this call has returned,
        // and on one that is there the firewall is not opened by what systemd-networkd does.
        let (firewall, bridge) = tokio::join!(firewall, self.lay(tenant, spec));
        changed |= firewall? | bridge?;
        if changed {
            info!(%tenant, generation, bridge = %spec.bridge, forwards = spec.forwards.len(), "the network matches");
        }
        Ok(Changed { changed })
    }

    /// Removes a tenant's bridge, lease and forwards.
    ///
    /// # Errors
    /// It is refused, or the machine failed; calling again goes on from there.
    pub async fn remove(&self, call: &Remove) -> Result<Changed, NetworkError> {
        let Remove { tenant, generation } = call;
        let _turn = self.turns.take(tenant).await;
        let record = self.recorded(tenant)?;
        Record::accept(record.as_ref(), *generation)?;
        let recorded = record.as_ref().map(|record| record.spec.bridge.clone());
        let bridges: BTreeSet<_> = self.files.bridge(tenant).into_iter().chain(recorded).collect();
        let mut changed = self.files.remove(tenant)?;
        if changed || record.is_some() {
            self.machine.reload().await?;
        }
        for bridge in &bridges {
            changed |= self.machine.delete(bridge).await?;
        }
        files::remove(&self.pending(tenant))?;
        let table = self.table.lock().await;
        let mut places = places(&self.book()?);
        places.remove(tenant);
        changed |= table.ensure(&self.machine, &places).await?;
        changed |= self.records.remove(tenant)?;
        if changed {
            info!(%tenant, generation, "the network is gone");
        }
        Ok(Changed { changed })
    }

    /// What is held for one tenant or all.
    ///
    /// # Errors
    /// The records, the kernel or nft cannot be read.
    pub async fn list(&self, call: &List) -> Result<Vec<Attachment>, NetworkError> {
        let table = self.table.lock().await;
        let mut book = self.book()?;
        book.retain(|tenant, _| call.tenant.as_ref().is_none_or(|wanted| wanted == tenant));
        if book.is_empty() {
            return Ok(Vec::new());
        }
        let firewall = table.view(&self.machine).await?;
        drop(table);
        let links = self.machine.links().await?;
        let attach = |(tenant, Record { generation, spec }): (TenantName, Record<NetworkSpec>)| {
            let intact = links.hold(&spec)
                && firewall.hold(&tenant, &spec)
                && self.files.hold(&tenant, &networkd::render(&spec))
                && !self.pending(&tenant).exists();
            Attachment { tenant, generation, spec, intact }
        };
        Ok(book.into_iter().map(attach).collect())
    }

    /// Records what is wanted, if nobody is in its way. Returns whether it was another, and every tenant's place.
    fn record(&self, tenant: &TenantName, generation: u64, spec: &NetworkSpec) -> Result<(bool, Places), NetworkError> {
        let mut book = self.book()?;
        let held = book.get(tenant);
        Record::accept(held, generation)?;
        if let Some(conflict) = places::conflict(&places(&book), tenant, spec) {
            return Err(NetworkError::Conflict(conflict));
        }
        let changed = held.is_none_or(|held| held.spec != *spec);
        let record = Record { generation, spec: spec.clone() };
        self.records.write(tenant, &record)?;
        book.insert(tenant.clone(), record);
        Ok((changed, places(&book)))
    }

    /// Makes the bridge and the lease match.
    async fn lay(&self, tenant: &TenantName, spec: &NetworkSpec) -> Result<bool, NetworkError> {
        let mut changed = self.leave_former_bridge(tenant, spec).await?;
        let rendered = networkd::render(spec);
        let pending = self.pending(tenant);
        if !self.files.hold(tenant, &rendered) {
            files::write_atomically(&pending, b"", 0o644)?;
            changed |= self.files.write(tenant, &rendered)?;
        }
        if pending.exists() || !self.machine.links().await?.hold(spec) {
            self.machine.converge(spec).await?;
            files::remove(&pending)?;
            changed = true;
        }
        Ok(changed)
    }

    /// Deletes the bridge that the tenant had under another name.
    async fn leave_former_bridge(&self, tenant: &TenantName, spec: &NetworkSpec) -> Result<bool, NetworkError> {
        let Some(former) = self.files.bridge(tenant).filter(|former| *former != spec.bridge) else { return Ok(false) };
        if self.book()?.values().any(|record| record.spec.bridge == former) {
            return Ok(false);
        }
        Ok(self.machine.delete(&former).await?)
    }

    fn book(&self) -> Result<Book, NetworkError> {
        let mut book = Book::new();
        for tenant in self.records.tenants()? {
            let record = self.recorded(&tenant)?;
            book.extend(record.map(|record| (tenant, record)));
        }
        Ok(book)
    }

    /// A record that a fault has left unreadable is as good as none: the next call to ensure it writes it anew.
    fn recorded(&self, tenant: &TenantName) -> Result<Option<Record<NetworkSpec>>, NetworkError> {
        match self.records.read(tenant) {
            Err(fault) if fault.action == "understand" => {
                warn!(%tenant, "{}", runtime::chain(&fault));
                Ok(None)
            }
            read => Ok(read?),
        }
    }

    /// Exists while systemd-networkd may not have read the tenant's files. A tenant's name has no dot.
    fn pending(&self, tenant: &TenantName) -> PathBuf {
        self.directory.join(format!("{tenant}.pending"))
    }
}

fn places(book: &Book) -> Places {
    book.iter().map(|(tenant, record)| (tenant.clone(), record.spec.clone())).collect()
}
