//! One caller's conversation: each method is one call of the manager.

use crate::{fault::Fault, health, log, manager::Manager, reserved, units::Units};
use futures_util::{Stream, StreamExt};
use interfaces::{
    Method,
    tenant::{
        Changed, CheckHealth, Ensure, EnsurePolling, Error, GetReservedUids, Health, Instance, List, Listed, Listen,
        Logged, PreProvision, ReadLog, Remove, ReservedUids, Restart, RestartServices, Start, Stop,
    },
};
use runtime::{Answer, Call, session::Continues};
use std::path::Path;

/// Answers calls of io.bitbuilder.Tenant.
#[derive(Debug, Clone)]
pub struct Session {
    manager: Manager<Units>,
}

impl Session {
    /// Answers with what this manager does.
    #[must_use]
    pub fn new(manager: Manager<Units>) -> Self {
        Self { manager }
    }

    async fn ensure(&self, p: Ensure) -> Result<Changed, Error> {
        let changed = self.manager.ensure(&p.tenant, p.generation, p.spec).await;
        answered(changed, || format!("write down what {} runs", p.tenant))
    }

    async fn pre_provision(&self, p: PreProvision) -> Result<Changed, Error> {
        let changed = self.manager.pre_provision(&p.tenant, p.generation, p.spec).await;
        answered(changed, || format!("run what comes before the root of {}", p.tenant))
    }

    async fn start(&self, p: Start) -> Result<Changed, Error> {
        answered(self.manager.start(&p.tenant, p.generation).await, || format!("start {}", p.tenant))
    }

    async fn listen(&self, p: Listen) -> Result<Changed, Error> {
        answered(self.manager.listen(&p.tenant, p.generation).await, || format!("listen for {}", p.tenant))
    }

    async fn restart(&self, p: Restart) -> Result<Changed, Error> {
        answered(self.manager.restart(&p.tenant, p.generation).await, || format!("restart {}", p.tenant))
    }

    async fn restart_services(&self, p: RestartServices) -> Result<Changed, Error> {
        let changed = match self.manager.restart_services(&p.tenant, p.generation).await {
            Err(fault) => Err(self.manager.unanswered(&p.tenant, fault).await),
            changed => changed,
        };
        answered(changed, || format!("restart services of {}", p.tenant))
    }

    async fn stop(&self, p: Stop) -> Result<Changed, Error> {
        answered(self.manager.stop(&p.tenant, p.generation).await, || format!("stop {}", p.tenant))
    }

    async fn remove(&self, p: Remove) -> Result<Changed, Error> {
        answered(self.manager.remove(&p.tenant, p.generation).await, || format!("forget {}", p.tenant))
    }

    async fn list(&self, p: List) -> Result<Vec<Instance>, Error> {
        self.manager.list(p.tenant).await.map_err(|fault| fault.into_error("list the tenants' processes"))
    }

    async fn check_health(&self, p: CheckHealth) -> Result<Health, Error> {
        let asked = async {
            let services = self.manager.running_services(&p.tenant).await?;
            match health::ask(&p.tenant, &services).await {
                Err(fault) => Err(self.manager.unanswered(&p.tenant, fault).await),
                answered => answered,
            }
        };
        let failed = |fault: Fault| fault.into_error(&format!("ask {} for its services", p.tenant));
        Ok(Health { services: asked.await.map_err(failed)? })
    }

    async fn ensure_polling(&self, p: EnsurePolling) -> Result<Changed, Error> {
        let changed = self.manager.ensure_polling(&p.timers).await;
        answered(changed, || "make the polling timers match".to_owned())
    }

    async fn reserved_uids(&self) -> Result<ReservedUids, Error> {
        let read = tokio::task::spawn_blocking(|| reserved::ranges(Path::new("/etc"))).await;
        let ranges = read.unwrap_or_else(|cause| Err(cause.into()));
        let ranges = ranges.map_err(|cause| Fault::Accounts(cause).into_error("look up reserved uids"))?;
        Ok(ReservedUids { ranges })
    }

    async fn read_log(
        &self,
        p: ReadLog,
    ) -> Result<impl Stream<Item = Result<(Logged, Continues), Error>> + Send + use<>, Error> {
        let failed = |fault: Fault| fault.into_error(&format!("read the log of {}", p.tenant));
        self.manager.must_hold(&p.tenant).map_err(failed)?;
        let root = self.manager.paths().tenant_root(&p.tenant);
        let lines = log::read(&p.tenant, &root, p.lines, p.follow).await.map_err(failed)?;
        Ok(lines.map(|(line, continues)| Ok((Logged { line }, continues))))
    }
}

fn answered(changed: Result<bool, Fault>, action: impl FnOnce() -> String) -> Result<Changed, Error> {
    changed.map(|changed| Changed { changed }).map_err(|fault| fault.into_error(&action()))
}

impl runtime::Session for Session {
    async fn call(&self, call: Call) -> Answer {
        match call.name() {
            Ensure::NAME => call.answer(|p: Ensure| self.ensure(p)).await,
            PreProvision::NAME => call.answer(|p: PreProvision| self.pre_provision(p)).await,
            Start::NAME => call.answer(|p: Start| self.start(p)).await,
            Listen::NAME => call.answer(|p: Listen| self.listen(p)).await,
            Restart::NAME => call.answer(|p: Restart| self.restart(p)).await,
            Remove::NAME => call.answer(|p: Remove| self.remove(p)).await,
            RestartServices::NAME => call.answer(|p: RestartServices| self.restart_services(p)).await,
            Stop::NAME => call.answer(|p: Stop| self.stop(p)).await,
            List::NAME => call.list(|p: List| self.list(p), |instances| Listed { instances }).await,
            CheckHealth::NAME => call.answer(|p: CheckHealth| self.check_health(p)).await,
            EnsurePolling::NAME => call.answer(|p: EnsurePolling| self.ensure_polling(p)).await,
            GetReservedUids::NAME => call.answer(|_: GetReservedUids| self.reserved_uids()).await,
            ReadLog::NAME => call.stream(|p: ReadLog| self.read_log(p)).await,
            _ => call.not_served(),
        }
    }
}
