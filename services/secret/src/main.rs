//! io.bitbuilder.Secret, and the verbs of its key units.

use clap::{Parser, Subcommand};
use model::secrets::Recipient;
use runtime::{Identify, Options, caller::HostUsers};
use secret::{
    keys,
    session::Session,
    store::{Manager, Store},
};
use std::{io, process::ExitCode};

/// Opens what was sealed to this host
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make the host's first key if it has none (for bitbuilder-secret-key.service)
    #[command(name = "make-key")]
    MakeFirst,
    /// Make another key, the newest (for bitbuilder-secret-rotate.service)
    #[command(name = "add-key")]
    Add,
    /// Remove a key (for bitbuilder-secret-retire@.service)
    #[command(name = "remove-key")]
    Remove {
        /// Its public half
        recipient: Recipient,
    },
}

fn main() -> ExitCode {
    let verb = Arguments::parse().verb;
    runtime::run("secret", async {
        // Whatever takes dumps does not see a key, were it to ignore the limits.
        nix::sys::prctl::set_dumpable(false).map_err(io::Error::from)?;
        let store = Store::of_the_host();
        match verb {
            Some(Verb::MakeFirst) => store.make_first(&Manager).await.map(drop).map_err(io::Error::other),
            Some(Verb::Add) => store.add(&Manager).await.map(drop).map_err(io::Error::other),
            Some(Verb::Remove { recipient }) => store.remove(&recipient).map_err(io::Error::other),
            None => {
                let session = Session::new(keys::given().map_err(io::Error::other)?);
                let options = Options::activated(&interfaces::secret::CONTRACT, Identify::Host(HostUsers::look_up()?));
                runtime::serve(options, session).await.map_err(io::Error::other)
            }
        }
    })
}
