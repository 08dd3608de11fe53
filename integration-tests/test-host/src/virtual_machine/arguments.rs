//! The command line of the emulator, and the words that the kernel is started with.

use std::path::Path;

use super::emulator::Emulator;
use super::{Firmware, PORTS, SLOTS, VirtualMachine};
use crate::disk::Disk;
use crate::rundir::RunDir;

/// What the kernel is told. Nothing that is measured later may depend on where a run lies.
pub(crate) fn kernel_words(format: Disk) -> String {
    format!("console=ttyS0 quiet mitigations=off nokaslr audit=0 disk={}", format.name())
}

/// Where the machine's own disk is and how it is written.
pub(crate) struct Root<'a> {
    pub(crate) path: &'a Path,
    pub(crate) layout: &'static str,
}

/// The emulator's arguments for a machine whose files are in the run's folders.
pub(crate) fn arguments(
    machine: &VirtualMachine,
    emulator: &Emulator,
    run: &RunDir,
    boot: &Path,
    root: &Root<'_>,
    words: &str,
    restored: bool,
) -> Vec<String> {
    let mut list: Vec<String> = Vec::new();
    let mut add = |words: &[&str]| list.extend(words.iter().map(|word| (*word).to_owned()));
    let in_run = |file: &str| run.path(file).display().to_string();
    add(&["-nodefaults", "-no-user-config", "-display", "none", "-machine", "q35", "-smp", "2"]);
    add(&emulator.accelerator.arguments());
    add(&["-m", &format!("{}M", machine.memory.0 >> 20)]);
    add(&["-chardev", &format!("file,id=console,path={},append=on", in_run("console.log"))]);
    add(&["-serial", "chardev:console", "-device", "virtio-serial-pci"]);
    for port in 0..PORTS {
        let path = in_run(&format!("agent.{port}"));
        add(&["-chardev", &format!("socket,id=agent{port},path={path},server=on,wait=off")]);
        add(&["-device", &format!("virtserialport,chardev=agent{port},name=agent.{port}")]);
    }
    let Root { path, layout } = root;
    // The disk is thrown away with the run: nobody waits for the machine's own disk.
    add(&["-drive", &format!("if=none,id=disk,file={},format={layout},cache=unsafe,discard=unmap", path.display())]);
    add(&["-device", "virtio-blk-pci,drive=disk"]);
    for slot in 0..SLOTS {
        let number = slot + 1;
        add(&["-device", &format!("pcie-root-port,id=slot{slot},chassis={number},slot={number}")]);
    }
    // A state that was saved is restored many times: a new generation makes the kernel draw new random numbers.
    add(&["-device", "vmgenid,guid=auto", "-device", "pvpanic-pci"]);
    match machine.firmware {
        Firmware::Direct => {
            let (kernel, initrd) = (boot.join("vmlinuz"), boot.join("initrd"));
            add(&["-kernel", &kernel.display().to_string(), "-initrd", &initrd.display().to_string()]);
            add(&["-append", words]);
        }
        Firmware::Uefi => {
            let (medium, variables) = (run.work().join("medium"), run.work().join("variables"));
            add(&["-drive", "if=pflash,unit=0,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd"]);
            add(&["-drive", &format!("if=pflash,unit=1,format=raw,file={}", variables.display())]);
            add(&["-drive", &format!("if=none,id=medium,file={},format=raw,cache=unsafe", medium.display())]);
            add(&["-device", "virtio-blk-pci,drive=medium,bootindex=1"]);
        }
    }
    if machine.tpm {
        add(&["-chardev", &format!("socket,id=tpm,path={}", in_run("tpm"))]);
        add(&["-tpmdev", "emulator,id=tpm,chardev=tpm", "-device", "tpm-crb,tpmdev=tpm"]);
    }
    if restored {
        add(&["-incoming", "defer"]);
    }
    for (monitor, mode) in [("monitor", ",server=on,wait=off"), ("owner", "")] {
        // The owner listens before the emulator starts, and last: who is connected to finds everything else in place.
        add(&["-chardev", &format!("socket,id={monitor},path={}{mode}", in_run(monitor))]);
        add(&["-mon", &format!("chardev={monitor},mode=control")]);
    }
    list
}
