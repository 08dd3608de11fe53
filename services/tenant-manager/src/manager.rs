//! The verbs. Each is refused if it is older than what the tenant was last changed with, takes the tenant's turn, and can
//! be called again after it was killed at any point.

use crate::{
    blame,
    containers::Containers,
    fault::Fault,
    held::{Held, Holding, StartMark},
    paths::Paths,
    polling, repository_units, sleep, targets, view,
};
use host::{
    files::{self, FileError},
    records::Record,
    systemd::SystemdError,
    turns::Turns,
};
use interfaces::tenant::{Instance, Timer};
use model::{InstanceSpec, TenantName, UnitName, identity::Slot, observed::InstanceState};
use std::{collections::BTreeSet, fs, io, sync::Arc};
use tracing::{info, warn};

const NO_ROOM: &str = "this host has no inotify instances left for another tenant (fs.inotify.max_user_instances)";

/// The tenants of this host.
#[derive(Debug, Clone)]
pub struct Manager<C> {
    pub(crate) containers: C,
    paths: Paths,
    pub(crate) held: Held,
    turns: Turns,
    timers: Arc<tokio::sync::Mutex<()>>,
}

impl<C: Containers> Manager<C> {
    /// The tenants whose records and trees are at `paths`.
    #[must_use]
    pub fn new(containers: C, paths: Paths) -> Self {
        // Nobody else writes there; a starting tenant writes what it was started with elsewhere.
        [paths.compiled(), paths.stopped()].iter().for_each(|directory| files::sweep(directory));
        Self { containers, held: Held::at(&paths), paths, turns: Turns::default(), timers: Arc::default() }
    }

    /// Where things are.
    #[must_use]
    pub fn paths(&self) -> &Paths {
        &self.paths
    }

    /// Writes down what the next start runs, and shows it to a running tenant. True if anything was changed.
    ///
    /// # Errors
    /// The call is stale, a unit is not shipped, or something on the host failed.
    pub async fn ensure(&self, tenant: &TenantName, generation: u64, spec: InstanceSpec) -> Result<bool, Fault> {
        let _turn = self.turns.take(tenant).await;
        Holding::accept(self.held.read(tenant)?.as_ref(), generation)?;
        self.check(tenant, &spec)?;
        // Before the record: a caller that finds the record as it should be does not call again.
        let linked = view::ensure(&self.paths.config(tenant), &self.paths.checkout(tenant, &spec.revision))?;
        let record = Record { generation, spec };
        let written = self.held.write(tenant, &record)?;
        let shown = match self.show(tenant, &record).await {
            Err(fault) => return Err(self.unanswered(tenant, fault).await),
            Ok(shown) => shown,
        };
        if written || shown || linked {
            info!(%tenant, generation, revision = record.spec.revision.short(), shown, "written down");
        }
        Ok(written || shown || linked)
    }

    /// Nobody but the host gives out uids, and a tenant never gets any but a slot's.
    pub(crate) fn check(&self, tenant: &TenantName, spec: &InstanceSpec) -> Result<(), Fault> {
        if !(0..Slot::COUNT).filter_map(Slot::new).any(|slot| slot.uids() == spec.uids) {
            let cause =
                io::Error::new(io::ErrorKind::InvalidInput, format!("uids from {} are no tenant's", spec.uids.first));
            return Err(FileError::new("use", &self.paths.tenant_root(tenant))(cause).into());
        }
        let checkout = self.paths.checkout(tenant, &spec.revision);
        let directory = fs::symlink_metadata(&checkout).and_then(|found| match found.is_dir() {
            true => Ok(()),
            false => Err(io::ErrorKind::NotADirectory.into()),
        });
        directory.map_err(FileError::new("use the checkout", &checkout))?;
        spec.services.iter().try_for_each(|service| repository_units::read(&checkout, &service.unit).map(drop))?;
        Ok(())
    }

    /// Starts a tenant and waits until it is ready. False if it runs already.
    ///
    /// # Errors
    /// The call is stale, nothing is held for the tenant, or it did not come up.
    pub async fn start(&self, tenant: &TenantName, generation: u64) -> Result<bool, Fault> {
        let _turn = self.turns.take(tenant).await;
        self.bring_up(tenant, generation).await?;
        if self.state(tenant).await? == InstanceState::Active {
            return Ok(false);
        }
        self.place(tenant)?;
        if !self.containers.has_room() {
            // Those that run would not get what they need either.
            return Err(Fault::NotStarted { tenant: tenant.clone(), reason: NO_ROOM.to_owned() });
        }
        let before = self.before_start(tenant)?;
        self.came_up(tenant, before, self.containers.start(tenant).await).await?;
        info!(%tenant, generation, "started");
        Ok(true)
    }

    /// Stops a tenant if it runs, starts it and waits until it is ready.
    ///
    /// # Errors
    /// The call is stale, nothing is held for the tenant, or it did not come up.
    pub async fn restart(&self, tenant: &TenantName, generation: u64) -> Result<bool, Fault> {
        let _turn = self.turns.take(tenant).await;
        self.bring_up(tenant, generation).await?;
        self.place(tenant)?;
        let before = self.before_start(tenant)?;
        self.came_up(tenant, before, self.containers.restart(tenant).await).await?;
        info!(%tenant, generation, "restarted");
        Ok(true)
    }

    /// Stops a tenant and waits until it has ended. False if it was stopped before.
    ///
    /// # Errors
    /// The call is stale, nothing is held for the tenant, or its unit did not end.
    pub async fn stop(&self, tenant: &TenantName, generation: u64) -> Result<bool, Fault> {
        let _turn = self.turns.take(tenant).await;
        let holding = self.accept(tenant, generation)?;
        self.held.advance(tenant, &holding, generation)?;
        // First what lasts: a host that dies now does not start the tenant again.
        let kept_down = self.held.stay_stopped(tenant)?;
        let up = match self.state(tenant).await? {
            InstanceState::Active | InstanceState::Activating | InstanceState::Deactivating => true,
            InstanceState::Inactive | InstanceState::Failed => false,
        };
        // Before it ends: nobody wakes it again.
        self.containers.stop_listening(tenant).await?;
        if up || kept_down {
            self.containers.stop(tenant).await?;
            if self.containers.ending(tenant).await.result.as_deref() == Some("timeout") {
                warn!(%tenant, "it did not end in time and was killed");
            }
        }
        targets::remove(&self.paths, tenant)?;
        if up || kept_down {
            info!(%tenant, generation, "stopped");
        }
        Ok(up || kept_down)
    }

    /// Forgets a tenant that does not run, and whose uids were its own. False if nothing was held.
    ///
    /// # Errors
    /// The call is stale, the tenant runs, or something on the host failed. Calling again goes on where this call ended.
    pub async fn remove(&self, tenant: &TenantName, generation: u64) -> Result<bool, Fault> {
        let _turn = self.turns.take(tenant).await;
        let held = self.held.read(tenant)?;
        Holding::accept(held.as_ref(), generation)?;
        match self.state(tenant).await? {
            InstanceState::Active | InstanceState::Activating | InstanceState::Deactivating => {
                return Err(Fault::InUse(tenant.clone()));
            }
            InstanceState::Inactive | InstanceState::Failed => {}
        }
        self.containers.stop_listening(tenant).await?;
        self.containers.forget(tenant).await?;
        // Its socket has gone with the unit.
        let guest = self.paths.guest(tenant);
        match fs::remove_dir_all(&guest) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                return Err(FileError::new("remove", &guest)(cause).into());
            }
            _ => {}
        }
        targets::remove(&self.paths, tenant)?;
        let removed = self.held.remove(tenant)?;
        if removed {
            info!(%tenant, generation, "forgotten");
        }
        Ok(removed)
    }

    /// Puts the tenant among the units of this host, as the next boot will, before it is started.
    fn place(&self, tenant: &TenantName) -> Result<(), Fault> {
        let Some(holding) = self.held.read(tenant)? else { return Ok(()) };
        targets::ensure(&self.paths, tenant, &holding.record.spec).map_err(Fault::from)
    }

    pub(crate) async fn turn(&self, tenant: &TenantName) -> impl Drop + use<C> {
        self.turns.take(tenant).await
    }

    pub(crate) fn accept(&self, tenant: &TenantName, generation: u64) -> Result<Holding, Fault> {
        let holding = self.held.read(tenant)?.ok_or_else(|| Fault::NoSuchTenant(tenant.clone()))?;
        Holding::accept(Some(&holding), generation)?;
        Ok(holding)
    }

    async fn bring_up(&self, tenant: &TenantName, generation: u64) -> Result<(), Fault> {
        let holding = self.accept(tenant, generation)?;
        let record = Record { generation, ..holding.record };
        self.held.write(tenant, &record)?;
        Ok(())
    }

    /// What tells this start from an earlier one. Not the unit itself forgets what went wrong: it may be on its next attempt
    /// before anybody has asked about the last.
    pub(crate) fn before_start(&self, tenant: &TenantName) -> Result<Option<StartMark>, Fault> {
        self.held.forget_hook_failure(tenant)?;
        Ok(self.held.start_mark(tenant))
    }

    /// A tenant that did not come up is not tried again behind its owner's back.
    pub(crate) async fn came_up(
        &self,
        tenant: &TenantName,
        before: Option<StartMark>,
        started: Result<(), SystemdError>,
    ) -> Result<(), Fault> {
        let job = match started {
            Err(SystemdError::Job { result, .. }) => result,
            other => return Ok(other?),
        };
        let ending = self.containers.ending(tenant).await;
        let entered = self.held.start_mark(tenant).is_some_and(|mark| before != Some(mark));
        let stopping = self.containers.stopping().await;
        // Somebody who canceled the start has other plans for the unit.
        if job == "failed"
            && let Err(fault) = self.containers.stop(tenant).await
        {
            warn!(%tenant, "it may be started again: {}", runtime::chain(&fault));
        }
        if job == "failed"
            && let Some(reason) = self.hook_failure(tenant).await?
        {
            return Err(Fault::Start { tenant: tenant.clone(), reason });
        }
        let mut reason = format!("its start ended as {job}; {}", ending.explained());
        if let Some(denied) = self.denied(tenant)? {
            reason.push_str(&format!("; its metadata.json denies it system calls: {denied}"));
        }
        if !self.containers.has_room() {
            return Err(Fault::NotStarted { tenant: tenant.clone(), reason: format!("{NO_ROOM}; {reason}") });
        }
        match blame::is_tenants(&job, stopping?, entered, &ending) {
            true => Err(Fault::Start { tenant: tenant.clone(), reason }),
            false => Err(Fault::NotStarted { tenant: tenant.clone(), reason }),
        }
    }

    /// The system calls that a tenant is denied: its first process may have needed one.
    fn denied(&self, tenant: &TenantName) -> Result<Option<String>, Fault> {
        let deny = self.held.read(tenant)?.map(|held| held.record.spec.security.deny).unwrap_or_default();
        let names: Vec<&str> = deny.iter().map(AsRef::as_ref).take(16).collect();
        Ok((!names.is_empty()).then(|| names.join(" ") + if deny.len() > names.len() { " ..." } else { "" }))
    }

    pub(crate) async fn state(&self, tenant: &TenantName) -> Result<InstanceState, Fault> {
        Ok(self.containers.seen().await?.states.remove(tenant).unwrap_or(InstanceState::Inactive))
    }

    /// What a tenant in this state runs.
    pub(crate) fn running(&self, tenant: &TenantName, state: InstanceState) -> Result<Option<InstanceSpec>, Fault> {
        match state {
            // What was written when it was started means nothing after its end.
            InstanceState::Inactive | InstanceState::Failed => Ok(None),
            InstanceState::Activating | InstanceState::Active | InstanceState::Deactivating => {
                Ok(self.held.started_with(tenant)?.map(|record| record.spec))
            }
        }
    }

    /// What is held and what runs, for one tenant or all.
    ///
    /// # Errors
    /// Something on the host cannot be read.
    pub async fn list(&self, tenant: Option<TenantName>) -> Result<Vec<Instance>, Fault> {
        let seen = self.containers.seen().await?;
        let tenants = match tenant {
            Some(tenant) => BTreeSet::from([tenant]),
            None => self.held.tenants()?,
        };
        let mut instances = Vec::new();
        for name in tenants {
            let Some(Holding { record, lasting, .. }) = self.held.read(&name)? else { continue };
            let state = seen.states.get(&name).copied().unwrap_or(InstanceState::Inactive);
            let running = self.running(&name, state)?;
            if !lasting && running.is_none() {
                // Only what an ended start left.
                continue;
            }
            let listening = sleep::listening(&self.paths, &name, &record.spec, &seen)?;
            let Record { generation, spec } = record;
            instances.push(Instance { tenant: name, generation, spec, state, running, listening });
        }
        Ok(instances)
    }

    /// The services that a running tenant was started with.
    ///
    /// # Errors
    /// It is not held, or does not run.
    pub async fn running_services(&self, tenant: &TenantName) -> Result<Vec<UnitName>, Fault> {
        self.must_hold(tenant)?;
        match self.state(tenant).await? {
            InstanceState::Active => {}
            InstanceState::Inactive
            | InstanceState::Failed
            | InstanceState::Activating
            | InstanceState::Deactivating => return Err(self.not_running(tenant).await?),
        }
        let started_with = self.held.started_with(tenant)?.ok_or_else(|| Fault::NotRunning(tenant.clone()))?;
        Ok(started_with.spec.services.into_iter().map(|service| service.unit).collect())
    }

    /// Why a tenant does not run that should.
    pub(crate) async fn not_running(&self, tenant: &TenantName) -> Result<Fault, Fault> {
        let stopping = self.containers.stopping().await?;
        Ok(if stopping { Fault::GoingDown } else { Fault::NotRunning(tenant.clone()) })
    }

    /// Why a tenant that ran did not answer: it may have ended in the meantime.
    pub async fn unanswered(&self, tenant: &TenantName, fault: Fault) -> Fault {
        if !matches!(fault, Fault::Unanswered { .. }) {
            return fault;
        }
        match self.containers.stopping().await {
            Ok(true) => Fault::GoingDown,
            Ok(false) => self.running_services(tenant).await.err().unwrap_or(fault),
            Err(cause) => cause.into(),
        }
    }

    /// Refuses a tenant that nothing is held for.
    ///
    /// # Errors
    /// Nothing is held, or the record cannot be read.
    pub fn must_hold(&self, tenant: &TenantName) -> Result<(), Fault> {
        self.held.read(tenant)?.map(drop).ok_or_else(|| Fault::NoSuchTenant(tenant.clone()))
    }

    /// Makes the polling timers run for these repositories and no others. True if anything was changed.
    ///
    /// # Errors
    /// A timer cannot be started or stopped; the others are tried all the same.
    pub async fn ensure_polling(&self, wanted: &[Timer]) -> Result<bool, Fault> {
        let _turn = self.timers.lock().await;
        polling::ensure(&self.containers, &self.paths, wanted).await
    }
}

#[cfg(test)]
#[path = "manager_tests.rs"]
pub(crate) mod tests;
