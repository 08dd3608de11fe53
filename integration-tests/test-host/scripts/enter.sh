# enter.sh CGROUP PID COMMAND…: becomes a command inside the host whose first process is PID.
cgroup=$1/exec.scope pid=$2
shift 2
mkdir -p "$cgroup"
echo $$ >"$cgroup/cgroup.procs"
# The command dies with us: the pid namespace puts a fork in between.
exec nsenter --target "$pid" --mount --uts --ipc --net --pid --cgroup env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  HOME=/root LANG=C.UTF-8 TERM="${TERM:-dumb}" setpriv --pdeathsig KILL "$@"
