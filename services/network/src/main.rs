//! Makes the tenants' bridges, leases and forwarded ports.

use network::{machine::Kernel, network::Network, session::Session};
use runtime::{Identify, Options, caller::HostUsers};
use std::{io, path::Path, process::ExitCode};

fn main() -> ExitCode {
    runtime::run("network", async {
        let network =
            Network::new(Path::new("/run/bitbuilder/network"), Path::new("/run/systemd/network"), Kernel::default());
        let options = Options::activated(&interfaces::network::CONTRACT, Identify::Host(HostUsers::look_up()?));
        runtime::serve(options, Session::new(network)).await.map_err(io::Error::other)
    })
}
