//! What a host of metal gives its tenants and no namespace has: the device mapper, links of these kinds, and a measured boot.

use anyhow::{Result, ensure};
use integration_tests::{Need, host_with};
use test_host::{Bytes, Package};

const DISK: Bytes = Bytes(64 << 20);

#[test]
fn disks_are_encrypted_and_verified_and_links_are_made() -> Result<()> {
    let needs = [Need::DeviceMapper, Need::Disk(DISK), Need::Disk(DISK), Need::Vlan, Need::WireGuard];
    let Some(host) = host_with(&needs)? else { return Ok(()) };
    let host = host.package(Package::Bare).boot()?;

    // dm-crypt: what is written is read again, and is not on the disk.
    host.succeed(
        "disk=/dev/disk/by-id/virtio-disk0
        echo secret >/run/key
        cryptsetup luksFormat --batch-mode --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --key-file /run/key $disk
        cryptsetup open --key-file /run/key $disk sealed
        mkfs.ext4 -q /dev/mapper/sealed && mount /dev/mapper/sealed /mnt
        echo written-in-the-clear >/mnt/file && umount /mnt && cryptsetup close sealed
        ! grep --quiet written-in-the-clear $disk
        cryptsetup open --key-file /run/key $disk sealed
        mount /dev/mapper/sealed /mnt && grep --quiet written-in-the-clear /mnt/file",
    );

    // dm-verity: what was changed is not read.
    host.succeed(
        "mkdir /run/tree && head -c 4M /dev/urandom >/run/tree/file
        mkfs.erofs --quiet /run/image /run/tree
        disk=/dev/disk/by-id/virtio-disk1
        dd if=/run/image of=$disk bs=4096 conv=fsync status=none
        root=$(veritysetup format $disk /run/hashes | sed -n 's/^Root hash: *//p')
        veritysetup open $disk verified /run/hashes $root
        cmp /dev/mapper/verified $disk && veritysetup close verified
        dd if=/dev/zero of=$disk bs=4096 seek=300 count=1 conv=notrunc,fsync status=none
        veritysetup open $disk verified /run/hashes $root
        ! dd if=/dev/mapper/verified of=/dev/null bs=4096 skip=300 count=1 2>/dev/null",
    );

    // Two namespaces see each other in the VLAN that both are in, and not in another.
    host.succeed(
        "ip netns add other && ip link add here type veth peer name there netns other
        ip link set here up && ip -n other link set there up
        vlan() { ip $1 link add link $2 name v$3 type vlan id $3; ip $1 address add $4/24 dev v$3; ip $1 link set v$3 up; }
        vlan '' here 7 10.7.0.1; vlan '-n other' there 7 10.7.0.2
        vlan '' here 8 10.8.0.1; vlan '-n other' there 9 10.8.0.2
        ping -q -c 1 -W 10 10.7.0.2 >/dev/null
        ! ping -q -c 1 -W 2 10.8.0.2 >/dev/null",
    );

    // A tunnel, and nothing in the clear beside it.
    host.succeed(
        "wg genkey >/run/one && wg genkey >/run/two
        ip address add 10.1.0.1/24 dev here && ip -n other address add 10.1.0.2/24 dev there
        ip link add wg0 type wireguard && ip -n other link add wg0 type wireguard
        wg set wg0 listen-port 5000 private-key /run/one peer $(wg pubkey </run/two) allowed-ips 10.2.0.2 endpoint 10.1.0.2:5000
        ip netns exec other wg set wg0 listen-port 5000 private-key /run/two peer $(wg pubkey </run/one) allowed-ips 10.2.0.1
        ip address add 10.2.0.1/24 dev wg0 && ip link set wg0 up
        ip -n other address add 10.2.0.2/24 dev wg0 && ip -n other link set wg0 up
        ping -q -c 1 -W 10 10.2.0.2 >/dev/null
        test $(wg show wg0 latest-handshakes | cut -f 2) != 0",
    );
    Ok(())
}

#[test]
fn firmware_starts_it_and_the_tpm_measures_it() -> Result<()> {
    let needs = [Need::Firmware, Need::Tpm, Need::DeviceMapper, Need::Disk(DISK)];
    let Some(host) = host_with(&needs)? else { return Ok(()) };
    let host = host.package(Package::Bare).boot()?;
    let loader = host.succeed("tail -c +5 /sys/firmware/efi/efivars/LoaderInfo-* | tr -d '\\0'");
    ensure!(loader.starts_with("systemd-boot"), "{loader} started it");
    host.succeed("systemd-analyze condition ConditionSecurity=measured-uki ConditionSecurity=tpm2");
    // The unified kernel image was measured: an empty register is all zeros.
    let register = host.succeed("tr -d '0\\n' </sys/class/tpm/tpm0/pcr-sha256/11");
    ensure!(!register.is_empty(), "nothing was measured into PCR 11");
    let sealed = "echo secret | systemd-creds encrypt --with-key=tpm2 --name=it - /run/sealed && systemd-creds decrypt --name=it /run/sealed -";
    ensure!(host.succeed(sealed) == "secret\n");
    // A disk that this machine alone opens.
    host.succeed(
        "disk=/dev/disk/by-id/virtio-disk0
        echo -n secret >/run/key
        cryptsetup luksFormat --batch-mode --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --key-file /run/key $disk
        systemd-cryptenroll --unlock-key-file=/run/key --tpm2-device=auto --tpm2-pcrs=11 --wipe-slot=password $disk
        rm /run/key
        /usr/lib/systemd/systemd-cryptsetup attach sealed $disk - tpm2-device=auto,headless
        test -b /dev/mapper/sealed",
    );
    Ok(())
}
