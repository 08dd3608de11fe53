"""Prepares incus, or prints the milliseconds from `incus launch NAME` until the systemd in it says READY=1, as systemd-nspawn
hears it with --notify-ready=yes."""

import os
import socket
import subprocess
import sys
import time

IMAGE = "/var/lib/machines/debian"
WORK = "/var/tmp/incus"
NOTIFY = "/run/incus-notify"

# An unprivileged container on a bridge with leases, its root a snapshot. The host's sysfs is read-only, and the kernel gives a
# user namespace none that may do more: /sys is what it is under systemd-nspawn. The link has the name to which Debian's own
# systemd-networkd settings for containers apply.
SETTINGS = f"""
storage_pools:
- name: default
  driver: btrfs
  config: {{ source: /var/lib/incus/storage-pools/default }}
networks:
- name: incus
  type: bridge
  config: {{ ipv4.address: 10.77.0.1/24, ipv4.nat: "true", ipv6.address: none }}
profiles:
- name: default
  config:
    environment.NOTIFY_SOCKET: /mnt/notify/socket
    raw.lxc: |-
      lxc.mount.auto =
      lxc.mount.auto = proc:rw sys:ro cgroup:rw:force
  devices:
    root: {{ type: disk, path: /, pool: default }}
    eth0: {{ type: nic, network: incus, name: host0 }}
    notify: {{ type: disk, source: {NOTIFY}, path: /mnt/notify }}
"""


def run(*words, **more):
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, **more)


def prepare():
    os.makedirs(NOTIFY)
    os.makedirs(WORK)
    run("incus", "admin", "init", "--preseed", input=SETTINGS, text=True)
    with open(f"{WORK}/metadata.yaml", "w", encoding="utf-8") as metadata:
        metadata.write(f"architecture: {os.uname().machine}\ncreation_date: {int(time.time())}\n")
    run("tar", "--create", f"--directory={WORK}", f"--file={WORK}/metadata.tar", "metadata.yaml")
    run("mksquashfs", IMAGE, f"{WORK}/rootfs.squashfs", "-quiet", "-no-progress", "-no-compression")
    run("incus", "image", "import", f"{WORK}/metadata.tar", f"{WORK}/rootfs.squashfs", "--alias=debian")


def launch(name):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"{NOTIFY}/socket")
        # It comes from a uid of the container's own.
        os.chmod(f"{NOTIFY}/socket", 0o666)
        listener.settimeout(60)
        begun = time.monotonic_ns()
        started = subprocess.Popen(["incus", "launch", "debian", name], stdout=subprocess.DEVNULL)
        while b"READY=1" not in listener.recv(4096).split(b"\n"):
            pass
        print((time.monotonic_ns() - begun) / 1e6)
        assert started.wait() == 0
    os.unlink(f"{NOTIFY}/socket")
    # One whose units have failed is ready as well.
    run("incus", "exec", name, "--", "systemctl", "is-system-running", "--wait")
    run("incus", "delete", "--force", name)


{"prepare": prepare, "launch": launch}[sys.argv[1]](*sys.argv[2:])
