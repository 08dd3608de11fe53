# init.sh DIR NAME LOWER DISK: the first process of a host. Mounts what systemd expects of a container manager, then becomes systemd.
dir=$1 name=$2 lower=$3 disk=$4
# This procfs still belongs to the machine, so it tells the pid by which the machine knows us.
read -r pid _ </proc/self/stat
mount --make-rprivate /
mkdir -p "$dir/disk" "$dir/root"
R=$dir/root
mount -o loop,noatime "$disk" "$dir/disk"
mount -t overlay -o "lowerdir=$lower,upperdir=$dir/disk/root/upper,workdir=$dir/disk/root/work" overlay "$R"
mount --bind "$dir/disk/var" "$R/var"
umount -l "$dir/disk"

mount -t proc -o nosuid,nodev,noexec proc "$R/proc"
# The machine's sysctls are out of reach; net.* is the host's own.
mount --bind "$R/proc/sys" "$R/proc/sys"
mount --bind "$R/proc/sys/net" "$R/proc/sys/net"
mount -o remount,bind,ro,nosuid,nodev,noexec "$R/proc/sys"
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$R/sys"
# systemd-nsresourced and RestrictFileSystems= look for the bpf LSM here.
mount -t securityfs securityfs "$R/sys/kernel/security"
mount -t bpf -o mode=700 bpf "$R/sys/fs/bpf"
mount -t cgroup2 -o nosuid,nodev,noexec,nsdelegate,memory_recursiveprot cgroup2 "$R/sys/fs/cgroup"

mount -t tmpfs -o mode=755,nosuid,strictatime devs "$R/dev"
mkdir -p "$R"/dev/{pts,shm,net,mqueue,mapper}
mount -t devpts -o nosuid,noexec,gid=5,mode=620,ptmxmode=666,newinstance devpts "$R/dev/pts"
mount -t mqueue -o nosuid,nodev,noexec mqueue "$R/dev/mqueue"
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$R/dev/shm"
ln -s pts/ptmx "$R/dev/ptmx"
ln -s /proc/self/fd "$R/dev/fd"
for fd in 0:stdin 1:stdout 2:stderr; do ln -s "fd/${fd%:*}" "$R/dev/${fd#*:}"; done
node() { mknod -m "$2" "$R/dev/$1" "$3" "$4" "$5"; }
node null 666 c 1 3; node zero 666 c 1 5; node full 666 c 1 7; node random 666 c 1 8; node urandom 666 c 1 9; node tty 666 c 5 0
node net/tun 666 c 10 200; node fuse 666 c 10 229; node autofs 600 c 10 235; node btrfs-control 600 c 10 234
node loop-control 600 c 10 237
[ ! -e /dev/kvm ] || node kvm 660 c 10 232
[ ! -e /dev/vsock ] || node vsock 666 c 10 "$(awk '$2 == "vsock" { print $1 }' /proc/misc)"
for i in {0..127}; do node "loop$i" 660 b 7 "$i"; done

mount -t tmpfs -o mode=755,nosuid,nodev tmpfs "$R/run"
# One procfs and one sysfs with nothing mounted over them, or a nested user namespace may not mount its own.
mkdir -p "$R"/run/host/{proc,sys,notify}
mount -t proc -o nosuid,nodev,noexec proc "$R/run/host/proc"
mount -t sysfs -o nosuid,nodev,noexec sysfs "$R/run/host/sys"
mount --bind "$dir/notify" "$R/run/host/notify"
mount -t tmpfs -o mode=1777,nosuid,nodev,size=2G tmpfs "$R/tmp"
while IFS= read -r source && IFS= read -r target; do
  if [ -d "$source" ]; then mkdir -p "$R$target"; else mkdir -p "$(dirname "$R$target")" && touch "$R$target"; fi
  mount --rbind "$source" "$R$target"
done <"$dir/binds"

[ -s "$R/etc/machine-id" ] || tr -d - </proc/sys/kernel/random/uuid >"$R/etc/machine-id"
uuid=$(<"$R/etc/machine-id")
echo "$name" >"$R/etc/hostname"
hostname "$name"
# Renamed, so that whoever reads it never finds half a number.
echo "$pid" >"$dir/pid.new" && mv "$dir/pid.new" "$dir/pid"
cd "$R"
mkdir -p .old
pivot_root . .old
umount -l /.old
rmdir /.old 2>/dev/null || :
# As systemd-nspawn does: without it a merge of sysext or confext stays in systemd's private namespace.
mount --make-rshared /
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin container=testhost container_uuid="$uuid" NOTIFY_SOCKET=/run/host/notify/socket \
  /usr/lib/systemd/systemd </dev/null
