//! A service manager that remembers what it was asked, and tenants to try it on.

use super::*;
use crate::{blame::Ending, containers::Seen, held::NotShown};
use model::{Limits, Revision, ServiceSpec, names::RepositoryName};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

/// A specification for slot 3 whose revision is made of `digit`.
pub(crate) fn spec(digit: &str) -> InstanceSpec {
    let slot = Slot::new(3).unwrap();
    InstanceSpec {
        revision: digit.repeat(40).parse().unwrap(),
        image: "debian".parse().unwrap(),
        uids: slot.uids(),
        bridge: slot.bridge(),
        mac: slot.mac(),
        address: slot.address(),
        limits: Limits::default(),
        inherited: model::inherited::Inherited::default(),
        security: model::security::Security::default(),
        sysext: Vec::new(),
        services: vec![service("hello.service", "a")],
        secrets: Vec::new(),
        depends_on: Vec::new(),
        hooks: Vec::new(),
        wake: None,
    }
}

pub(crate) fn service(unit: &str, digit: &str) -> ServiceSpec {
    ServiceSpec { unit: unit.parse().unwrap(), digest: digit.repeat(64).parse().unwrap() }
}

#[derive(Debug, Default)]
pub(crate) struct Machine {
    pub(crate) states: BTreeMap<TenantName, InstanceState>,
    pub(crate) listening: BTreeSet<TenantName>,
    pub(crate) polled: BTreeSet<RepositoryName>,
    pub(crate) asked: Vec<String>,
    pub(crate) refuses: bool,
    /// Whether a start that fails got as far as the tenant's own processes.
    pub(crate) enters: bool,
    /// How the job of a start that fails ends, if not as failed.
    pub(crate) job: Option<&'static str>,
    pub(crate) stopping: bool,
    pub(crate) full: bool,
    /// What says why, if a tenant cannot be shown anything.
    pub(crate) not_shown: Option<NotShown>,
    /// The next word inside a tenant after which the service is killed.
    pub(crate) killed_at: Option<&'static str>,
}

#[derive(Debug, Clone)]
pub(crate) struct Fake {
    pub(crate) machine: Arc<Mutex<Machine>>,
    pub(crate) held: Held,
    paths: Paths,
}

impl Fake {
    fn ask(&self, what: String) {
        self.machine.lock().unwrap().asked.push(what);
    }

    fn inside(&self, verb: &'static str, tenant: &TenantName, units: &[UnitName]) -> Result<(), Fault> {
        let units: Vec<&str> = units.iter().map(UnitName::as_str).collect();
        if verb == "reload" || !units.is_empty() {
            self.ask(format!("{verb} in {tenant}: {}", units.join(" ")).trim_end_matches([':', ' ']).to_owned());
        }
        let killed = self.machine.lock().unwrap().killed_at.take_if(|at| *at == verb).is_some();
        // As a kill: nobody goes on.
        if killed { Err(Fault::GoingDown) } else { Ok(()) }
    }

    pub(crate) fn kill_at(&self, verb: &'static str) {
        self.machine.lock().unwrap().killed_at = Some(verb);
    }

    pub(crate) fn does_not_show(&self, why: NotShown) {
        self.machine.lock().unwrap().not_shown = Some(why);
    }

    pub(crate) fn is(&self, state: InstanceState) {
        self.machine.lock().unwrap().states.values_mut().for_each(|known| *known = state);
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.machine.lock().unwrap().asked)
    }
}

impl Containers for Fake {
    async fn seen(&self) -> Result<Seen, SystemdError> {
        let machine = self.machine.lock().unwrap();
        Ok(Seen { states: machine.states.clone(), listening: machine.listening.clone() })
    }

    async fn listen(&self, tenant: &TenantName) -> Result<Vec<u16>, SystemdError> {
        self.ask(format!("listen for {tenant}"));
        self.machine.lock().unwrap().listening.insert(tenant.clone());
        let said = fs::read_to_string(self.paths.units().join(crate::sleep::drop_in(tenant))).unwrap();
        let ports = said.lines().filter_map(|line| line.strip_prefix("ListenStream=0.0.0.0:"));
        Ok(ports.map(|port| port.parse().unwrap()).collect())
    }

    async fn stop_listening(&self, tenant: &TenantName) -> Result<(), SystemdError> {
        let woken = self.held.read(tenant).unwrap().is_some_and(|held| held.record.spec.wake.is_some());
        if self.machine.lock().unwrap().listening.remove(tenant) || woken {
            self.ask(format!("stop listening for {tenant}"));
        }
        Ok(())
    }

    async fn lead(&self, tenant: &TenantName) -> Result<(), SystemdError> {
        self.ask(format!("lead to {tenant}"));
        Ok(())
    }

    async fn start(&self, tenant: &TenantName) -> Result<(), SystemdError> {
        self.ask(format!("start {tenant}"));
        let mut machine = self.machine.lock().unwrap();
        if machine.refuses {
            machine.states.insert(tenant.clone(), InstanceState::Activating);
            if machine.enters {
                let record = self.held.read(tenant).unwrap().unwrap().record;
                self.held.forget_started(tenant).unwrap();
                self.held.note_started(tenant, &record).unwrap();
            }
            let result = machine.job.unwrap_or("failed").to_owned();
            return Err(SystemdError::Job { action: "start", unit: tenant.to_string(), result });
        }
        machine.states.insert(tenant.clone(), InstanceState::Active);
        // As `run` does.
        let record = self.held.read(tenant).unwrap().unwrap().record;
        self.held.forget_started(tenant).unwrap();
        self.held.note_started(tenant, &record).unwrap();
        Ok(())
    }

    async fn pre_provision(&self, tenant: &TenantName) -> Result<(), SystemdError> {
        self.ask(format!("pre-provision {tenant}"));
        match self.held.to_provision(tenant).unwrap().unwrap().spec.revision.as_str() {
            revision if revision.starts_with('a') => Ok(()),
            _ => {
                self.held.note_hook_failure(tenant, "pre-provision scripts/room exited with 1").unwrap();
                let result = "failed".to_owned();
                Err(SystemdError::Job { action: "restart", unit: tenant.to_string(), result })
            }
        }
    }

    async fn restart(&self, tenant: &TenantName) -> Result<(), SystemdError> {
        self.start(tenant).await
    }

    async fn stop(&self, tenant: &TenantName) -> Result<(), SystemdError> {
        self.ask(format!("stop {tenant}"));
        self.machine.lock().unwrap().states.remove(tenant);
        Ok(())
    }

    async fn forget(&self, tenant: &TenantName) -> Result<(), SystemdError> {
        self.ask(format!("forget {tenant}"));
        Ok(())
    }

    async fn limit(&self, tenant: &TenantName, limits: &Limits) -> Result<(), SystemdError> {
        self.ask(format!("limit {tenant} to {:?} cores", limits.cpu_cores));
        Ok(())
    }

    async fn show(&self, tenant: &TenantName) -> Result<(), SystemdError> {
        self.ask(format!("show {tenant}"));
        match self.machine.lock().unwrap().not_shown.take() {
            None => Ok(()),
            Some(why) => {
                self.held.note_not_shown(tenant, &why).unwrap();
                let result = "failed".to_owned();
                Err(SystemdError::Job { action: "reload", unit: tenant.to_string(), result })
            }
        }
    }

    async fn reload_services(&self, tenant: &TenantName) -> Result<(), Fault> {
        self.inside("reload", tenant, &[])
    }

    async fn stop_services(&self, tenant: &TenantName, units: &[UnitName]) -> Result<(), Fault> {
        self.inside("stop", tenant, units)
    }

    async fn start_services(&self, tenant: &TenantName, units: &[UnitName]) -> Result<(), Fault> {
        self.inside("start", tenant, units)
    }

    async fn restart_services(&self, tenant: &TenantName, units: &[UnitName]) -> Result<(), Fault> {
        self.inside("restart", tenant, units)
    }

    async fn ending(&self, _tenant: &TenantName) -> Ending {
        Ending { result: Some("exit-code".to_owned()), status: 1, said: String::new() }
    }

    async fn stopping(&self) -> Result<bool, SystemdError> {
        Ok(self.machine.lock().unwrap().stopping)
    }

    fn has_room(&self) -> bool {
        !self.machine.lock().unwrap().full
    }

    async fn polled(&self) -> Result<BTreeSet<RepositoryName>, SystemdError> {
        Ok(self.machine.lock().unwrap().polled.clone())
    }

    async fn poll(&self, repository: &RepositoryName) -> Result<(), SystemdError> {
        self.ask(format!("poll {repository}"));
        self.machine.lock().unwrap().polled.insert(repository.clone());
        Ok(())
    }

    async fn stop_polling(&self, repository: &RepositoryName) -> Result<(), SystemdError> {
        self.ask(format!("stop polling {repository}"));
        self.machine.lock().unwrap().polled.remove(repository);
        Ok(())
    }
}

pub(crate) struct Fixture {
    pub(crate) root: tempfile::TempDir,
    pub(crate) fake: Fake,
    pub(crate) manager: Manager<Fake>,
    pub(crate) web: TenantName,
}

pub(crate) fn fixture() -> Fixture {
    let root = tempfile::tempdir().unwrap();
    let paths = Paths::below(root.path());
    let web: TenantName = "web".parse().unwrap();
    fs::create_dir_all(root.path().join("var/lib/tenants/web")).unwrap();
    for digit in ["a", "b"] {
        let revision: Revision = digit.repeat(40).parse().unwrap();
        let units = paths.checkout(&web, &revision).join("units");
        fs::create_dir_all(&units).unwrap();
        fs::write(units.join("hello.service"), "[Service]\nExecStart=true\n").unwrap();
    }
    let fake = Fake { machine: Arc::default(), held: Held::at(&paths), paths: paths.clone() };
    Fixture { root, fake: fake.clone(), manager: Manager::new(fake, paths), web }
}
