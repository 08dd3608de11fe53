//! `cargo xtask host`: test hosts by hand.

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, ExitCode};

use anyhow::{Context as _, Result, anyhow};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use test_host::{Disk, Host, Package, Running};

use crate::{package, root};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Boot a host, run a command in it (a shell if none is given), and take the host away
    Run(Run),
    /// Run a command in a host that runs
    Exec {
        /// The host's name
        name: String,
        /// The command and its arguments
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    /// List the hosts that run
    List,
    /// Power hosts off and take them away
    Stop {
        /// The host's name
        #[arg(required_unless_present = "all")]
        name: Option<String>,
        /// Every host of this machine
        #[arg(long, conflicts_with = "name")]
        all: bool,
    },
    /// Reboot a host and wait until it is up again
    Reboot {
        /// The host's name
        name: String,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    /// Its name; one that nobody else has if none is given
    #[arg(long)]
    name: Option<String>,
    /// Show a folder or file of this machine in the host
    #[arg(long, value_name = "SRC:DST", value_parser = bind)]
    bind: Vec<(PathBuf, PathBuf)>,
    /// The file system of its disk: btrfs or ext4
    #[arg(long, default_value = "btrfs")]
    disk: Disk,
    /// Leave the host running when the command has ended
    #[arg(long)]
    keep: bool,
    /// Plain Debian, without our package
    #[arg(long)]
    bare: bool,
    /// This package instead of one built from these sources
    #[arg(long, value_name = "DEB", conflicts_with = "bare")]
    package: Option<PathBuf>,
    /// A package of Debian's that it has installed beyond what every host has
    #[arg(long = "with", value_name = "PACKAGE")]
    packages: Vec<String>,
    /// The command and its arguments
    #[arg(last = true)]
    command: Vec<OsString>,
}

pub(crate) fn run(verb: Verb) -> Result<ExitCode> {
    root::become_root()?;
    test_host::sweep()?;
    match verb {
        Verb::Run(arguments) => return boot_and_run(arguments),
        Verb::Exec { name, command } => {
            let error = Running::find(&name)?.command(&command)?.exec();
            return Err(error).context("entering the host");
        }
        Verb::List => list()?,
        Verb::Stop { name: Some(name), .. } => Running::find(&name)?.power_off()?,
        Verb::Stop { name: None, .. } => {
            for host in test_host::list()? {
                Running::find(&host.name)?.power_off()?;
            }
        }
        Verb::Reboot { name } => Running::find(&name)?.reboot()?,
    }
    Ok(ExitCode::SUCCESS)
}

fn boot_and_run(arguments: Run) -> Result<ExitCode> {
    let package = match arguments.package {
        _ if arguments.bare => Package::Bare,
        Some(package) => Package::File(package),
        None => Package::File(package::build()?),
    };
    let mut builder = Host::builder(arguments.name.as_deref().unwrap_or_default())
        .disk(arguments.disk)
        .package(package)
        .with_packages(arguments.packages)
        .keep(arguments.keep);
    for (source, target) in arguments.bind {
        builder = builder.bind(source, target);
    }
    // Until here a signal ends us in the default way, and the host goes with its owner. From here on we pass an exit code on.
    let host = builder.boot()?;
    let mut command = arguments.command;
    if command.is_empty() && !arguments.keep {
        command = vec!["bash".into(), "--login".into()];
    }
    let code =
        if command.is_empty() { 0 } else { wait(host.command(&command)?.spawn().context("entering the host")?)? };
    if arguments.keep {
        eprintln!("the host {0} is kept: cargo xtask host exec {0} -- COMMAND, cargo xtask host stop {0}", host.name());
    }
    drop(host);
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)))
}

/// Waits for the command, or for a signal that tells us to end.
fn wait(mut child: Child) -> Result<i32> {
    let ended = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).context("watching the command")?;
    // At a terminal an interrupt reaches the command as well, and what that makes of it counts.
    let interactive = std::io::stdin().is_terminal();
    let (_unread, ignored) = UnixStream::pair()?;
    let mut signals = Vec::new();
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        if signal == SIGINT && interactive {
            signal_hook::low_level::pipe::register(signal, ignored.try_clone()?)
                .context("leaving an interrupt to the command")?;
            continue;
        }
        let (caught, handler) = UnixStream::pair()?;
        signal_hook::low_level::pipe::register(signal, handler).context("catching signals")?;
        signals.push((signal, caught));
    }
    let mut wanted = vec![PollFd::new(&ended, PollFlags::IN)];
    wanted.extend(signals.iter().map(|(_, caught)| PollFd::new(caught, PollFlags::IN)));
    while let Err(rustix::io::Errno::INTR) = poll(&mut wanted, None) {}
    let caught = wanted.iter().skip(1).position(|fd| fd.revents().contains(PollFlags::IN));
    match caught.and_then(|index| signals.get(index)) {
        Some((signal, _)) => {
            child.kill()?;
            child.wait()?;
            Ok(128 + signal)
        }
        None => Ok(test_host::exit_code(child.wait()?)),
    }
}

fn list() -> Result<()> {
    for host in test_host::list()? {
        let pid = host.pid.map_or_else(|| "booting".to_owned(), |pid| format!("pid {pid}"));
        println!("{}\t{pid}\t{}", host.name, if host.kept { "kept" } else { "" });
    }
    Ok(())
}

fn bind(text: &str) -> Result<(PathBuf, PathBuf)> {
    let (source, target) = text.split_once(':').ok_or_else(|| anyhow!("{text} is not SRC:DST"))?;
    Ok((source.into(), target.into()))
}
