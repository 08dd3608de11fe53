//! What a tenant that runs is changed by: what is shown to it while it runs, and which of its services are started anew. What
//! is noted of a tenant that is being changed is never what it does not have, so whoever goes on after a kill does all of it.

use crate::{containers::Containers, fault::Fault, manager::Manager};
use host::{records::Record, systemd::SystemdError};
use model::{InstanceSpec, Revision, ServiceSpec, TenantName, UnitName, observed::InstanceState, secrets::Digest};
use tracing::{info, warn};

/// What runs when everything of `wanted` was shown to what runs `running`: services that change go on as they were.
fn shown(running: &InstanceSpec, wanted: &InstanceSpec) -> InstanceSpec {
    let service =
        |wanted: &ServiceSpec| running.services.iter().find(|runs| runs.unit == wanted.unit).unwrap_or(wanted).clone();
    InstanceSpec { services: wanted.services.iter().map(service).collect(), ..wanted.clone() }
}

/// What runs in between: no commit's files for sure, and of services that come or go nobody knows.
fn between(running: &InstanceSpec, wanted: &InstanceSpec) -> InstanceSpec {
    let mut services = running.services.clone();
    services.retain(|runs| wanted.services.iter().any(|wanted| wanted.unit == runs.unit));
    let beyond = wanted.services_beyond(running).chain(running.services_beyond(wanted));
    services.extend(beyond.map(|unit| ServiceSpec { unit: unit.clone(), digest: Digest::unknown() }));
    InstanceSpec { revision: Revision::unborn(), services, ..running.clone() }
}

/// The same with other digests for these units.
fn with_digests(running: &InstanceSpec, digest: impl Fn(&ServiceSpec) -> Option<Digest>) -> InstanceSpec {
    let service = |runs: &ServiceSpec| ServiceSpec {
        digest: digest(runs).unwrap_or_else(|| runs.digest.clone()),
        unit: runs.unit.clone(),
    };
    InstanceSpec { services: running.services.iter().map(service).collect(), ..running.clone() }
}

impl<C: Containers> Manager<C> {
    /// Makes what runs what was written down, as far as that needs nothing to be started anew. True if anything was changed.
    pub(crate) async fn show(&self, tenant: &TenantName, record: &Record<InstanceSpec>) -> Result<bool, Fault> {
        let state = self.state(tenant).await?;
        let wanted = &record.spec;
        let Some(running) = self.running(tenant, state)? else { return Ok(false) };
        let shown = shown(&running, wanted);
        if running == shown || !wanted.stands_on_the_same(&running) {
            return Ok(false);
        }
        let limited = running.hot(wanted);
        if limited != running {
            if limited.limits != running.limits {
                self.containers.limit(tenant, &wanted.limits).await?;
            }
            self.note(tenant, record, limited.clone())?;
        }
        if limited == shown {
            return Ok(true);
        }
        if state != InstanceState::Active {
            return Ok(limited != running);
        }
        self.note(tenant, record, between(&limited, wanted))?;
        let gone: Vec<UnitName> = running.services_beyond(wanted).cloned().collect();
        self.containers.stop_services(tenant, &gone).await?;
        if self.shown_by_its_unit(tenant).await? {
            let changed: Vec<&ServiceSpec> = wanted.changed_services(&running).collect();
            let others = wanted.services.iter().filter(|service| !changed.contains(service));
            let others: Vec<UnitName> = others.map(|service| service.unit.clone()).collect();
            self.containers.reload_services(tenant).await?;
            self.containers.start_services(tenant, &others).await?;
            self.note(tenant, record, shown)?;
        }
        Ok(true)
    }

    /// Has the tenant's unit show it the commit's files. False if the tenant had to be started anew for that.
    async fn shown_by_its_unit(&self, tenant: &TenantName) -> Result<bool, Fault> {
        self.held.forget_not_shown(tenant)?;
        match self.containers.show(tenant).await {
            Ok(()) => return Ok(true),
            Err(SystemdError::Job { .. }) => {}
            Err(fault) => return Err(fault.into()),
        }
        let (tenants, reason) = match self.held.not_shown(tenant)? {
            Some(said) => (said.tenants, said.reason),
            None => (false, "its unit was not reloaded".to_owned()),
        };
        if !tenants {
            return Err(Fault::NotShown { tenant: tenant.clone(), reason });
        }
        // What the tenant did to its own mounts ends with it.
        warn!(%tenant, "it is started anew because nothing can be shown to it as it is: {reason}");
        let before = self.before_start(tenant)?;
        self.came_up(tenant, before, self.containers.restart(tenant).await).await?;
        Ok(false)
    }

    /// Starts those services of a running tenant anew that run with something else than was written down.
    ///
    /// # Errors
    /// The call is stale, nothing is held for the tenant, it does not run, or its service manager does not answer.
    pub async fn restart_services(&self, tenant: &TenantName, generation: u64) -> Result<bool, Fault> {
        let _turn = self.turn(tenant).await;
        let holding = self.accept(tenant, generation)?;
        self.held.advance(tenant, &holding, generation)?;
        let (record, state) = (holding.record, self.state(tenant).await?);
        let running = match self.running(tenant, state)? {
            Some(running) if state == InstanceState::Active => running,
            Some(_) | None => return Err(self.not_running(tenant).await?),
        };
        // What they would be started with may not be there yet.
        let is_shown = running.revision == record.spec.revision && record.spec.stands_on_the_same(&running);
        let changed: Vec<ServiceSpec> = record.spec.changed_services(&running).cloned().collect();
        if !is_shown || changed.is_empty() {
            return Ok(false);
        }
        let units: Vec<UnitName> = changed.iter().map(|service| service.unit.clone()).collect();
        let unknown = |runs: &ServiceSpec| units.contains(&runs.unit).then(Digest::unknown);
        self.note(tenant, &record, with_digests(&running, unknown))?;
        self.containers.restart_services(tenant, &units).await?;
        let started = |runs: &ServiceSpec| {
            changed.iter().find(|service| service.unit == runs.unit).map(|service| service.digest.clone())
        };
        self.note(tenant, &record, with_digests(&running, started))?;
        let units = units.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        info!(%tenant, generation, units, "services restarted");
        Ok(true)
    }

    fn note(&self, tenant: &TenantName, record: &Record<InstanceSpec>, spec: InstanceSpec) -> Result<(), Fault> {
        Ok(self.held.note_started(tenant, &Record { generation: record.generation, spec })?)
    }
}

#[cfg(test)]
#[path = "change_tests.rs"]
mod tests;
