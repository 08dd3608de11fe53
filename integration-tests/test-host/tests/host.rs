//! The test host itself: it is a real host, keeps what a host keeps, and leaves nothing behind.

#![allow(clippy::disallowed_methods, reason = "a test looks at the machine as a person would")]
#![allow(clippy::unwrap_used, reason = "a test says by it what it expects")]

use std::process::Command;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use test_host::{Builder, Disk, Host, Package, Running};

fn bare() -> Builder {
    Host::builder("").package(Package::Bare)
}

#[test]
fn it_is_a_real_host_and_passes_results_through() {
    let host = bare().boot().unwrap();
    assert_eq!(host.succeed("systemctl is-system-running").trim(), "running");
    assert_eq!(host.succeed("hostname").trim(), host.name());
    assert_eq!(host.succeed("cat /proc/1/comm").trim(), "systemd");
    assert_eq!(host.succeed("findmnt --noheadings --output FSTYPE /var").trim(), "btrfs");

    let output = host.sh("echo said; echo complained >&2; exit 7").unwrap();
    assert_eq!((output.code, output.stdout.as_str(), output.stderr.as_str()), (7, "said\n", "complained\n"));
    assert_eq!(host.sh("kill -TERM $$").unwrap().code, 143);
    assert_eq!(host.sh("false; true").unwrap().code, 1);
    // A process that a command leaves in the background does not hold the caller up.
    host.succeed("sleep 1000 & disown");

    host.write("/etc/deep/er/file", b"one\ntwo").unwrap();
    assert_eq!(host.succeed("cat /etc/deep/er/file"), "one\ntwo");
    host.stop().unwrap();
}

#[test]
fn it_has_more_of_debian_when_told_so() {
    let (asked, other) = (bare().with_packages(["tree"]).boot().unwrap(), bare().boot().unwrap());
    assert_eq!(asked.succeed("dpkg-query --show --showformat='${db:Status-Status}' tree"), "installed");
    assert!(asked.succeed("tree --version").starts_with("tree v"));
    assert_eq!(asked.succeed("systemctl is-system-running").trim(), "running");
    assert_eq!(other.sh("command -v tree").unwrap().code, 1, "in its own layer, not in the image of all");
    let refused = bare().with_packages(["no-such-package"]).boot().unwrap_err();
    assert!(format!("{refused:#}").contains("no-such-package"), "{refused:#}");
}

#[test]
fn it_leaves_nothing_behind() {
    let sysctls = || {
        Command::new("sysctl")
            .args(["kernel.printk", "kernel.core_pattern", "fs.protected_fifos"])
            .output()
            .unwrap()
            .stdout
    };
    let before = sysctls();
    for orderly in [true, false] {
        test_host::leave(bare().boot().unwrap(), orderly).unwrap();
    }
    assert_eq!(sysctls(), before);
}

#[test]
fn a_killed_owner_takes_its_host_along() {
    let name = format!("killed-{}", std::process::id());
    test_host::kill_owner(Command::new(env!("CARGO_BIN_EXE_boot-and-wait")).arg(&name), &name).unwrap();
    assert_eq!(test_host::traces(&name).unwrap(), Vec::<String>::new());
}

#[test]
fn a_killed_supervisor_is_swept() {
    let host = bare().boot().unwrap();
    let name = host.name().to_owned();
    let supervisor = std::fs::read_to_string(format!("/run/bitbuilder-testhost/{name}/supervisor")).unwrap();
    let supervisor = Pid::from_raw(supervisor.trim().parse().unwrap()).unwrap();
    let init = pidfd_open(Pid::from_raw(host.pid().unwrap().cast_signed()).unwrap(), PidfdFlags::empty()).unwrap();
    kill_process(supervisor, Signal::KILL).unwrap();
    poll(&mut [PollFd::new(&init, PollFlags::IN)], None).unwrap();
    drop(host);
    assert_eq!(test_host::traces(&name).unwrap(), Vec::<String>::new());
}

#[test]
fn several_live_side_by_side() {
    let [one, two] = std::thread::scope(|scope| {
        let boots = [Disk::Btrfs, Disk::Btrfs].map(|disk| scope.spawn(move || bare().disk(disk).boot().unwrap()));
        boots.map(|boot| boot.join().unwrap())
    });
    one.succeed("touch /var/mine /etc/mine; ip link add mine type veth");
    two.succeed("! test -e /var/mine && ! test -e /etc/mine && ! ip link show mine");
    assert_ne!(one.succeed("cat /etc/machine-id"), two.succeed("cat /etc/machine-id"));
}

#[test]
fn a_reboot_and_a_power_loss_keep_the_disk() {
    let host = bare().disk(Disk::Ext4).boot().unwrap();
    host.succeed("echo kept >/var/lib/file; echo kept >/etc/file; echo gone >/run/file; sync");
    let boot = host.succeed("cat /proc/1/stat");
    for again in [Running::reboot, Running::power_loss] {
        again(&host).unwrap();
        assert_eq!(host.succeed("cat /var/lib/file /etc/file"), "kept\nkept\n");
        host.succeed("! test -e /run/file");
        assert_ne!(host.succeed("cat /proc/1/stat"), boot);
    }
    host.expect_boot(|| host.sh("systemctl reboot").map(drop)).unwrap();
    assert_eq!(host.succeed("systemctl is-system-running").trim(), "running");
}

#[test]
fn a_kept_host_outlives_its_owner_until_it_is_stopped() {
    let host = bare().keep(true).boot().unwrap();
    let name = host.name().to_owned();
    drop(host);
    test_host::sweep().unwrap();
    let host = Running::find(&name).unwrap();
    assert!(test_host::list().unwrap().iter().any(|host| host.name == name));
    host.reboot().unwrap();
    assert_eq!(host.succeed("systemctl is-system-running").trim(), "running");
    host.power_off().unwrap();
    assert!(Running::find(&name).is_err());
    assert_eq!(test_host::traces(&name).unwrap(), Vec::<String>::new());
}

#[test]
fn folders_and_files_of_the_machine_are_shown() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "from outside").unwrap();
    let host = bare().bind(folder.path(), "/srv/a folder").bind(folder.path().join("file"), "/etc/one").boot().unwrap();
    assert_eq!(host.succeed("cat '/srv/a folder/file' /etc/one"), "from outsidefrom outside");
    host.succeed("echo from inside >'/srv/a folder/answer'");
    assert_eq!(std::fs::read_to_string(folder.path().join("answer")).unwrap(), "from inside\n");
}

#[test]
fn a_tenant_of_the_image_boots_and_gets_an_address() {
    let host = bare().boot().unwrap();
    let network = "[Match]\nName=br0\n[Network]\nAddress=10.9.0.1/24\nDHCPServer=yes\nConfigureWithoutCarrier=yes\n";
    host.write("/run/systemd/network/10-br0.network", network).unwrap();
    host.write("/run/systemd/network/10-br0.netdev", "[NetDev]\nName=br0\nKind=bridge\n").unwrap();
    host.succeed("networkctl reload");
    host.succeed(
        "systemd-run --unit=t --property=Type=notify --property=NotifyAccess=all --property=Delegate=yes \
         systemd-nspawn --settings=no --keep-unit --quiet --machine=t --directory=/var/lib/machines/debian \
         --private-users=1073741824:65536 --private-users-ownership=map --network-bridge=br0 --boot --notify-ready=yes",
    );
    let inside =
        |script: &str| host.succeed(&format!("systemd-run --quiet --pipe --wait --machine=t sh -euc '{script}'"));
    assert_eq!(inside("systemctl is-system-running --wait").trim(), "running");
    // A link-local address may come first: the server begins with the bridge's first carrier, and may miss the first question.
    inside("/usr/lib/systemd/systemd-networkd-wait-online --interface=host0:routable --ipv4 --timeout=30");
    assert!(inside("ip -4 -brief address show host0").contains("10.9.0."));
    assert_eq!(inside("stat --format=%U /usr").trim(), "root");
}
