//! Checks and mounts the tenants' system extensions.

use extension::{Extensions, Paths, Session, mounts::MountUnits};
use runtime::{Identify, Options, caller::HostUsers};
use std::{io, path::Path, process::ExitCode};

fn main() -> ExitCode {
    runtime::run("extension", async {
        let mounts = Path::new("/run/bitbuilder/extensions");
        let paths = Paths {
            tenants: Path::new("/var/lib/tenants").to_owned(),
            // The host's own come second: an image that was put there by hand wins.
            images: ["/var/lib/bitbuilder/images/sysext", "/usr/lib/extensions"]
                .map(|path| Path::new(path).to_owned())
                .into(),
            mounts: mounts.to_owned(),
            records: Path::new("/var/lib/bitbuilder/extension").to_owned(),
        };
        let extensions = Extensions::new(paths, MountUnits::below(mounts));
        // Whoever waits for this service at boot goes on without.
        if let Err(fault) = extensions.restore().await {
            tracing::error!("no layers are restored: {}", runtime::chain(&fault));
        }
        let session = Session::new(extensions);
        let options = Options::activated(&interfaces::extension::CONTRACT, Identify::Host(HostUsers::look_up()?));
        runtime::serve(options, session).await.map_err(io::Error::other)
    })
}
