//! A host in a virtual machine is one like those in namespaces, starts from a state that was saved, and leaves nothing behind.

#![allow(clippy::disallowed_methods, reason = "a test looks at the machine as a person would")]
#![allow(clippy::unwrap_used, reason = "a test says by it what it expects")]

use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use test_host::{Builder, Bytes, Host, Package, Running, VirtualMachine};

fn bare() -> Builder {
    Host::builder("").package(Package::Bare).virtual_machine(VirtualMachine::default())
}

#[test]
fn it_passes_results_through_and_keeps_what_a_host_keeps() {
    let host = bare().boot().unwrap();
    assert_eq!(host.succeed("systemctl is-system-running").trim(), "running");
    assert_eq!(host.succeed("hostname").trim(), host.name());
    let output = host.sh("echo said; echo complained >&2; exit 7").unwrap();
    assert_eq!((output.code, output.stdout.as_str(), output.stderr.as_str()), (7, "said\n", "complained\n"));
    assert_eq!(host.sh("kill -TERM $$").unwrap().code, 143);
    assert_eq!(host.run(&["no-such-program"]).unwrap().code, 127);
    // A process that a command leaves in the background does not hold the caller up.
    host.succeed("sleep 1000 & disown");
    // More than any buffer on the way holds, in both directions at once.
    let much: Vec<u8> = (0..3 << 20).map(|index: u32| (index % 251) as u8).collect();
    host.write("/var/lib/deep/er/file", &much).unwrap();
    let there = host.succeed("sha256sum </var/lib/deep/er/file");
    assert_eq!(there, host.feed(&["sh", "-c", "cat | tee /dev/stderr | sha256sum"], &much).unwrap().stdout);
    // Several commands run side by side.
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| host.succeed("sleep 3"));
        }
    });
    assert!(started.elapsed() < Duration::from_secs(9), "{:?}", started.elapsed());
    // The state was saved at another time.
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let clock: u64 = host.succeed("date +%s").trim().parse().unwrap();
    assert!(clock.abs_diff(now) < 30, "{clock} is not {now}");

    host.succeed("sync; echo lost >/var/lib/lost; echo gone >/run/file");
    host.power_loss().unwrap();
    assert_eq!(host.succeed("sha256sum </var/lib/deep/er/file"), there);
    // The kernel had not written it yet, and this one is gone with its kernel.
    host.succeed("! test -s /var/lib/lost && ! test -e /run/file");
    host.reboot().unwrap();
    assert_eq!(host.succeed("sha256sum </var/lib/deep/er/file"), there);
    host.stop().unwrap();
}

#[test]
fn it_starts_from_a_saved_state_as_one_of_its_own() {
    let numbers = || {
        let started = Instant::now();
        let host = bare().boot().unwrap();
        let took = started.elapsed();
        (host.succeed("head -c 16 /dev/urandom | base64"), took)
    };
    let [(one, _), (other, took)] = [numbers(), numbers()];
    assert_ne!(one, other, "two machines draw the same random numbers");
    assert!(took < Duration::from_secs(15), "it took {took:?} to start from a state that was saved");
}

#[test]
fn disks_are_there_when_it_is_up() {
    let machine = VirtualMachine { disks: vec![Bytes(64 << 20), Bytes(1 << 30)], ..VirtualMachine::default() };
    let host = Host::builder("").package(Package::Bare).virtual_machine(machine).boot().unwrap();
    let sizes = host.succeed("blockdev --getsize64 /dev/disk/by-id/virtio-disk0 /dev/disk/by-id/virtio-disk1");
    assert_eq!(sizes, "67108864\n1073741824\n");
}

#[test]
fn what_hangs_is_ended_and_says_where() {
    let host = bare().boot().unwrap();
    let said = host.relay(&["sh", "-c", "echo at-this-place >/dev/console; sleep 1000"], Some(Duration::from_secs(3)));
    let said = format!("{:#}", said.unwrap_err());
    assert!(said.contains("did not end in 3s") && said.contains("at-this-place"), "{said}");
    // The command is gone with who waited for it.
    host.succeed("! pgrep --full 'sleep 100[0]'");

    let said = format!("{:#}", host.sh("echo c >/proc/sysrq-trigger").unwrap_err());
    assert!(said.contains("Kernel panic"), "{said}");
    let name = host.name().to_owned();
    drop(host);
    assert_eq!(test_host::traces(&name).unwrap(), Vec::<String>::new());
}

#[test]
fn it_leaves_nothing_behind() {
    for orderly in [true, false] {
        test_host::leave(bare().boot().unwrap(), orderly).unwrap();
    }
}

#[test]
fn a_killed_owner_takes_its_machine_along() {
    let name = format!("killed-{}", std::process::id());
    test_host::kill_owner(Command::new(env!("CARGO_BIN_EXE_own-a-machine")).arg(&name), &name).unwrap();
    assert_eq!(test_host::traces(&name).unwrap(), Vec::<String>::new());
}

#[test]
fn a_kept_machine_outlives_its_owner_until_it_is_stopped() {
    let host = bare().keep(true).boot().unwrap();
    let name = host.name().to_owned();
    drop(host);
    test_host::sweep().unwrap();
    let host = Running::find(&name).unwrap();
    assert_eq!(host.succeed("echo still there"), "still there\n");
    host.power_off().unwrap();
    assert_eq!(test_host::traces(&name).unwrap(), Vec::<String>::new());
}
