//! What the machine is asked to do, in the few verbs that this service needs of it.

use crate::{
    error::MachineError,
    links::{Links, Netlink},
    nft,
};
use model::{NetworkSpec, network::LinkName};
use runtime::foreign::{self, ForeignError};
use serde_json::{Value, json};
use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{sync::Mutex, time::sleep};
use tracing::warn;

/// The machine's side of a tenant's network.
pub trait Machine: Clone + Send + Sync + 'static {
    /// The links and their addresses.
    fn links(&self) -> impl Future<Output = Result<Links, MachineError>> + Send;
    /// Lets the files of systemd-networkd take effect, and returns when the bridge is up with its address.
    fn converge(&self, spec: &NetworkSpec) -> impl Future<Output = Result<(), MachineError>> + Send;
    /// Lets the absence of files take effect, so that systemd-networkd does not make again what is deleted.
    fn reload(&self) -> impl Future<Output = Result<(), MachineError>> + Send;
    /// Deletes a link. Returns whether it was there.
    fn delete(&self, bridge: &LinkName) -> impl Future<Output = Result<bool, MachineError>> + Send;
    /// The firewall's table as `nft --json` lists it, if it is there.
    fn table(&self) -> impl Future<Output = Result<Option<Value>, MachineError>> + Send;
    /// Applies an nft file in one transaction.
    fn load(&self, rules: &str) -> impl Future<Output = Result<(), MachineError>> + Send;
}

/// How long a bridge may take to appear once systemd-networkd has its files.
const APPEARS: Duration = Duration::from_secs(15);
/// How long systemd-networkd may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long to wait for what ends or begins soon in systemd-networkd, where nothing tells when.
const BACK_OFF: Duration = Duration::from_millis(3);
const ATTEMPTS: u32 = 700;

/// The real thing: the kernel, nft, and systemd-networkd.
#[derive(Debug, Clone)]
pub struct Kernel {
    networkd: PathBuf,
    reloads: Arc<Reloads>,
}

/// Reloads that were asked for and the last one that was served: many calls at once need one reload.
#[derive(Debug, Default)]
struct Reloads {
    asked: AtomicU64,
    served: Mutex<u64>,
}

impl Default for Kernel {
    fn default() -> Self {
        Self { networkd: PathBuf::from("/run/varlink/registry/io.systemd.Network"), reloads: Arc::default() }
    }
}

impl Kernel {
    /// Waits until systemd-networkd leases the address, before the tenant asks for it. The server begins with the bridge's
    /// first carrier and stays; were that the tenant's own, its first question could be too early, and the next is seconds
    /// later.
    async fn leased(&self, spec: &NetworkSpec) -> Result<(), MachineError> {
        for _ in 0..ATTEMPTS {
            if self.leases(spec).await? {
                return Ok(());
            }
            sleep(BACK_OFF).await;
        }
        Err(MachineError::NoLeases(spec.bridge.clone()))
    }

    async fn leases(&self, spec: &NetworkSpec) -> Result<bool, MachineError> {
        let link = self.call("io.systemd.Network.Link.Describe", &named(&spec.bridge)).await?;
        Ok(link["Interface"]["DHCPServer"].is_object())
    }

    async fn call(&self, method: &'static str, parameters: &Value) -> Result<Value, MachineError> {
        Ok(foreign::call(&self.networkd, method, parameters, PATIENCE).await?.0)
    }
}

/// Returns when the bridge is as `wanted` says.
async fn appear(
    netlink: &mut Netlink,
    spec: &NetworkSpec,
    wanted: impl Fn(&Links) -> bool + Send,
) -> Result<(), MachineError> {
    match netlink.wait(APPEARS, wanted).await? {
        true => Ok(()),
        false => Err(MachineError::NoBridge { bridge: spec.bridge.clone(), seconds: APPEARS.as_secs() }),
    }
}

fn named(bridge: &LinkName) -> Value {
    json!({ "InterfaceName": bridge })
}

impl Machine for Kernel {
    async fn links(&self) -> Result<Links, MachineError> {
        Netlink::open()?.links().await
    }

    async fn converge(&self, spec: &NetworkSpec) -> Result<(), MachineError> {
        let mut netlink = Netlink::open()?;
        let was_there = netlink.links().await?.0.contains_key(spec.bridge.as_str());
        self.reload().await?;
        // A link that is there and was tampered with is not touched by a reload; one that is made anew is.
        if was_there && !netlink.links().await?.hold(spec) {
            self.call("io.systemd.Network.Link.Reconfigure", &named(&spec.bridge)).await?;
        }
        appear(&mut netlink, spec, |links| links.0.contains_key(spec.bridge.as_str())).await?;
        // The carrier beside the address, not after it. A new bridge systemd-networkd may not know yet, and leases nothing on.
        let cable = if was_there && self.leases(spec).await? {
            netlink.unplug_former(&spec.bridge).await?;
            None
        } else {
            Some(netlink.plug(&spec.bridge).await?)
        };
        let made = async {
            appear(&mut netlink, spec, |links| links.hold(spec)).await?;
            self.leased(spec).await
        }
        .await;
        if let Some(cable) = cable {
            // The kernel waits for every processor before a link is gone; nobody has to wait with it. One that a kill leaves
            // leads nowhere, and goes with the bridge or when the bridge is made again.
            tokio::spawn(async move {
                if let Err(fault) = netlink.unplug(cable).await {
                    warn!("{}", runtime::chain(&fault));
                }
            });
        }
        made
    }

    async fn reload(&self) -> Result<(), MachineError> {
        let mine = self.reloads.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let mut served = self.reloads.served.lock().await;
        if *served >= mine {
            return Ok(());
        }
        let covers = self.reloads.asked.load(Ordering::SeqCst);
        let mut attempt = 0;
        loop {
            attempt += 1;
            match self.call("io.systemd.Network.Reload", &json!({})).await {
                Err(MachineError::Networkd(ForeignError::Failed { error, .. }))
                    if error.ends_with(".AlreadyReloading") && attempt < ATTEMPTS =>
                {
                    sleep(BACK_OFF).await;
                }
                Ok(_) => {
                    *served = covers;
                    return Ok(());
                }
                Err(cause) => return Err(cause),
            }
        }
    }

    async fn delete(&self, bridge: &LinkName) -> Result<bool, MachineError> {
        let netlink = Netlink::open()?;
        netlink.unplug_former(bridge).await?;
        netlink.delete(bridge).await
    }

    async fn table(&self) -> Result<Option<Value>, MachineError> {
        nft::table().await
    }

    async fn load(&self, rules: &str) -> Result<(), MachineError> {
        nft::load(rules).await
    }
}
