# build-kernel-layer.sh DEST BASE PACKAGES: what installing PACKAGES over BASE adds, and what a host no longer has to leave alone once
# the kernel is its own. A directory to be used as an overlay's lower layer. Runs in its own mount and pid namespace.
dest=$1 base=$2 packages=$3
scratch=$(mktemp -d "$dest.XXXXXX")
root=$scratch/root
mkdir "$dest" "$scratch/work" "$root"
mount -t overlay -o "lowerdir=$base,upperdir=$dest,workdir=$scratch/work" overlay "$root"
mount -t proc proc "$root/proc"
mount --bind /dev "$root/dev"
for folder in tmp run var/lib/apt/lists var/cache/apt; do mount -t tmpfs tmpfs "$root/$folder"; done
mkdir -p "$root/run/systemd/resolve" "$root/var/cache/apt/archives/partial"
cp /etc/resolv.conf "$root/run/systemd/resolve/stub-resolv.conf"
# No initial RAM file system is wanted: a virtual machine is started with a smaller one.
inside() { DEBIAN_FRONTEND=noninteractive INITRD=No chroot "$root" "$@"; }
# These were masked for a kernel that is shared.
inside systemctl unmask modprobe@.service systemd-sysctl.service systemd-oomd.service systemd-oomd.socket
inside apt-get update --quiet
inside apt-get install --yes --quiet --no-install-recommends --option Dpkg::Options::=--force-unsafe-io $packages
# Emulated, the probing of devices that nobody has costs seconds.
printf 'blacklist %s\n' ahci evdev kvm_amd kvm_intel psmouse serio_raw >"$root/etc/modprobe.d/virtual-machine.conf"
inside systemctl mask blk-availability.service lvm2-monitor.service modprobe@drm.service modprobe@efi_pstore.service \
  systemd-hwdb-update.service
# Emulated, it takes most of a minute to have its BPF programs verified, and whoever looks up a user waits for it.
inside systemctl mask systemd-nsresourced.service systemd-nsresourced.socket
inside systemd-sysusers
inside systemd-hwdb update
inside ldconfig
for tree in etc var; do
  echo "TIMESTAMP_NSEC=$(date -r "$root/usr" +%s%N)" >"$root/$tree/.updated"
  touch -r "$root/usr" "$root/$tree/.updated"
done
umount -R "$root"
rm -rf "$scratch"
