#!/bin/sh
# The first program of a virtual machine: leads to the host on its disk, and gives it the agent for this one boot. The words of the
# kernel's command line are our variables.
mount -t proc proc /proc
mount -t devtmpfs dev /dev
fail() { echo "the machine cannot start: $*" >/dev/console; poweroff -f; }
if [ "${probe:-}" ]; then echo "$probe" >/dev/console; poweroff -f; fi
while read -r module; do insmod "/lib/$module" || fail "$module"; done </lib/order
mount -t "$disk" -o noatime /dev/vda /root || fail "$disk on /dev/vda"
mount -t tmpfs -o mode=755,nosuid,nodev tmpfs /root/run
# In /run, not on the disk: what a test looks at is a host that knows nothing of tests.
mkdir -p /root/run/agent /root/run/systemd/system/multi-user.target.wants
cp /agent.py /root/run/agent/
cp /agent.service /root/run/systemd/system/
ln -s ../agent.service /root/run/systemd/system/multi-user.target.wants/
umount /proc
exec switch_root /root /sbin/init
