# belongings.sh STAYING…: everything on the host that belongs to tenants, in words that depend neither on the time nor on how often
# something was changed. What is remembered of the history of a tenant that left stays, and its archive: they are not among it.
set -u
# Each line says what it is about.
of() { sed "s/^/$1: /"; }
# Of who stays, what is called from time to time is there or not.
called() {
    for name in "$@"; do printf '^(git-sync|bitbuilder-guest|bitbuilder-wake|bitbuilder-pre-provision|bitbuilder-pre-start)@%s\\.service$\n' "$name"; done
    echo '^git-sync@system\.service$'
}
# Which commit it is, and how many changes it took, are no belongings.
same() { sed -E 's/\b[0-9a-f]{40}\b/REVISION/g; s/"generation": ?[0-9]+/"generation":N/g'; }

systemctl list-units --all --plain --no-legend | awk '{print $1}' |
    grep -E '^(bitbuilder-(container|machine|guest|wake|pre-start|pre-provision)@|git-sync@|tenant-.*\.target)|tenants.*mount' |
    grep -v -E -f <(called "$@") | sort | of unit
systemctl list-units --state=failed --plain --no-legend | awk '{print $1}' | grep -E 'bitbuilder|tenant|git-sync' | sort | of 'failed unit'
findmnt --raw --noheadings --output=TARGET | grep -e tenants -e bitbuilder/ | sort | of mount
[ "$(stat -f -c %T /var/lib/tenants)" != btrfs ] || btrfs subvolume list /var/lib/tenants | awk '{print $NF}' | grep tenants | sort | of subvolume
ip -oneline link | sed 's/^[0-9]*: \([^:@]*\).*/\1/' | sort | of link
nft --stateless list table inet bitbuilder 2>&1 | of rule
getent passwd | grep 'bb[gw]-' | sort | of user
ls -A /run/systemd/dynamic-uid 2>/dev/null | grep 'bb[gw]-' | grep -v -x -F -f <(printf 'direct:bbg-%s\n' none "$@"; printf 'direct:bbw-%s\n' none "$@") | sort | of user
machinectl list --no-legend | awk '{print $1}' | sort | of machine
# Whose uid is of a range that tenants have, and who is in no tenant's unit.
ps -ww -eo uid:12=,cgroup:300=,args= | awk '$1 >= 1073741824 && $1 < 1610612736 && $2 !~ /bitbuilder-(container|machine)@/' | of process
ps -eo args= | grep -c '^/usr/bin/systemd-nspawn' | of 'containers'
# Empty ones outlive a host whose first process is killed, and no power loss.
find /sys/fs/cgroup/bitbuilder.slice -maxdepth 2 -name '*@*' 2>/dev/null | while read -r group; do
    [ -z "$(find "$group" -name cgroup.procs -exec cat {} + 2>/dev/null)" ] || echo "${group##*/}"
done | grep -v -E -f <(called "$@") | sort | of 'control group'
# Not what says that a boot was seen to.
for at in /var/lib/tenants /var/lib/tenants/* /run/bitbuilder/{instances,extensions,guest,sandboxes,network} /run/systemd/system.control \
    /run/systemd/transient /run/systemd/network /run/systemd/nspawn/unix-export /run/systemd/machines /var/lib/bitbuilder/{git,git/*}; do
    [ ! -d "$at" ] || ls -A "$at" | grep -v -x -e .digests.json -e failpoint.service -e to-provision -e '\.\?restored' | grep -v ^unit: | sort | of "${at//\//\\/}"
done
# What the root of who stays was last made for is noted until the next boot.
find /run/bitbuilder/instances/to-provision -type f 2>/dev/null | grep -v -F -f <(printf '/%s.json\n' none "$@") | sort | of note
# Who ran when the host booted has its units of the generator, who came since of the tenant manager.
cat <(ls -A /run/systemd/system) <(ls -A /run/systemd/generator 2>/dev/null | grep -e ^tenant- -e ^bitbuilder-container@ -e ^bitbuilder-wake@) | sort --unique | of 'unit file'
find /var/lib/bitbuilder/{boot,storage,network,extension} /run/bitbuilder/instances -type f ! -name .digests.json ! -path '*/to-provision/*' | sort |
    while read -r file; do same <"$file" | of "$(same <<<"${file//\//\\/}")"; done
