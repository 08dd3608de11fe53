# build-disk.sh DEST FORMAT TENANT LOWER PARTS: a sparse disk with the two trees that a host keeps: var (its /var, with the tenant image
# in it) and root (what it writes elsewhere). Or with the whole of the host, for one that has a kernel. Runs in its own mount and pid
# namespace.
dest=$1 format=$2 tenant=$3 lower=$4 parts=$5
scratch=$(mktemp -d "$dest.XXXXXX")
mkdir "$scratch/disk" "$scratch/root" "$scratch/none"
truncate -s 8G "$dest"
case $format in
  btrfs) mkfs.btrfs -q "$dest" ;;
  ext4) mkfs.ext4 -q -E lazy_itable_init=1,lazy_journal_init=1 "$dest" ;;
esac
# The loop device goes with the mount, also when this script is killed.
mount -o loop "$dest" "$scratch/disk"
volume() { if [ "$format" = btrfs ]; then btrfs -q subvolume create "$1"; else mkdir "$1"; fi; }
# An overlay without an upper layer takes no fewer than two.
mount -t overlay -o "lowerdir=$scratch/none:$lower" overlay "$scratch/root"
if [ "$parts" = written ]; then
  volume "$scratch/disk/var"
  volume "$scratch/disk/root"
  mkdir "$scratch/disk/root/upper" "$scratch/disk/root/work"
  cp -a "$scratch/root/var/." "$scratch/disk/var/"
else
  cp -a "$scratch/root/." "$scratch/disk/"
fi
mkdir -p "$scratch/disk/var/lib/machines"
chmod 700 "$scratch/disk/var/lib/machines"
volume "$scratch/disk/var/lib/machines/debian"
cp -a "$tenant/." "$scratch/disk/var/lib/machines/debian/"
umount "$scratch/root" "$scratch/disk"
rm -rf "$scratch"
