//! Makes the tenants' directory trees and roots.

use runtime::{Identify, Options, caller::HostUsers};
use std::{io, path::Path, process::ExitCode};
use storage::{Paths, Session, Volumes, instances::Units};

fn main() -> ExitCode {
    runtime::run("storage", async {
        let paths = Paths {
            tenants: Path::new("/var/lib/tenants").to_owned(),
            images: Path::new("/var/lib/machines").to_owned(),
            records: Path::new("/var/lib/bitbuilder/storage").to_owned(),
            archives: Path::new(model::archive::DIRECTORY).to_owned(),
        };
        if !storage::is_confined() {
            tracing::warn!("this kernel has no Landlock: what unpacks an archive can reach all that this service can");
        }
        let session = Session::new(Volumes::new(paths, Units::default()));
        let options = Options::activated(&interfaces::storage::CONTRACT, Identify::Host(HostUsers::look_up()?));
        // An archive comes as one.
        let options = Options { descriptors: 1, ..options };
        runtime::serve(options, session).await.map_err(io::Error::other)
    })
}
