//! What can go wrong, and what the caller is told of it.

use crate::places::{Conflict, InvalidPlace};
use host::{command::CommandError, files::FileError, records::StaleGeneration};
use interfaces::network::Error;
use model::network::LinkName;
use runtime::foreign::ForeignError;
use std::io;
use thiserror::Error as ThisError;

/// Why a tenant's network is not as it was asked for.
#[derive(Debug, ThisError)]
pub enum NetworkError {
    /// It could not be anybody's.
    #[error("the network that was asked for cannot work")]
    Place(#[from] InvalidPlace),
    /// Somebody else is there.
    #[error("{} is held by {}", .0.what, .0.tenant)]
    Conflict(Conflict),
    /// A later call came first.
    #[error(transparent)]
    Stale(#[from] StaleGeneration),
    /// A record or a rendered file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The firewall.
    #[error(transparent)]
    Machine(#[from] MachineError),
}

/// What the machine did not do.
#[derive(Debug, ThisError)]
pub enum MachineError {
    /// No netlink socket.
    #[error("cannot ask the kernel for its links")]
    Socket(#[source] io::Error),
    /// The kernel refused.
    #[error("cannot {action}")]
    Netlink {
        /// In words.
        action: String,
        /// What the kernel said.
        #[source]
        cause: rtnetlink::Error,
    },
    /// systemd-networkd accepted the files and made nothing of them.
    #[error("{bridge} did not appear with its address within {seconds} s; `networkctl status {bridge}` may say why")]
    NoBridge {
        /// Which.
        bridge: LinkName,
        /// How long was waited.
        seconds: u64,
    },
    /// systemd-networkd made the bridge and leases nothing on it.
    #[error("systemd-networkd leases no address on {0}; `networkctl status {0}` may say why")]
    NoLeases(LinkName),
    /// systemd-networkd does not answer, or refused.
    #[error("systemd-networkd did not do its part")]
    Networkd(#[from] ForeignError),
    /// nft refused.
    #[error("cannot {action} the firewall's table")]
    Nft {
        /// In words.
        action: &'static str,
        /// What nft said.
        #[source]
        cause: CommandError,
    },
    /// nft wrote something that is not its JSON.
    #[error("cannot understand what nft lists")]
    Listing(#[source] serde_json::Error),
    /// Somebody else deletes it.
    #[error("the firewall's table vanished as soon as it was written")]
    Vanished,
}

impl NetworkError {
    /// The interface's error for it; `action` is what failed as a whole.
    #[must_use]
    pub fn reply(self, action: String) -> Error {
        match self {
            Self::Conflict(Conflict { tenant, what }) => Error::Conflict { tenant, what },
            Self::Stale(StaleGeneration { generation, current }) => Error::StaleGeneration { generation, current },
            Self::Place(_) | Self::File(_) | Self::Machine(_) => {
                Error::Failed { action, reason: runtime::chain(&self) }
            }
        }
    }
}
