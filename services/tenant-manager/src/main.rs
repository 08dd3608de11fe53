//! The tenant manager, and `run`, which a tenant's unit starts and which becomes the tenant's process tree.

use clap::{Parser, Subcommand};
use interfaces::tenant::CONTRACT;
use model::TenantName;
use runtime::{Identify, Options, caller::HostUsers};
use std::{cell::Cell, io, path::Path, process::ExitCode};
use tenant_manager::{manager::Manager, paths::Paths, run, session::Session, units::Units};

/// Starts, stops and looks after the tenants' processes
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Become a tenant's process tree (for bitbuilder-container@.service)
    Run {
        /// Whose
        tenant: TenantName,
    },
    /// Show a running tenant what is written down for it (for bitbuilder-container@.service)
    Show {
        /// Whom
        tenant: TenantName,
    },
    /// Put directories into a tenant, for show
    #[command(hide = true)]
    Place {
        /// The tenant's first process
        leader: i32,
        /// The control group of its unit
        cgroup: String,
        /// Which directories, each as FROM=TO
        placings: Vec<run::Placing>,
    },
}

fn main() -> ExitCode {
    let paths = Paths::below(Path::new("/"));
    match Arguments::parse().verb {
        Some(Verb::Run { tenant }) => {
            let tenants = Cell::new(false);
            let code = runtime::run("tenant-manager run", async {
                run::run(&paths, &tenant).await.map(drop).inspect_err(|fault| tenants.set(fault.is_tenants()))
            });
            if tenants.get() { ExitCode::from(run::TENANTS_FAULT) } else { code }
        }
        Some(Verb::Show { tenant }) => runtime::run("tenant-manager show", async { run::show(&paths, &tenant).await }),
        // Before there is any thread: who has several cannot enter a user namespace.
        Some(Verb::Place { leader, cgroup, placings }) => match run::place(leader, &cgroup, &placings) {
            Ok(()) => ExitCode::SUCCESS,
            Err(fault) => {
                eprintln!("{}", runtime::chain(&fault));
                ExitCode::FAILURE
            }
        },
        None => runtime::run("tenant-manager", async {
            let users = HostUsers::look_up()?;
            let session = Session::new(Manager::new(Units::default(), paths));
            runtime::serve(Options::resident(&CONTRACT, Identify::Host(users)), session).await.map_err(io::Error::other)
        }),
    }
}
