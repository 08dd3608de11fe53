# build-boot.sh DEST LOWER INIT AGENT UNIT: the folder of a kernel and of the initial RAM file system that leads to a host's disk.
# Runs in its own mount and pid namespace.
dest=$1 lower=$2 init=$3 agent=$4 unit=$5
scratch=$(mktemp -d "$dest.XXXXXX")
root=$scratch/root ram=$scratch/ram
mkdir -p "$dest" "$root" "$ram"/{bin,dev,lib,proc,root} "$scratch/none"
mount -t overlay -o "lowerdir=$scratch/none:$lower" overlay "$root"
mount -t proc proc "$root/proc"
kernel=$(ls "$root/usr/lib/modules")
cp "$root/boot/vmlinuz-$kernel" "$dest/vmlinuz"
cp "$root/usr/bin/busybox" "$ram/bin/busybox"
for applet in sh cat cp insmod ln mkdir mount poweroff switch_root umount; do ln -s busybox "$ram/bin/$applet"; done
# Emulated, a module is loaded faster than it is decompressed.
for module in virtio_blk btrfs; do
  chroot "$root" modprobe --set-version "$kernel" --show-depends "$module" | while read -r verb path _; do
    name=$(basename "$path" .xz)
    [ "$verb" = insmod ] && [ ! -e "$ram/lib/$name" ] || continue
    xz --decompress --stdout "$root$path" >"$ram/lib/$name"
    echo "$name" >>"$ram/lib/order"
  done
done
printf '%s' "$init" >"$ram/init"
printf '%s' "$agent" >"$ram/agent.py"
printf '%s' "$unit" >"$ram/agent.service"
chmod 755 "$ram/init"
(cd "$ram" && find . -mindepth 1 | "$root/usr/bin/busybox" cpio -o -H newc) >"$dest/initrd"
umount -R "$root"
rm -rf "$scratch"
