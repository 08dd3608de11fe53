# probe-kvm.sh TREE BOOT: succeeds if a kernel comes up with the processor's own virtualisation. That there is a /dev/kvm says nothing.
# Runs in its own mount and pid namespace.
tree=$1 boot=$2
mount --rbind /dev "$tree/dev"
mount --bind "$boot" "$tree/mnt"
chroot "$tree" timeout --signal=KILL 20 qemu-system-x86_64 -nodefaults -no-user-config -display none -no-reboot -machine q35 -accel kvm \
  -cpu host -m 512M -serial stdio -kernel /mnt/vmlinuz -initrd /mnt/initrd -append 'console=ttyS0 quiet probe=came-up' </dev/null |
  grep --quiet came-up
