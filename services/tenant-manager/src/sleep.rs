//! Tenants that are activated on demand: who listens on the ports that wake them, and how they go to sleep.
//!
//! Their ports are a drop-in of the socket, and a drop-in is read when its unit is loaded: a socket that is to change is
//! stopped, by which it is unloaded, and started again. So the service manager never has to reload.

use crate::{
    containers::{Containers, Seen},
    fault::Fault,
    manager::Manager,
    paths::Paths,
    unit_files, units,
};
use boot::units::{DROP_IN, listen_text, wake_socket};
use host::{
    files::FileError,
    systemd::{Systemd, SystemdError},
};
use model::{
    InstanceSpec, TenantName,
    observed::{InstanceState, Listening},
};
use std::env;
use tracing::info;

/// How what leads connections ends that found nobody (EX_TEMPFAIL of sysexits.h(3head)).
const GAVE_UP: u8 = 75;

/// The drop-in that says which ports wake a tenant.
pub(crate) fn drop_in(tenant: &TenantName) -> String {
    format!("{}.d/{DROP_IN}", wake_socket(tenant))
}

/// Whether it is listened as `spec` says.
pub(crate) fn listening(
    paths: &Paths,
    tenant: &TenantName,
    spec: &InstanceSpec,
    seen: &Seen,
) -> Result<Listening, FileError> {
    if !seen.listening.contains(tenant) {
        return Ok(Listening::No);
    }
    let (said, wanted) = (unit_files::read(paths, &drop_in(tenant))?, spec.wake.as_ref().map(listen_text));
    Ok(if wanted.is_some() && said == wanted { Listening::AsWritten } else { Listening::Otherwise })
}

impl<C: Containers> Manager<C> {
    /// Has somebody listen on the ports that wake a tenant, as is written down for it, or nobody.
    ///
    /// # Errors
    /// The call is stale, nothing is held for the tenant, or the ports cannot be had.
    pub async fn listen(&self, tenant: &TenantName, generation: u64) -> Result<bool, Fault> {
        let _turn = self.turn(tenant).await;
        let holding = self.accept(tenant, generation)?;
        self.held.advance(tenant, &holding, generation)?;
        let (spec, seen) = (holding.record.spec, self.containers.seen().await?);
        let wanted = if spec.wake.is_some() { Listening::AsWritten } else { Listening::No };
        if listening(self.paths(), tenant, &spec, &seen)? == wanted {
            return Ok(false);
        }
        self.containers.stop_listening(tenant).await?;
        let Some(wake) = &spec.wake else {
            unit_files::remove(self.paths(), &drop_in(tenant))?;
            info!(%tenant, generation, "nobody listens for it any more");
            return Ok(true);
        };
        unit_files::write(self.paths(), &drop_in(tenant), &listen_text(wake))?;
        let ports: Vec<u16> = wake.forwards.iter().map(|forward| forward.host.number()).collect();
        if self.containers.listen(tenant).await.map_err(|fault| cannot_listen(tenant, fault))? != ports {
            return Err(Fault::OtherPorts(tenant.clone()));
        }
        if seen.states.get(tenant) == Some(&InstanceState::Active) {
            self.containers.lead(tenant).await?;
        }
        info!(%tenant, generation, ports = wake.forwards.len(), "listens for it");
        Ok(true)
    }
}

fn cannot_listen(tenant: &TenantName, fault: SystemdError) -> Fault {
    match fault {
        SystemdError::Job { .. } => Fault::Ports(tenant.clone()),
        SystemdError::Call { .. } => fault.into(),
    }
}

/// In the tenant's unit, when it has started: whoever started it, it sleeps again when nobody is connected.
pub(crate) async fn awake(tenant: &TenantName) -> Result<(), SystemdError> {
    // Without waiting: it begins when the tenant's unit is up, which waits for this.
    Systemd::connect().await?.begin_start(&boot::units::wake_service(tenant)).await
}

/// After what leads connections to a tenant has ended (systemd.exec(5), `$EXIT_CODE`): stops the tenant if that ended by itself
/// because nobody is connected; or because nobody was found, if it does not run indeed.
///
/// # Errors
/// The service manager refused.
pub async fn sleep(tenant: &TenantName) -> Result<(), SystemdError> {
    let said = |name: &str| env::var(name).unwrap_or_default();
    let gave_up = match (said("EXIT_CODE").as_str(), said("EXIT_STATUS").parse()) {
        ("exited", Ok(0)) => false,
        ("exited", Ok(GAVE_UP)) => true,
        _ => return Ok(()),
    };
    let (systemd, container) = (Systemd::connect().await?, units::container(tenant));
    if gave_up && systemd.list(&[&container]).await?.iter().any(|unit| unit.active_state == "active") {
        // It has its reasons not to answer there, and all its time until it sleeps.
        return systemd.begin_start(&boot::units::wake_service(tenant)).await;
    }
    info!(%tenant, gave_up, "sleeps");
    if !gave_up {
        // Its starts count towards the limit of those that fail one after the other.
        systemd.reset_failed(&container).await;
    }
    // Without waiting: who comes meanwhile is heard, and starts it again as soon as it has ended.
    systemd.begin_stop(&container).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manager::tests::{Fixture, fixture, spec};
    use model::{Forward, Protocol, Wake};

    fn woken(port: i64) -> InstanceSpec {
        let forward =
            Forward { host: port.try_into().unwrap(), tenant: 80.try_into().unwrap(), protocol: Protocol::Tcp };
        InstanceSpec { wake: Some(Wake { forwards: vec![forward], sleep_after: "1h".parse().unwrap() }), ..spec("a") }
    }

    #[tokio::test]
    async fn it_is_listened_as_is_written_down_and_nothing_is_done_twice() {
        let Fixture { fake, manager, web, root: _root } = fixture();
        let file = manager.paths().units().join(drop_in(&web));
        manager.ensure(&web, 1, woken(8080)).await.unwrap();
        assert!(manager.listen(&web, 1).await.unwrap());
        assert!(!manager.listen(&web, 1).await.unwrap());
        assert_eq!(fake.asked(), ["stop listening for web", "listen for web"]);
        assert!(std::fs::read_to_string(&file).unwrap().contains("ListenStream=0.0.0.0:8080\n"));
        let listening = async || manager.list(None).await.unwrap()[0].listening;
        assert_eq!(listening().await, Listening::AsWritten);

        // Another port, while the tenant runs.
        manager.start(&web, 2).await.unwrap();
        manager.ensure(&web, 3, woken(8081)).await.unwrap();
        assert_eq!(listening().await, Listening::Otherwise);
        assert!(matches!(manager.listen(&web, 2).await, Err(Fault::Stale(_))));
        fake.asked();
        assert!(manager.listen(&web, 3).await.unwrap());
        assert_eq!(fake.asked(), ["stop listening for web", "listen for web", "lead to web"]);

        // Whoever is stopped is not woken, and whoever always runs neither.
        manager.stop(&web, 4).await.unwrap();
        assert_eq!(listening().await, Listening::No);
        assert!(fake.asked().contains(&"stop listening for web".to_owned()) && !file.exists());
        manager.ensure(&web, 5, woken(8081)).await.unwrap();
        manager.listen(&web, 5).await.unwrap();
        manager.ensure(&web, 6, spec("a")).await.unwrap();
        assert_eq!(listening().await, Listening::Otherwise);
        assert!(manager.listen(&web, 6).await.unwrap() && !manager.listen(&web, 6).await.unwrap());
        assert!(!file.exists());
    }
}
