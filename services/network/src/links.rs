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
    /// a name that the firewall drops from, and no ARP. Returns it to be unplugged.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn plug(&self, bridge: &LinkName) -> Result<Cable, MachineError> {
        let failed = |cause| MachineError::Netlink { action: format!("give {bridge} a carrier"), cause };
        let [port, end] = ends(bridge);
        self.unplug_former(bridge).await?;
        self.handle.link().add(LinkVeth::new(&port, &end).build()).execute().await.map_err(failed)?;
        let links = self.links().await?.0;
        let index = |name: &str| links.get(name).map_or(0, |link| link.index);
        let cable = Cable(index(&port));
        let end = LinkUnspec::new_with_index(index(&end)).arp(false).up().build();
        let port = LinkUnspec::new_with_index(cable.0).controller(index(bridge.as_str())).up().build();
        for message in [end, port] {
            self.handle.link().set(message).execute().await.map_err(failed)?;
        }
        Ok(cable)
    }

    /// Takes this cable away, and no other that is in its place by now.
    ///
    /// # Errors
    /// The kernel keeps it.
    pub async fn unplug(&self, cable: Cable) -> Result<(), MachineError> {
        self.delete_link(cable.0, "a bridge's cable").await.map(drop)
    }

    /// Takes a bridge's cable away, if a killed call left one.
    ///
    /// # Errors
    /// The kernel keeps it.
    pub async fn unplug_former(&self, bridge: &LinkName) -> Result<(), MachineError> {
        // Both ends go with one.
        self.delete_named(&ends(bridge)[0]).await.map(drop)
    }

    async fn delete_named(&self, name: &str) -> Result<bool, MachineError> {
        match self.links().await?.0.remove(name) {
            Some(link) => self.delete_link(link.index, name).await,
            None => Ok(false),
        }
    }

    async fn delete_link(&self, index: u32, name: &str) -> Result<bool, MachineError> {
        match self.handle.link().del(index).execute().await {
            Ok(()) => Ok(true),
            // Somebody else was faster.
            Err(_) if self.links().await?.0.values().all(|link| link.index != index) => Ok(false),
            Err(cause) => Err(MachineError::Netlink { action: format!("delete {name}"), cause }),
        }
    }
}

/// A cable in a bridge.
#[derive(Debug)]
#[must_use = "it has to be unplugged"]
pub struct Cable(u32);

/// The ends of a bridge's cable: the one in the bridge and the loose one. Within IFNAMSIZ.
fn ends(bridge: &LinkName) -> [String; 2] {
    ["in", "on"].map(|end| format!("{bridge}-{end}"))
}
