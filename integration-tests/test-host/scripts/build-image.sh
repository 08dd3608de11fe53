# build-image.sh KIND DEST SUITE PACKAGES: a Debian tree for a host or a tenant, made so that its boot does no first-boot work, or one
# that is never booted, for an emulator.
# Runs in its own mount and pid namespace.
kind=$1 dest=$2 suite=$3 packages=$4
# Debian from wherever this machine already gets its own packages.
mirror=${BITBUILDER_MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' | grep -m1 '/debian/\?$' || :)}
[ -n "$mirror" ] || { echo "apt has no Debian source; name one in BITBUILDER_MIRROR"; exit 1; }
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
options=(
  --mode=root --format=directory --keyring=$keyring
  # The mirror's Release file may be older than its Valid-Until.
  --aptopt='Acquire::Check-Valid-Until "false"' --aptopt='Acquire::Languages "none"' --aptopt='APT::Install-Recommends "false"'
  --dpkgopt=force-unsafe-io --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*'
  --dpkgopt='path-exclude=/usr/share/info/*' --dpkgopt='path-exclude=/usr/share/doc/*'
)
for scheme in http https; do
  proxy=$(apt-config dump --format '%v%n' Acquire::$scheme::Proxy)
  [ -z "$proxy" ] || options+=(--aptopt="Acquire::$scheme::Proxy \"$proxy\"")
done
case $kind in
  host) options+=(--variant=minbase --dpkgopt='path-include=/usr/share/doc/*/copyright') ;;
  emulator) options+=(--variant=essential) ;;
  tenant) options+=(--variant=essential --dpkgopt='path-exclude=/usr/share/zoneinfo/*' --dpkgopt='path-exclude=/usr/lib/udev/hwdb.d/*') ;;
esac
mmdebstrap "${options[@]}" --include="$packages" "$suite" "$dest" "deb [signed-by=$keyring] $mirror $suite main"
rm -rf "$dest"/var/lib/apt/lists/* "$dest"/var/cache/apt/*
[ "$kind" != emulator ] || exit 0

mount -t proc proc "$dest/proc"
inside() { chroot "$dest" "$@"; }
# Units whose work is done here, or belongs to the machine below, or is never wanted in a test.
mask=(
  apt-daily-upgrade.timer apt-daily.timer console-getty.service dev-hugepages.mount dpkg-db-backup.timer e2scrub_all.timer
  e2scrub_reap.service getty.target ldconfig.service modprobe@.service sys-fs-fuse-connections.mount sys-kernel-config.mount
  sys-kernel-debug.mount sys-kernel-tracing.mount systemd-firstboot.service systemd-hibernate-clear.service
  systemd-journal-catalog-update.service systemd-networkd-wait-online.service systemd-remount-fs.service
  systemd-timesyncd.service systemd-update-done.service tpm-udev.path tpm-udev.service
)
case $kind in
  host)
    # sysctl and binfmt would change the machine's own settings.
    mask+=(systemd-sysctl.service systemd-binfmt.service proc-sys-fs-binfmt_misc.automount proc-sys-fs-binfmt_misc.mount
      systemd-oomd.service systemd-oomd.socket)
    # systemd holds back mount jobs for a second when it has just seen many mounts, and this one has nothing to mount.
    mask+=(var-lib-machines.mount)
    inside systemctl disable ssh.service ssh.socket
    inside systemctl enable systemd-networkd.service systemd-resolved.service systemd-userdbd.socket systemd-nsresourced.socket \
      systemd-mountfsd.socket systemd-networkd-varlink.socket systemd-machined.service machines.target systemd-report.socket \
      systemd-report-basic.socket systemd-report-cgroup.socket systemd-networkd-varlink-metrics.socket \
      systemd-networkd-resolve-hook.socket
    mkdir -p "$dest/etc/systemd/journald.conf.d"
    printf '[Journal]\nReadKMsg=no\nStorage=volatile\nRateLimitIntervalSec=0\n' >"$dest/etc/systemd/journald.conf.d/50-test.conf"
    ;;
  tenant)
    # 80-container-host0.network, shipped with systemd, asks for an address on host0.
    inside systemctl enable systemd-networkd.service
    ;;
esac
inside systemctl mask "${mask[@]}"
[ ! -x "$dest/usr/bin/journalctl" ] || inside journalctl --update-catalog
inside systemd-sysusers
inside ldconfig
[ "$kind" != host ] || ln -sf ../run/systemd/resolve/stub-resolv.conf "$dest/etc/resolv.conf"
[ "$kind" != tenant ] || rm -f "$dest/etc/resolv.conf" "$dest/etc/hostname"
# Empty, not missing: an id for each boot without the work of a first boot.
rm -f "$dest/etc/machine-id" && : >"$dest/etc/machine-id"
for tree in etc var; do
  echo "TIMESTAMP_NSEC=$(date -r "$dest/usr" +%s%N)" >"$dest/$tree/.updated"
  touch -r "$dest/usr" "$dest/$tree/.updated"
done
umount "$dest/proc"
