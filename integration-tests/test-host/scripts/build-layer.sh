# build-layer.sh DEST BASE DEB: what installing DEB over BASE adds, as a directory to be used as an overlay's lower layer.
# Runs in its own mount and pid namespace.
dest=$1 base=$2 deb=$3
scratch=$(mktemp -d "$dest.XXXXXX")
mkdir "$dest" "$scratch/work" "$scratch/root"
mount -t overlay -o "lowerdir=$base,upperdir=$dest,workdir=$scratch/work" overlay "$scratch/root"
mount -t proc proc "$scratch/root/proc"
mount -t tmpfs tmpfs "$scratch/root/tmp"
cp "$deb" "$scratch/root/tmp/package.deb"
# The image leaves documentation out; what the package itself ships is wanted, and the folders that it goes into.
include=()
for path in /usr/share/doc/bitbuilder /usr/share/man/man1; do include+=("--path-include=$path" "--path-include=$path/bitbuilder*"); done
DEBIAN_FRONTEND=noninteractive chroot "$scratch/root" dpkg --force-unsafe-io "${include[@]}" \
  --path-include='/usr/share/doc/bitbuilder/*' --install /tmp/package.deb
chroot "$scratch/root" systemd-sysusers
umount -R "$scratch/root"
rm -rf "$scratch"
