//! Makes the tenants' bridges, leases and forwarded ports.

use network::{machine::Kernel, network::Network, session::Session};
use runtime::{Identify, Options, caller::HostUsers};
use std::{io, path::Path, process::ExitCode};

fn main() -> ExitCode {
    runtime::run("network", async {
        let records = Path::new("/var/lib/bitbuilder/network");
        let (this_boot, networkd) = (Path::new("/run/bitbuilder/network"), Path::new("/run/systemd/network"));
        let network = Network::new(records, this_boot, networkd, Kernel::default());
        // Whoever waits for this service at boot goes on without: what is missing is what he cannot do.
        if let Err(fault) = network.restore().await {
            tracing::error!("no network is restored: {}", runtime::chain(&fault));
        }
        let options = Options::activated(&interfaces::network::CONTRACT, Identify::Host(HostUsers::look_up()?));
        runtime::serve(options, Session::new(network)).await.map_err(io::Error::other)
    })
}
