# supervise.sh DIR CGROUP WORK INIT ARGUMENT…: runs a host, runs it again after a reboot, and takes everything away when it has
# powered off or when its owner is gone. The owner holds the other end of our standard input.
set -u
dir=$1 cgroup=$2 work=$3
shift 3
exec 8<&0 9>"$dir/lock" </dev/null
flock 9
echo $$ >"$dir/supervisor"
echo held
exec >>"$dir/console.log" 2>&1

# "keep" on the lifeline makes the host outlive its owner; any other end of it is the host's end.
setpriv --pdeathsig KILL bash -c '
  read -r word <&8
  if [ "$word" = keep ]; then : >"$1/kept"; exit; fi
  : >"$1/orphan"
  # Its first process, if there is one: killing its parent would leave the burial to whoever adopts it.
  kill -KILL "$(cat "$1/pid" 2>/dev/null || cat "$1/unshare")"
' watch "$dir" 9>&- &
exec 8<&-

while :; do
  mkdir -p "$cgroup/init.scope"
  rm -f "$dir/again"
  # The namespace's root is the host's cgroup, its first process already in the scope where systemd wants to be.
  (
    exec 9>&-
    echo $BASHPID >"$cgroup/cgroup.procs"
    exec setpriv --pdeathsig KILL unshare --mount --net --uts --ipc --cgroup bash -c '
      echo $$ >"$1/init.scope/cgroup.procs"
      shift
      exec unshare --pid --fork --kill-child=SIGKILL bash -eu "$@"
    ' stage "$cgroup" "$@"
  ) &
  unshare=$!
  echo $unshare >"$dir/unshare"
  # The owner may have gone before there was anything to kill.
  [ ! -e "$dir/orphan" ] || kill -KILL $unshare
  wait $unshare 2>/dev/null
  status=$?
  rm -f "$dir/pid"
  [ ! -e "$dir/orphan" ] || break
  # The kernel reports a reboot in a pid namespace as a hang-up of its first process.
  [ $status -eq 129 ] || [ -e "$dir/again" ] || break
done

# Commands that entered from the machine are the only ones that can still be dying. What outlives this stays for the next sweep.
echo 1 >"$cgroup/cgroup.kill"
rm -rf "$work"
for _ in {1..50}; do
  find "$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null && break
  # Nothing here can be awaited: they are not our children, and a shell cannot poll cgroup.events.
  sleep 0.02
done
[ -d "$cgroup" ] || rm -rf "$dir"
