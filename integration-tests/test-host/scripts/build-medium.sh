# build-medium.sh DEST TREE BOOT WORDS: the disk that firmware starts from: a boot loader, and one image of kernel, initial RAM file
# system and command line. Runs in its own mount and pid namespace.
dest=$1 tree=$2 boot=$3 words=$4
scratch=$(mktemp -d "$dest.XXXXXX")
mount --bind "$boot" "$tree/mnt"
mount --bind "$scratch" "$tree/srv"
chroot "$tree" bash -euo pipefail -c '
  cd /srv
  ukify build --linux=/mnt/vmlinuz --initrd=/mnt/initrd --cmdline="$1" --os-release="ID=debian" --output=host.efi >/dev/null
  printf "timeout 0\n" >loader.conf
  truncate -s 96M system
  mkfs.vfat -F 32 -n ESP system >/dev/null
  mmd -i system ::EFI ::EFI/BOOT ::EFI/Linux ::loader
  mcopy -i system /usr/lib/systemd/boot/efi/systemd-bootx64.efi ::EFI/BOOT/BOOTX64.EFI
  mcopy -i system host.efi ::EFI/Linux/host.efi
  mcopy -i system loader.conf ::loader/loader.conf
  truncate -s 98M disk
  echo "start=1MiB, size=96MiB, type=uefi" | sfdisk --quiet --label gpt disk
  dd if=system of=disk bs=1M seek=1 conv=notrunc,sparse status=none
' medium "$words"
cp --sparse=always "$scratch/disk" "$dest"
umount "$tree/mnt" "$tree/srv"
rm -rf "$scratch"
