# virtual-machine.sh DIR WORK CACHE WRITABLE TREE BACKING: the first process of a virtual machine. Makes the emulator's tree its root, with
# the folders that it works in at the places where the machine has them, then becomes the emulator. WRITABLE is what it may change
# below CACHE, if anything; BACKING the disk that its own one begins with, if it has none yet.
dir=$1 work=$2 cache=$3 writable=$4 tree=$5 backing=$6
# This procfs still belongs to the machine, so it tells the pid by which the machine knows us.
read -r pid _ </proc/self/stat
# Two processors each: as many at once as the machine has pairs of them, and the others wait for the first to go.
for turn in $(seq $((($(nproc) + 1) / 2)) -1 1); do
  exec 7>"$dir/../.virtual-machine-$turn"
  flock --nonblock 7 && break
  [ "$turn" != 1 ] || flock 7
done
mount --make-rprivate /
R=$dir/root
mkdir -p "$R"
mount -t tmpfs -o mode=755,nosuid tmpfs "$R"
cp -a "$tree"/{bin,lib,lib64,sbin} "$R/"
mkdir "$R"/{dev,etc,proc,tmp,usr}
for folder in etc usr; do mount --bind "$tree/$folder" "$R/$folder"; done
mount -t proc proc "$R/proc"
mount --rbind /dev "$R/dev"
for folder in "$dir" "$work" "$cache" $writable; do
  mkdir -p "$R$folder"
  mount --bind "$folder" "$R$folder"
  [ "$folder" != "$cache" ] || mount -o remount,bind,ro "$R$folder"
done
if [ "$backing" ] && [ ! -e "$work/disk" ]; then chroot "$R" qemu-img create -q -f qcow2 -F raw -b "$backing" "$work/disk"; fi
if [ -d "$work/tpm" ]; then
  chroot "$R" swtpm socket --tpm2 --tpmstate "dir=$work/tpm" --ctrl "type=unixio,path=$dir/tpm" --daemon
fi
mapfile -d '' -t arguments <"$dir/arguments"
# Renamed, so that whoever reads it never finds half a number.
echo "$pid" >"$dir/pid.new" && mv "$dir/pid.new" "$dir/pid"
exec env -i PATH=/usr/sbin:/usr/bin chroot "$R" qemu-system-x86_64 "${arguments[@]}" </dev/null
