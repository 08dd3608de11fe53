//! Our services: a socket each, and somebody behind it who answers.

use super::{Finding, programs::unit_state};
use crate::services::{SERVICES, Service};
use futures_util::future::join_all;
use runtime::foreign::{self, ForeignError};
use serde_json::json;
use std::{path::Path, time::Duration};

/// An activated service starts within this, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) async fn all(sockets: &Path) -> Vec<Finding> {
    join_all(SERVICES.iter().map(|service| one(*service, sockets))).await
}

async fn one(service: Service, sockets: &Path) -> Finding {
    let socket = sockets.join(service.interface);
    let asked = foreign::call(&socket, "io.systemd.service.Ping", &json!({}), PATIENCE).await;
    if asked.is_ok() {
        return Finding::ok(service.interface, "answers");
    }
    let (load, active) =
        tokio::join!(unit_state(service.socket, "LoadState"), unit_state(service.socket, "ActiveState"));
    judge(service, asked.map(drop), &load, active == "active")
}

fn judge(service: Service, asked: Result<(), ForeignError>, load_state: &str, listens: bool) -> Finding {
    let Service { interface, socket, unit } = service;
    match (asked, load_state) {
        (Ok(()), _) => Finding::ok(interface, "answers"),
        (Err(_), "masked") => {
            let mend = format!("systemctl unmask {socket} && systemctl enable --now {socket}");
            Finding::fail(interface, format!("{socket} is masked"), mend)
        }
        (Err(_), "not-found") => {
            Finding::fail(interface, format!("{socket} is not installed"), "apt install --reinstall bitbuilder")
        }
        (Err(_), _) if !listens => {
            Finding::fail(interface, format!("{socket} does not listen"), format!("systemctl enable --now {socket}"))
        }
        (Err(error), _) => {
            let mend = format!("systemctl reset-failed {unit} && systemctl restart {socket} {unit}");
            Finding::fail(interface, runtime::chain(&error), mend)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_masked_is_unmasked_and_what_is_stopped_is_started() {
        let silent = || {
            let service = "/run/bitbuilder/io.bitbuilder.Network".to_owned();
            Err(ForeignError::TimedOut { service, method: "Ping".to_owned(), seconds: 20 })
        };
        let network = Service::at("io.bitbuilder.Network").unwrap();
        let mend = |load, listens| judge(network, silent(), load, listens).mend.unwrap();
        assert!(mend("masked", false).starts_with("systemctl unmask bitbuilder-network.socket"));
        assert_eq!(mend("loaded", false), "systemctl enable --now bitbuilder-network.socket");
        assert!(mend("loaded", true).contains("restart bitbuilder-network.socket bitbuilder-network.service"));
        assert!(mend("not-found", false).contains("apt install"));
        assert_eq!(judge(network, Ok(()), "", true).mend, None);
    }
}
