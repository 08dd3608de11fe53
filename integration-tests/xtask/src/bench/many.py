"""Runs on the test host of `cargo xtask bench`: makes many repositories, and measures processes. Prints JSON."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time

TICK = os.sysconf("SC_CLK_TCK")
URL = "git://127.0.0.1:9419/"


def make(count):
    """Repositories r0, r1 … of tenants that should not run; prints their registry."""
    os.makedirs("/srv/many")
    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", "/srv/template"], check=True)
    entries = []
    for number in range(count):
        name = f"r{number}"
        shutil.copytree("/srv/template", f"/srv/many/{name}.git")
        manifest = {"version": "1.0", "tenant": {"name": name, "type": "container", "enabled": False}, "image": "debian"}
        text = json.dumps(manifest)
        stream = (
            "commit refs/heads/main\ncommitter T <t@example.org> 1700000000 +0000\ndata 5\nFirst\n"
            f"M 100644 inline metadata.json\ndata {len(text)}\n{text}\n"
        )
        importing = ["git", "--git-dir", f"/srv/many/{name}.git", "fast-import", "--quiet"]
        subprocess.run(importing, input=stream.encode(), check=True)
        entries.append({"name": name, "repository": f"{URL}{name}.git", "limits": {}})
    shutil.copytree("/srv/many", "/srv/fetched")
    print(json.dumps({"version": "1.0", "tenants": entries}))


def main_pid(unit):
    shown = subprocess.run(["systemctl", "show", "-p", "MainPID", "--value", unit], capture_output=True, check=True)
    return int(shown.stdout)


def stat(pid):
    """What proc(5) says after the name: the parent is the second, the processor times are from the twelfth on."""
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rsplit(")", 1)[1].split()


def family(root):
    """A process and all that descend from it."""
    parents = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            parents[int(pid)] = int(stat(pid)[1])
        except OSError:
            pass
    found = {root}
    while True:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        if not more:
            return found
        found |= more


def processor_time():
    """Seconds that our two services and all their children have used."""
    total = 0
    for unit in ("bitbuilder-git-sync.service", "bitbuilder-orchestrator.service"):
        for pid in family(main_pid(unit)):
            try:
                total += sum(map(int, stat(pid)[11:15]))
            except OSError:
                pass
    return total / TICK


def spawn(commands, parallel):
    """Runs commands, so many at a time; returns their processor time and how long it took."""
    before, begun, running = os.times(), time.monotonic(), 0
    null = os.open("/dev/null", os.O_RDWR)
    for command in commands:
        if running == parallel:
            assert os.wait()[1] == 0
            running -= 1
        actions = [(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, null, 1)]
        os.posix_spawn("/usr/bin/git", command, os.environ, file_actions=actions)
        running += 1
    while running:
        assert os.wait()[1] == 0
        running -= 1
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return used, time.monotonic() - begun


def noop(rounds, parallel, count):
    """Milliseconds of processor time for each look, by us, by `git ls-remote` and by `git fetch`."""
    sync = ["bitbuilder", "sync", "--wait"]
    found = {"ours": [], "duration": [], "ls-remote": [], "ls-remote-duration": [], "fetch": []}
    names = [f"r{number}" for number in range(count)]
    branch = "refs/heads/main"
    for _ in range(rounds):
        # Git's own commands take so long that the service has left meanwhile.
        subprocess.run(["bitbuilder", "sync", "r0", "--wait"], stdout=subprocess.DEVNULL)
        pids = [main_pid(f"bitbuilder-{name}.service") for name in ("git-sync", "orchestrator")]
        before, begun = processor_time(), time.monotonic()
        subprocess.run(sync, stdout=subprocess.DEVNULL)
        found["duration"].append(time.monotonic() - begun)
        found["ours"].append(processor_time() - before)
        assert pids == [main_pid(f"bitbuilder-{name}.service") for name in ("git-sync", "orchestrator")]
        used, took = spawn([["git", "ls-remote", f"{URL}{name}.git", branch] for name in names], parallel)
        found["ls-remote"].append(used)
        found["ls-remote-duration"].append(took)
        fetch = ["git", "--git-dir", "", "fetch", "--quiet", "", f"+{branch}:{branch}"]
        fetches = [fetch[:2] + [f"/srv/fetched/{name}.git"] + fetch[3:5] + [f"{URL}{name}.git"] + fetch[6:] for name in names]
        found["fetch"].append(spawn(fetches, parallel)[0])
    print(json.dumps({key: 1000 * sorted(values)[rounds // 2] / count for key, values in found.items()}))


def share(pid):
    """MiB of a process, what it shares divided among those who share it."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("Pss:")) / 1024
    except (OSError, StopIteration):
        return 0


def memory(command):
    """The most that git-sync and its children have together while a command runs, and the most that one child has."""
    subprocess.run(["bitbuilder", "sync", "system", "--wait"], stdout=subprocess.DEVNULL)
    root, done, peak, child = main_pid("bitbuilder-git-sync.service"), threading.Event(), 0, 0
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    threading.Thread(target=lambda: (running.wait(), done.set())).start()
    while not done.is_set():
        shares = {pid: share(pid) for pid in family(root)}
        peak = max(peak, sum(shares.values()))
        child = max([child, *(size for pid, size in shares.items() if pid != root)])
    print(json.dumps({"peak": peak, "child": child, "code": running.returncode}))


def reconcile(count):
    """Starts the orchestrator anew, and reads how long it took until its tenants were looked after."""
    unit = "bitbuilder-orchestrator.service"
    subprocess.run(["systemctl", "restart", unit], check=True)
    shown = subprocess.run(
        ["systemctl", "show", "-p", "ExecMainStartTimestampMonotonic", "-p", "InvocationID", "--value", unit],
        capture_output=True, check=True, text=True,
    )
    begun, invocation = sorted(shown.stdout.split(), key=len)
    follow = ["journalctl", "--follow", "--no-tail", "--output=json", f"_SYSTEMD_INVOCATION_ID={invocation}"]
    with subprocess.Popen(follow, stdout=subprocess.PIPE, text=True) as journal:
        for line in journal.stdout:
            entry = json.loads(line)
            if "looked after what is remembered" in str(entry["MESSAGE"]):
                words = dict(word.split("=", 1) for word in entry["MESSAGE"].split() if "=" in word)
                journal.terminate()
                assert int(words["tenants"]) >= count, entry["MESSAGE"]
                since = (int(entry["__MONOTONIC_TIMESTAMP"]) - int(begun)) / 1000
                print(json.dumps({"took": float(words["milliseconds"]), "from-start": since}))
                return


if sys.argv[1] == "memory":
    memory(sys.argv[2:])
else:
    {"make": make, "noop": noop, "reconcile": reconcile}[sys.argv[1]](*map(int, sys.argv[2:]))
