//! The tenant manager, and `run`, which a tenant's unit starts and which becomes the tenant's process tree.

use clap::{Parser, Subcommand};
use interfaces::tenant::CONTRACT;
use model::{Hook, TenantName};
use runtime::{Identify, Options, caller::HostUsers};
use std::{cell::Cell, io, path::Path, process::ExitCode};
use tenant_manager::{hooks, manager::Manager, paths::Paths, run, session::Session, sleep, units::Units};

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
    /// Run a tenant's script before its start (for bitbuilder-container@.service)
    PreStart {
        /// Whose
        tenant: TenantName,
    },
    /// Run a tenant's scripts after its start (for bitbuilder-container@.service)
    PostStart {
        /// Whose
        tenant: TenantName,
    },
    /// Run a tenant's script before its stop (for bitbuilder-container@.service)
    PreStop {
        /// Whose
        tenant: TenantName,
    },
    /// Stop a tenant to which nobody is connected (for bitbuilder-wake@.service)
    Sleep {
        /// Which
        tenant: TenantName,
    },
    /// Run a tenant's script where no tenant is (for bitbuilder-pre-start@.service and bitbuilder-pre-provision@.service)
    Sandbox {
        /// Which
        #[arg(value_parser = ["pre-start", "pre-provision"])]
        hook: String,
        /// Whose
        tenant: TenantName,
    },
    /// Bound what a tenant takes of the kernel as soon as it is there
    #[command(hide = true)]
    Bound {
        /// Whom
        tenant: TenantName,
        /// The process that becomes its container manager
        supervisor: i32,
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
        Some(Verb::PreStart { tenant }) => {
            runtime::run("tenant-manager pre-start", async { hooks::before_start(&paths, &tenant).await })
        }
        Some(Verb::PostStart { tenant }) => {
            runtime::run("tenant-manager post-start", async { hooks::after_start(&paths, &tenant).await })
        }
        Some(Verb::PreStop { tenant }) => {
            runtime::run("tenant-manager pre-stop", async { hooks::before_stop(&paths, &tenant).await })
        }
        Some(Verb::Sleep { tenant }) => runtime::run("tenant-manager sleep", async { sleep::sleep(&tenant).await }),
        Some(Verb::Sandbox { hook, tenant }) => {
            let hook = if hook == Hook::PreStart.as_str() { Hook::PreStart } else { Hook::PreProvision };
            runtime::run("tenant-manager sandbox", async { hooks::in_sandbox(&paths, &tenant, hook).await })
        }
        Some(Verb::Bound { tenant, supervisor }) => ended(run::bound(tenant.as_str(), supervisor)),
        // Before there is any thread: who has several cannot enter a user namespace.
        Some(Verb::Place { leader, cgroup, placings }) => ended(run::place(leader, &cgroup, &placings)),
        None => runtime::run("tenant-manager", async {
            let users = HostUsers::look_up()?;
            let session = Session::new(Manager::new(Units::default(), paths));
            runtime::serve(Options::resident(&CONTRACT, Identify::Host(users)), session).await.map_err(io::Error::other)
        }),
    }
}

fn ended<E: std::error::Error>(done: Result<(), E>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("{}", runtime::chain(&fault));
            ExitCode::FAILURE
        }
    }
}
