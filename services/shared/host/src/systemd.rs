//! The service manager, over D-Bus where its Varlink interface has no such method yet: starting and stopping units that
//! exist, waiting for their jobs, reading and setting their properties (org.freedesktop.systemd1(5)).

use futures_util::StreamExt;
use std::{collections::HashMap, sync::Arc};
use thiserror::Error;
use tokio::sync::Mutex;
use zbus::{Connection, proxy, zvariant::OwnedObjectPath};

pub use zbus::zvariant::{OwnedValue, Value};

/// What the service manager refused or failed to do.
#[derive(Debug, Error)]
pub enum SystemdError {
    /// The bus or the manager does not answer, or refused.
    #[error("cannot {action} {unit}")]
    Call {
        /// In words: start, stop.
        action: &'static str,
        /// Which unit.
        unit: String,
        /// What the bus said.
        #[source]
        cause: zbus::Error,
    },
    /// The job ended otherwise than done.
    #[error("the job to {action} {unit} ended as {result}")]
    Job {
        /// In words: start, stop.
        action: &'static str,
        /// Which unit.
        unit: String,
        /// `failed`, `timeout`, `dependency`, `canceled`…
        result: String,
    },
}

#[proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1",
    gen_blocking = false
)]
trait Manager {
    fn subscribe(&self) -> zbus::Result<()>;
    fn start_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn stop_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn reload_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn restart_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn kill_unit(&self, name: &str, whom: &str, signal: i32) -> zbus::Result<()>;
    fn reset_failed_unit(&self, name: &str) -> zbus::Result<()>;
    fn start_transient_unit(
        &self,
        name: &str,
        mode: &str,
        properties: &[(&str, Value<'_>)],
        aux: &[(&str, &[(&str, Value<'_>)])],
    ) -> zbus::Result<OwnedObjectPath>;
    fn revert_unit_files(&self, names: &[&str]) -> zbus::Result<Vec<(String, String, String)>>;
    fn load_unit(&self, name: &str) -> zbus::Result<OwnedObjectPath>;
    fn set_unit_properties(&self, name: &str, runtime: bool, properties: &[(&str, Value<'_>)]) -> zbus::Result<()>;
    #[zbus(name = "ListUnitsByPatterns")]
    fn list_units_by_patterns(&self, states: &[&str], patterns: &[&str]) -> zbus::Result<Vec<ListedUnit>>;
    #[zbus(property(emits_changed_signal = "false"))]
    fn system_state(&self) -> zbus::Result<String>;
    #[zbus(signal)]
    fn job_removed(&self, id: u32, job: OwnedObjectPath, unit: String, result: String) -> zbus::Result<()>;
}

#[proxy(
    interface = "org.freedesktop.DBus.Properties",
    default_service = "org.freedesktop.systemd1",
    gen_blocking = false
)]
pub(crate) trait Properties {
    fn get_all(&self, interface: &str) -> zbus::Result<HashMap<String, OwnedValue>>;
    #[zbus(signal)]
    fn properties_changed(
        &self,
        interface: String,
        changed: HashMap<String, OwnedValue>,
        invalidated: Vec<String>,
    ) -> zbus::Result<()>;
}

type ListedUnit = (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);

/// A connection to the service manager.
#[derive(Debug, Clone)]
pub struct Systemd {
    manager: ManagerProxy<'static>,
}

/// A connection for a service that is called all the time: made when it is needed first, and anew when it has broken,
/// because such a service outlives a restart of the bus. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Kept(Arc<Mutex<Option<Systemd>>>);

impl Kept {
    /// The connection that is there, or another one.
    ///
    /// # Errors
    /// The bus does not answer.
    pub async fn connect(&self) -> Result<Systemd, SystemdError> {
        let mut kept = self.0.lock().await;
        match kept.as_ref().filter(|systemd| !systemd.manager.inner().connection().is_closed()) {
            Some(systemd) => Ok(systemd.clone()),
            None => Ok(kept.insert(Systemd::connect().await?).clone()),
        }
    }
}

/// A unit as the manager lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// With its suffix.
    pub name: String,
    /// ActiveState.
    pub active_state: String,
    /// SubState.
    pub sub_state: String,
    /// Whether it waits to be started or stopped, or is about to be.
    pub has_job: bool,
}

impl Systemd {
    /// Connects to the system bus.
    ///
    /// # Errors
    /// The bus does not answer.
    pub async fn connect() -> Result<Self, SystemdError> {
        let failed = |cause| SystemdError::Call { action: "connect to", unit: "the service manager".to_owned(), cause };
        Self::over(&Connection::system().await.map_err(failed)?).await
    }

    /// The service manager on a bus.
    pub(crate) async fn over(bus: &Connection) -> Result<Self, SystemdError> {
        let failed = |cause| SystemdError::Call { action: "connect to", unit: "the service manager".to_owned(), cause };
        let manager = ManagerProxy::new(bus).await.map_err(failed)?;
        manager.subscribe().await.map_err(failed)?;
        Ok(Self { manager })
    }

    /// Starts a unit and waits until it has started. A running one is left alone.
    ///
    /// # Errors
    /// The manager refused, or the unit failed to start.
    pub async fn start(&self, unit: &str) -> Result<(), SystemdError> {
        self.job("start", unit).await
    }

    /// Stops a unit and waits until it has ended.
    ///
    /// # Errors
    /// The manager refused, or the unit did not end in order.
    pub async fn stop(&self, unit: &str) -> Result<(), SystemdError> {
        self.job("stop", unit).await
    }

    /// Has a unit started, without waiting for that.
    ///
    /// # Errors
    /// The manager refused.
    pub async fn begin_start(&self, unit: &str) -> Result<(), SystemdError> {
        self.begin("start", unit).await
    }

    /// Has a unit stopped, without waiting for that.
    ///
    /// # Errors
    /// The manager refused.
    pub async fn begin_stop(&self, unit: &str) -> Result<(), SystemdError> {
        self.begin("stop", unit).await
    }

    /// Stops a unit if it runs, starts it and waits until it has started.
    ///
    /// # Errors
    /// The manager refused, or the unit failed to start.
    pub async fn restart(&self, unit: &str) -> Result<(), SystemdError> {
        self.job("restart", unit).await
    }

    /// Has a running unit take over what changed, and waits until it has.
    ///
    /// # Errors
    /// The manager refused, as for a unit that does not run, or the unit failed to.
    pub async fn reload(&self, unit: &str) -> Result<(), SystemdError> {
        self.job("reload", unit).await
    }

    /// Makes a unit that has no file, starts it and waits until it has started.
    ///
    /// # Errors
    /// The manager refused a property, there is a unit of this name, or the unit failed to start.
    pub async fn start_transient(&self, unit: &str, properties: &[(&str, Value<'_>)]) -> Result<(), SystemdError> {
        self.wait("start", unit, self.manager.start_transient_unit(unit, "fail", properties, &[])).await
    }

    async fn begin(&self, action: &'static str, unit: &str) -> Result<(), SystemdError> {
        let failed = |cause| SystemdError::Call { action, unit: unit.to_owned(), cause };
        self.enqueue(action, unit).await.map(drop).map_err(failed)
    }

    async fn job(&self, action: &'static str, unit: &str) -> Result<(), SystemdError> {
        self.wait(action, unit, self.enqueue(action, unit)).await
    }

    /// A job that takes the place of the one that the unit may have.
    async fn enqueue(&self, action: &str, unit: &str) -> zbus::Result<OwnedObjectPath> {
        match action {
            "start" => self.manager.start_unit(unit, "replace").await,
            "stop" => self.manager.stop_unit(unit, "replace").await,
            "reload" => self.manager.reload_unit(unit, "replace").await,
            _ => self.manager.restart_unit(unit, "replace").await,
        }
    }

    async fn wait(
        &self,
        action: &'static str,
        unit: &str,
        call: impl Future<Output = zbus::Result<OwnedObjectPath>>,
    ) -> Result<(), SystemdError> {
        let failed = |cause| SystemdError::Call { action, unit: unit.to_owned(), cause };
        // Listen first: the job may be over before the call returns. And listen meanwhile: signals that nobody takes hold up
        // the replies behind them.
        let mut removed = self.manager.receive_job_removed().await.map_err(failed)?;
        let mut call = std::pin::pin!(call);
        let (mut job, mut early) = (None, HashMap::new());
        let result = loop {
            let signal = tokio::select! {
                called = &mut call, if job.is_none() => {
                    let called = called.map_err(failed)?;
                    if let Some(result) = early.remove(&called) {
                        break result;
                    }
                    job = Some(called);
                    continue;
                }
                signal = removed.next() => signal,
            };
            let Some(signal) = signal else {
                return Err(failed(zbus::Error::InputOutput(Arc::new(std::io::ErrorKind::ConnectionReset.into()))));
            };
            let ended = signal.args().map_err(failed)?;
            match &job {
                None => drop(early.insert(ended.job, ended.result)),
                Some(job) if *job == ended.job => break ended.result,
                Some(_) => {}
            }
        };
        match result.as_str() {
            "done" | "skipped" => Ok(()),
            _ => Err(SystemdError::Job { action, unit: unit.to_owned(), result }),
        }
    }

    /// Whether the host is going down, and ends whatever runs.
    ///
    /// # Errors
    /// The manager does not answer.
    pub async fn is_stopping(&self) -> Result<bool, SystemdError> {
        let failed = |cause| SystemdError::Call { action: "ask for the state of", unit: "the host".to_owned(), cause };
        Ok(self.manager.system_state().await.map_err(failed)? == "stopping")
    }

    /// Forgets that a unit failed, so that its start is not refused. A unit that is not loaded has nothing to forget.
    pub async fn reset_failed(&self, unit: &str) {
        if let Err(cause) = self.manager.reset_failed_unit(unit).await {
            tracing::debug!(unit, "nothing to forget: {cause}");
        }
    }

    /// Removes what was set of a unit, without a reload (systemctl(1), revert).
    ///
    /// # Errors
    /// The manager refused.
    pub async fn revert(&self, unit: &str) -> Result<(), SystemdError> {
        let failed = |cause| SystemdError::Call { action: "revert", unit: unit.to_owned(), cause };
        self.manager.revert_unit_files(&[unit]).await.map(drop).map_err(failed)
    }

    /// Sets properties of a unit until the next boot, without a reload.
    ///
    /// # Errors
    /// The manager refused one.
    pub async fn set_properties(&self, unit: &str, properties: &[(&str, Value<'_>)]) -> Result<(), SystemdError> {
        let failed = |cause| SystemdError::Call { action: "set properties of", unit: unit.to_owned(), cause };
        self.manager.set_unit_properties(unit, true, properties).await.map_err(failed)
    }

    /// The loaded units whose names match one of these globs.
    ///
    /// # Errors
    /// The manager does not answer.
    pub async fn list(&self, patterns: &[&str]) -> Result<Vec<Unit>, SystemdError> {
        let failed = |cause| SystemdError::Call { action: "list", unit: patterns.join(" "), cause };
        let listed = self.manager.list_units_by_patterns(&[], patterns).await.map_err(failed)?;
        let unit = |unit: ListedUnit| Unit {
            name: unit.0,
            active_state: unit.3,
            sub_state: unit.4,
            // The number of its job (org.freedesktop.systemd1(5), ListUnits).
            has_job: unit.7 != 0,
        };
        Ok(listed.into_iter().map(unit).collect())
    }

    /// All properties of a unit that belong to this D-Bus interface, as `Unit` or `Service`.
    ///
    /// # Errors
    /// There is no such unit, or the manager does not answer.
    pub async fn properties(&self, unit: &str, interface: &str) -> Result<HashMap<String, OwnedValue>, SystemdError> {
        let failed = |cause| SystemdError::Call { action: "look at", unit: unit.to_owned(), cause };
        let properties = self.object(unit).await?;
        properties.get_all(&format!("org.freedesktop.systemd1.{interface}")).await.map_err(failed)
    }

    /// A unit on the bus.
    pub(crate) async fn object(&self, unit: &str) -> Result<PropertiesProxy<'static>, SystemdError> {
        let failed = |cause| SystemdError::Call { action: "look at", unit: unit.to_owned(), cause };
        let path = self.manager.load_unit(unit).await.map_err(failed)?;
        let bus = self.manager.inner().connection();
        PropertiesProxy::builder(bus).path(path).map_err(failed)?.build().await.map_err(failed)
    }

    /// Sends all processes of a unit a signal.
    ///
    /// # Errors
    /// The manager refused.
    pub async fn kill(&self, unit: &str, signal: i32) -> Result<(), SystemdError> {
        let failed = |cause| SystemdError::Call { action: "send a signal to", unit: unit.to_owned(), cause };
        self.manager.kill_unit(unit, "all", signal).await.map_err(failed)
    }
}
