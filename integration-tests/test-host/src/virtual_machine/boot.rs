//! Starting a virtual machine: its kernel for the first time, or a state that was saved when a boot was complete.

use std::fs::{self, File};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::arguments::{Root, arguments, kernel_words};
use super::commands::await_agent;
use super::images::Parts;
use super::monitor::Monitor;
use super::{Firmware, VirtualMachine};
use crate::cache::{Cache, key};
use crate::disk::Disk;
use crate::host::{Host, supervise};
use crate::images::text;
use crate::inside::Running;
use crate::rundir::RunDir;

/// Far more than these take, also emulated and beside others: what reaches it hangs.
const BOOT_LIMIT: Duration = Duration::from_secs(400);
const TRANSFER_LIMIT: Duration = Duration::from_secs(120);

const FIRST_PROCESS: &str = include_str!("../../scripts/virtual-machine.sh");

/// What a machine of this name is started with.
pub(crate) struct Plan<'a> {
    pub(crate) cache: &'a Cache,
    pub(crate) machine: &'a VirtualMachine,
    pub(crate) format: Disk,
}

/// Starts a machine and waits until a host runs in it.
pub(crate) fn boot(plan: &Plan<'_>, name: &str, package: Option<&Path>) -> Result<Host> {
    let Plan { cache, machine, format } = *plan;
    ensure!(machine.disks.len() <= super::SLOTS, "a virtual machine has {} more disks at most", super::SLOTS);
    let parts = Parts::ensure(cache, package, format)?;
    let state = if machine.restorable() { Some(saved(cache, &parts, machine, format)?) } else { None };
    let (run, lock) = RunDir::create(name)?;
    let started = start(plan, &parts, &run, state.as_deref(), None, lock);
    let (host, mut monitor) = match started {
        Ok(started) => started,
        Err(error) => {
            run.remove()?;
            return Err(error);
        }
    };
    settle(&host).map_err(|error| host.explain(error))?;
    for (index, size) in machine.disks.iter().enumerate() {
        add_disk(&host, &mut monitor, index, size.0)?;
    }
    Ok(host)
}

/// The folder with a machine's disk and memory as they were when its boot was complete.
fn saved(cache: &Cache, parts: &Parts, machine: &VirtualMachine, format: Disk) -> Result<PathBuf> {
    let plain = VirtualMachine { disks: Vec::new(), ..machine.clone() };
    // Where the run lies is no part of what is saved, so that a name of nobody stands for it.
    let nobody = RunDir::of("nobody")?;
    let root = Root { path: &parts.disk, layout: "raw" };
    let words = kernel_words(format);
    let line = arguments(&plain, &parts.emulator, &nobody, &parts.boot, &root, &words, false);
    let mut made_from = vec![text(&parts.emulator.tree)?.to_owned(), processor()?];
    made_from.extend(line);
    cache.ensure("state", &key(made_from), |new| {
        fs::create_dir(new).with_context(|| format!("creating {}", new.display()))?;
        let (run, lock) = RunDir::create(&format!("saving-{}", std::process::id()))?;
        let plan = Plan { cache, machine: &plain, format };
        let saved = start(&plan, parts, &run, None, Some(new), lock).and_then(|(host, mut monitor)| {
            await_agent(&host, BOOT_LIMIT)?;
            save(&mut monitor, new).map_err(|error| host.explain(error))
        });
        run.remove()?;
        saved
    })
}

/// A state is only for the processor that it was saved on.
fn processor() -> Result<String> {
    let text = fs::read_to_string("/proc/cpuinfo").context("reading the processor's name")?;
    Ok(text.lines().find(|line| line.starts_with("model name")).unwrap_or_default().to_owned())
}

/// Starts the emulator and, with a state, has it go on from there. With `keep` its disk is made there, to be kept.
fn start(
    plan: &Plan<'_>,
    parts: &Parts,
    run: &RunDir,
    state: Option<&Path>,
    keep: Option<&Path>,
    lock: File,
) -> Result<(Host, Monitor)> {
    let Plan { cache, machine, format } = *plan;
    let backing = state.map_or_else(|| parts.disk.clone(), |state| state.join("disk"));
    let (path, layout) = match keep {
        Some(folder) => (folder.join("disk"), "raw"),
        None => (run.work().join("disk"), "qcow2"),
    };
    if keep.is_some() {
        copy(&backing, &path)?;
    }
    let words = kernel_words(format);
    if machine.firmware == Firmware::Uefi {
        copy(&parts.medium(cache, &words)?, &run.work().join("medium"))?;
        copy(&parts.emulator.tree.join("usr/share/OVMF/OVMF_VARS_4M.fd"), &run.work().join("variables"))?;
    }
    if machine.tpm {
        fs::create_dir(run.work().join("tpm")).context("making a place for the TPM")?;
    }
    let root = Root { path: &path, layout };
    let line = arguments(machine, &parts.emulator, run, &parts.boot, &root, &words, state.is_some());
    let line: String = line.into_iter().map(|argument| argument + "\0").collect();
    // What a run uses of the cache stays there for as long as it lives.
    let used = [text(&parts.emulator.tree)?, text(&parts.boot)?, text(state.unwrap_or(&parts.disk))?];
    for (file, content) in
        [("arguments", line.as_str()), ("lower", &used.join(":")), ("virtual-machine.sh", FIRST_PROCESS)]
    {
        fs::write(run.path(file), content).with_context(|| format!("writing {file} for the virtual machine"))?;
    }
    File::create(run.path("console.log")).context("creating the machine's console")?;
    let listener = UnixListener::bind(run.path("owner")).context("listening for the emulator")?;
    let (folder, work) = (run.folder(), run.work());
    let backing = if keep.is_some() { "" } else { text(&backing)? };
    let first = [
        text(&run.path("virtual-machine.sh"))?,
        text(&folder)?,
        text(&work)?,
        text(cache.root())?,
        keep.map(text).transpose()?.unwrap_or_default(),
        text(&parts.emulator.tree)?,
        backing,
    ]
    .map(str::to_owned);
    let supervisor = supervise(run, &first, lock)?;
    let host = Host::owning(Running { run: run.clone() }, supervisor);
    let monitor = Monitor::accept(&listener, &host.supervisor()?).and_then(|mut monitor| {
        if let Some(state) = state {
            restore(&mut monitor, state)?;
        }
        Ok(monitor)
    });
    let monitor = monitor.map_err(|error| host.explain(error))?;
    Ok((host, monitor))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let mut command = std::process::Command::new("cp");
    crate::command::output(command.args(["--sparse=always", "--reflink=auto"]).arg(from).arg(to)).map(drop)
}

fn save(monitor: &mut Monitor, folder: &Path) -> Result<()> {
    monitor.execute("stop", &json!({}))?;
    transfer(monitor, "migrate", &folder.join("memory"))?;
    monitor.execute("quit", &json!({})).map(drop)
}

fn restore(monitor: &mut Monitor, folder: &Path) -> Result<()> {
    transfer(monitor, "migrate-incoming", &folder.join("memory"))?;
    monitor.execute("cont", &json!({})).map(drop)
}

/// Writes the machine's memory to a file, or reads it.
fn transfer(monitor: &mut Monitor, direction: &str, file: &Path) -> Result<()> {
    let on = |name: &str| json!({ "capability": name, "state": true });
    monitor.execute("migrate-set-capabilities", &json!({ "capabilities": [on("events"), on("mapped-ram")] }))?;
    monitor.execute("migrate-set-parameters", &json!({ "max-bandwidth": 1u64 << 40 }))?;
    monitor.execute(direction, &json!({ "uri": format!("file:{}", file.display()) }))?;
    let ended = monitor.event(TRANSFER_LIMIT, |event| {
        event["event"] == "MIGRATION" && ["completed", "failed"].iter().any(|end| event["data"]["status"] == *end)
    })?;
    ensure!(ended["data"]["status"] == "completed", "the machine's memory could not be moved: {ended}");
    Ok(())
}

/// Gives the host its name and the time: a state that was saved has neither.
fn settle(host: &Running) -> Result<()> {
    await_agent(host, BOOT_LIMIT)?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).context("reading the clock")?.as_secs();
    let name = host.name();
    let script = format!("date --utc --set=@{now} >/dev/null; echo {name} >/etc/hostname; hostname {name}");
    let output = host.sh(&script)?;
    ensure!(output.success(), "setting the host's clock and name: {}", output.stderr);
    Ok(())
}

fn add_disk(host: &Running, monitor: &mut Monitor, index: usize, size: u64) -> Result<()> {
    let path = host.run.work().join(format!("disk{index}"));
    File::create(&path).and_then(|file| file.set_len(size)).with_context(|| format!("making {}", path.display()))?;
    let name = format!("disk{index}");
    let file = json!({ "driver": "file", "filename": text(&path)?, "cache": { "no-flush": true } });
    monitor.execute("blockdev-add", &json!({ "driver": "raw", "node-name": name, "file": file }))?;
    let device = json!({ "driver": "virtio-blk-pci", "drive": name, "serial": name, "bus": format!("slot{index}") });
    monitor.execute("device_add", &device)?;
    let found = host.sh(&format!("udevadm wait --timeout=120 /dev/disk/by-id/virtio-{name}"))?;
    ensure!(found.success(), "the host does not see {name}: {}", found.stderr);
    Ok(())
}

/// Resets the machine as it is, and waits until the host is up again.
pub(crate) fn cut_power(host: &Running) -> Result<()> {
    let mut monitor = Monitor::connect(&host.run.path("monitor"))?;
    monitor.execute("system_reset", &json!({}))?;
    await_reset(host, &mut monitor)
}

/// Does something that resets the machine, and waits until the host is up again.
pub(crate) fn after_reset(host: &Running, trigger: impl FnOnce() -> Result<()>) -> Result<()> {
    let mut monitor = Monitor::connect(&host.run.path("monitor"))?;
    trigger()?;
    await_reset(host, &mut monitor)
}

fn await_reset(host: &Running, monitor: &mut Monitor) -> Result<()> {
    monitor.event(BOOT_LIMIT, |event| event["event"] == "RESET").map_err(|error| host.explain(error))?;
    await_agent(host, BOOT_LIMIT)
}
