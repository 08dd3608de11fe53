//! `cargo xtask host`: test hosts by hand.

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, ExitCode};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use test_host::{Bytes, Disk, Firmware, Host, Package, Running, VirtualMachine};

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
    /// The file system of its disk: btrfs or ext4. The size of an empty disk more, in a virtual machine, as 1G
    #[arg(long, value_name = "FORMAT|SIZE", value_parser = disk)]
    disk: Vec<DiskWord>,
    /// In a virtual machine: limits are enforced, and devices are its own
    #[arg(long, conflicts_with = "bind")]
    machine: bool,
    /// What starts its kernel: direct or uefi
    #[arg(long, requires = "machine", default_value = "direct")]
    firmware: Firmware,
    /// With a TPM 2
    #[arg(long, requires = "machine")]
    tpm: bool,
    /// Its memory
    #[arg(long, requires = "machine", value_name = "SIZE", default_value = "2G")]
    memory: Bytes,
    /// End a command that takes longer than so many seconds, and show what the host said last
    #[arg(long, requires = "machine", value_name = "SECONDS", default_value_t = 900)]
    limit: u64,
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

/// What `--disk` says: how the disk that every host has is made, or one more.
#[derive(Debug, Clone, Copy)]
enum DiskWord {
    Own(Disk),
    More(Bytes),
}

fn disk(word: &str) -> Result<DiskWord, String> {
    let own = word.parse().map(DiskWord::Own);
    own.or_else(|_| word.parse().map(DiskWord::More))
        .map_err(|_: String| format!("{word} is neither btrfs nor ext4, nor a size, as 1G"))
}

pub(crate) fn run(verb: Verb) -> Result<ExitCode> {
    root::become_root()?;
    test_host::sweep()?;
    match verb {
        Verb::Run(arguments) => return boot_and_run(arguments),
        Verb::Exec { name, command } => {
            let host = Running::find(&name)?;
            if host.is_virtual() {
                return host.relay(&command, None).map(exit);
            }
            let error = host.command(&command)?.exec();
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
        .package(package)
        .with_packages(arguments.packages)
        .keep(arguments.keep);
    let mut disks = Vec::new();
    for word in arguments.disk {
        match word {
            DiskWord::Own(format) => builder = builder.disk(format),
            DiskWord::More(size) => disks.push(size),
        }
    }
    let Run { memory, firmware, tpm, .. } = arguments;
    if arguments.machine {
        builder = builder.virtual_machine(VirtualMachine { memory, firmware, tpm, disks });
    } else {
        ensure!(disks.is_empty(), "only a virtual machine has disks of its own: --machine");
    }
    for (source, target) in arguments.bind {
        builder = builder.bind(source, target);
    }
    // Until here a signal ends us in the default way, and the host goes with its owner. From here on we pass an exit code on.
    let host = builder.boot()?;
    let mut command = arguments.command;
    if command.is_empty() && !arguments.keep {
        command = vec!["bash".into(), "--login".into()];
    }
    // Whoever types has all the time.
    let limit = (!std::io::stdin().is_terminal()).then(|| Duration::from_secs(arguments.limit));
    let code = match command.is_empty() {
        true => 0,
        false if host.is_virtual() => host.relay(&command, limit)?,
        false => wait(host.command(&command)?.spawn().context("entering the host")?)?,
    };
    if arguments.keep {
        eprintln!("the host {0} is kept: cargo xtask host exec {0} -- COMMAND, cargo xtask host stop {0}", host.name());
    }
    drop(host);
    Ok(exit(code))
}

fn exit(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
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
