//! What the tenant manager asks of the host's service manager. The real one is in [`crate::units`]; tests have one that
//! remembers what it was asked.

use crate::{blame::Ending, fault::Fault};
use host::systemd::SystemdError;
use model::{Limits, TenantName, UnitName, names::RepositoryName, observed::InstanceState};
use std::collections::{BTreeMap, BTreeSet};

/// What the units of all tenants are doing.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// The tenants' own units; those not named are inactive.
    pub states: BTreeMap<TenantName, InstanceState>,
    /// For whom somebody listens.
    pub listening: BTreeSet<TenantName>,
}

/// Tenants' units and polling timers.
pub trait Containers: Clone + Send + Sync + 'static {
    /// What all tenants' units are doing.
    fn seen(&self) -> impl Future<Output = Result<Seen, SystemdError>> + Send;
    /// Starts a tenant's unit and waits until the tenant is ready.
    fn start(&self, tenant: &TenantName) -> impl Future<Output = Result<(), SystemdError>> + Send;
    /// Runs the script that comes before a tenant's new root, and waits until it has ended.
    fn pre_provision(&self, tenant: &TenantName) -> impl Future<Output = Result<(), SystemdError>> + Send;
    /// Stops a tenant's unit if it runs, starts it and waits until the tenant is ready.
    fn restart(&self, tenant: &TenantName) -> impl Future<Output = Result<(), SystemdError>> + Send;
    /// Stops a tenant's unit, or its next attempt to start, and waits until it has ended.
    fn stop(&self, tenant: &TenantName) -> impl Future<Output = Result<(), SystemdError>> + Send;
    /// Forgets what a tenant's unit that has ended was and was limited to.
    fn forget(&self, tenant: &TenantName) -> impl Future<Output = Result<(), SystemdError>> + Send;
    /// Limits a running tenant.
    fn limit(&self, tenant: &TenantName, limits: &Limits) -> impl Future<Output = Result<(), SystemdError>> + Send;
    /// Has a running tenant's unit show it the files of the commit that is written down.
    fn show(&self, tenant: &TenantName) -> impl Future<Output = Result<(), SystemdError>> + Send;
    /// Has a tenant's own service manager read its unit files anew.
    fn reload_services(&self, tenant: &TenantName) -> impl Future<Output = Result<(), Fault>> + Send;
    /// Stops services of a running tenant and waits until they have ended.
    fn stop_services(&self, tenant: &TenantName, units: &[UnitName]) -> impl Future<Output = Result<(), Fault>> + Send;
    /// Starts those services of a running tenant that are not up, and waits until they are or have failed.
    fn start_services(&self, tenant: &TenantName, units: &[UnitName])
    -> impl Future<Output = Result<(), Fault>> + Send;
    /// Stops and starts services of a running tenant, and waits until they are up or have failed.
    fn restart_services(
        &self,
        tenant: &TenantName,
        units: &[UnitName],
    ) -> impl Future<Output = Result<(), Fault>> + Send;
    /// Starts to listen for a tenant as its files say, if nobody did, and returns on which ports.
    fn listen(&self, tenant: &TenantName) -> impl Future<Output = Result<Vec<u16>, SystemdError>> + Send;
    /// Stops to listen for a tenant and to lead anybody to it, so that nothing of that is loaded.
    fn stop_listening(&self, tenant: &TenantName) -> impl Future<Output = Result<(), SystemdError>> + Send;
    /// Leads to a running tenant who is connected, and has it sleep when nobody is.
    fn lead(&self, tenant: &TenantName) -> impl Future<Output = Result<(), SystemdError>> + Send;
    /// How a tenant's unit ended, as far as anybody said.
    fn ending(&self, tenant: &TenantName) -> impl Future<Output = Ending> + Send;
    /// Whether the host is going down.
    fn stopping(&self) -> impl Future<Output = Result<bool, SystemdError>> + Send;
    /// Whether the host has room for another tenant.
    fn has_room(&self) -> bool;
    /// The repositories whose polling timers run.
    fn polled(&self) -> impl Future<Output = Result<BTreeSet<RepositoryName>, SystemdError>> + Send;
    /// Starts a repository's polling timer as its files say, if it was not loaded.
    fn poll(&self, repository: &RepositoryName) -> impl Future<Output = Result<(), SystemdError>> + Send;
    /// Stops a repository's polling timer, so that it is not loaded any more.
    fn stop_polling(&self, repository: &RepositoryName) -> impl Future<Output = Result<(), SystemdError>> + Send;
}
