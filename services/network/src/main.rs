//! Makes the tenants' bridges, leases and forwarded ports.

use network::{machine::Kernel, network::Network, session::Session};
use runtime::{Identify, Options, caller::HostUsers};
use std::{path::Path, process::ExitCode};

fn main() -> ExitCode {
    runtime::run("network", async {
        let users = HostUsers::look_up().unwrap_or_else(|cause| {
            tracing::warn!("only root is known, the user database does not answer: {cause}");
            HostUsers::default()
        });
        let network =
            Network::new(Path::new("/run/bitbuilder/network"), Path::new("/run/systemd/network"), Kernel::default());
        runtime::serve(Options::activated(&interfaces::network::CONTRACT, Identify::Host(users)), Session::new(network))
            .await
    })
}
