# build-packages.sh DEST BASE PACKAGE…: what Debian's packages of these names and what they need add to BASE, as a directory to be used as
# an overlay's lower layer. Runs in its own mount and pid namespace.
dest=$1 base=$2
shift 2
scratch=$(mktemp -d "$dest.XXXXXX")
mkdir "$dest" "$scratch/work" "$scratch/root"
mount -t overlay -o "lowerdir=$base,upperdir=$dest,workdir=$scratch/work" overlay "$scratch/root"
mount -t proc proc "$scratch/root/proc"
for tree in tmp run var/lib/apt/lists var/cache/apt; do mount -t tmpfs tmpfs "$scratch/root/$tree"; done
# The image asks its own systemd-resolved for names, which does not run here.
mkdir -p "$scratch/root/run/systemd/resolve"
cp /etc/resolv.conf "$scratch/root/run/systemd/resolve/stub-resolv.conf"
# The image has kept how it was made: sources, proxies, no recommends, no documentation.
inside() { DEBIAN_FRONTEND=noninteractive chroot "$scratch/root" "$@"; }
inside apt-get update --quiet
inside apt-get install --yes --quiet "$@"
umount -R "$scratch/root"
rm -rf "$scratch"
