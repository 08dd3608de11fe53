//! The host's links and their IPv4 addresses, as the kernel says (rtnetlink(7)), and waiting for one.

use crate::error::MachineError;
use futures_util::{StreamExt, TryStreamExt};
use model::{NetworkSpec, network::LinkName};
use rtnetlink::{
    Handle, LinkUnspec, LinkVeth, MulticastGroup, new_multicast_connection,
    packet_route::{
        address::AddressAttribute,
        link::{LinkAttribute, LinkFlags},
    },
};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};

/// One link.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Link {
    /// The kernel's number for it.
    pub index: u32,
    /// Whether it is up, if only without a carrier.
    pub up: bool,
    /// Its addresses, with the lengths of their prefixes.
    pub addresses: Vec<(Ipv4Addr, u8)>,
}

/// All links by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Links(pub BTreeMap<String, Link>);

impl Links {
    /// Whether the bridge is up with its address.
    #[must_use]
    pub fn hold(&self, spec: &NetworkSpec) -> bool {
        let address = (spec.gateway, spec.prefix_length);
        self.0.get(spec.bridge.as_str()).is_some_and(|link| link.up && link.addresses.contains(&address))
    }
}

/// A conversation with the kernel, and what it tells unasked.
pub struct Netlink {
    handle: Handle,
    events: mpsc::Receiver<()>,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for Netlink {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Netlink {
    /// Opens it. Every change of a link or an address from here on is an event.
    ///
    /// # Errors
    /// No netlink socket.
    pub fn open() -> Result<Self, MachineError> {
        let groups = [MulticastGroup::Link, MulticastGroup::Ipv4Ifaddr];
        let (connection, handle, mut messages) = new_multicast_connection(&groups).map_err(MachineError::Socket)?;
        // Of many changes in a row one event is enough: the state is read anew each time.
        let (tell, events) = mpsc::channel(1);
        let forward = async move {
            while messages.next().await.is_some() {
                let _one_is_waiting = tell.try_send(());
            }
        };
        Ok(Self { handle, events, tasks: [tokio::spawn(connection), tokio::spawn(forward)] })
    }

    /// All links and addresses.
    ///
    /// # Errors
    /// The kernel does not say.
    pub async fn links(&self) -> Result<Links, MachineError> {
        let failed = |what: &str| {
            let action = format!("list the host's {what}");
            move |cause| MachineError::Netlink { action, cause }
        };
        let mut by_index = BTreeMap::new();
        let mut links = self.handle.link().get().execute();
        while let Some(message) = links.try_next().await.map_err(failed("links"))? {
            let link = Link {
                index: message.header.index,
                up: message.header.flags.contains(LinkFlags::Up),
                addresses: Vec::new(),
            };
            let name = message
                .attributes
                .into_iter()
                .find_map(|attribute| if let LinkAttribute::IfName(name) = attribute { Some(name) } else { None });
            by_index.extend(name.map(|name| (link.index, (name, link))));
        }
        let mut addresses = self.handle.address().get().execute();
        while let Some(message) = addresses.try_next().await.map_err(failed("addresses"))? {
            let Some((_, link)) = by_index.get_mut(&message.header.index) else { continue };
            let prefix_length = message.header.prefix_len;
            link.addresses.extend(message.attributes.into_iter().filter_map(|attribute| {
                if let AddressAttribute::Local(IpAddr::V4(address)) = attribute {
                    Some((address, prefix_length))
                } else {
                    None
                }
            }));
        }
        Ok(Links(by_index.into_values().collect()))
    }

    /// Returns once the links are as `wanted` says, or false after `patience`.
    ///
    /// # Errors
    /// The kernel does not say.
    pub async fn wait(&mut self, patience: Duration, wanted: impl Fn(&Links) -> bool) -> Result<bool, MachineError> {
        let wait = async {
            while !wanted(&self.links().await?) {
                if self.events.recv().await.is_none() {
                    return Err(MachineError::Socket(std::io::ErrorKind::BrokenPipe.into()));
                }
            }
            Ok(true)
        };
        timeout(patience, wait).await.unwrap_or(Ok(false))
    }

    /// Deletes a link. Returns whether it was there.
    ///
    /// # Errors
    /// It is there and the kernel keeps it.
    pub async fn delete(&self, bridge: &LinkName) -> Result<bool, MachineError> {
        self.delete_named(bridge.as_str()).await
    }

    /// Plugs a cable that leads nowhere into a bridge, so that it has a carrier before anybody is there. Its other end has
    /// a name that the firewall drops from, and no ARP.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn plug(&self, bridge: &LinkName) -> Result<(), MachineError> {
        let failed = |cause| MachineError::Netlink { action: format!("give {bridge} a carrier"), cause };
        let [port, end] = cable(bridge);
        self.unplug(bridge).await?;
        self.handle.link().add(LinkVeth::new(&port, &end).build()).execute().await.map_err(failed)?;
        let links = self.links().await?.0;
        let index = |name: &str| links.get(name).map_or(0, |link| link.index);
        let end = LinkUnspec::new_with_index(index(&end)).arp(false).up().build();
        let port = LinkUnspec::new_with_index(index(&port)).controller(index(bridge.as_str())).up().build();
        for message in [end, port] {
            self.handle.link().set(message).execute().await.map_err(failed)?;
        }
        Ok(())
    }

    /// Takes the cable away again, also one that a killed call left.
    ///
    /// # Errors
    /// The kernel keeps it.
    pub async fn unplug(&self, bridge: &LinkName) -> Result<(), MachineError> {
        // Both ends go with one.
        self.delete_named(&cable(bridge)[0]).await.map(drop)
    }

    async fn delete_named(&self, name: &str) -> Result<bool, MachineError> {
        let Some(link) = self.links().await?.0.remove(name) else { return Ok(false) };
        let deleted = self.handle.link().del(link.index).execute().await;
        deleted.map(|()| true).map_err(|cause| MachineError::Netlink { action: format!("delete {name}"), cause })
    }
}

/// The ends of a bridge's cable: the one in the bridge and the loose one. Within IFNAMSIZ.
fn cable(bridge: &LinkName) -> [String; 2] {
    ["in", "on"].map(|end| format!("{bridge}-{end}"))
}
