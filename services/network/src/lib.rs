//! Makes the tenants' bridges, leases and forwarded ports: the bridges and leases through systemd-networkd, the ports and
//! the isolation of tenants in one nftables table.

pub mod error;
pub mod firewall;
pub mod links;
pub mod machine;
pub mod network;
pub mod networkd;
pub mod nft;
pub mod places;
pub mod session;
pub mod table;
