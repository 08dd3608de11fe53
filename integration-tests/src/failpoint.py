"""Stands in front of our services on the test host, passes calls on, and does harm at one of them.

    failpoint.py watch COMMAND                    prints the calls that changed something until COMMAND ended, as JSON
    failpoint.py METHOD before|after HARM COMMAND does harm at the first call of METHOD that COMMAND leads to

METHOD is as in Storage.Ensure. HARM is what is killed: owner (the service that is called), orchestrator, all (of ours at once),
others (all but these two, one after the other), or power: then the call is held until the host is gone. Who is killed before the
call does not get it, and who is killed after it does not answer. Says that it is ready when the harm is done and nobody stands
there any more.
"""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading

RUN = "/run/bitbuilder/"
ORCHESTRATOR = "bitbuilder-orchestrator.service"
OWNERS = {
    "Storage": "bitbuilder-storage.service",
    "Network": "bitbuilder-network.service",
    "Extension": "bitbuilder-extension.service",
    "Tenant": "tenant-manager.service",
}
OTHERS = [f"bitbuilder-{name}.service" for name in ("git-sync", "notification", "secret", "webhook")]
ALL = [ORCHESTRATOR, *OWNERS.values(), *OTHERS]
CHANGES = {"Ensure", "Remove", "Archive", "PreProvision", "Listen", "Start", "Restart", "RestartServices", "Stop"}
# How long after the end of a command the call that it leads to may come.
PATIENCE = 20


def receive(stream):
    """One message without its end, or nothing if the peer hung up. Who called says no more before the answer."""
    message = b""
    while not message.endswith(b"\0"):
        piece = stream.recv(1 << 16)
        if not piece:
            return None
        message += piece
    return message[:-1]


def kill(units):
    """SIGKILL to the main processes, all at once. Returns how many there were when they have ended."""
    shown = subprocess.run(["systemctl", "show", "--value", "-p", "MainPID", *units], capture_output=True, check=True)
    processes = [os.pidfd_open(pid) for pid in map(int, shown.stdout.split()) if pid]
    for process in processes:
        signal.pidfd_send_signal(process, signal.SIGKILL)
    for process in processes:
        select.select([process], [], [])
        os.close(process)
    return len(processes)


def said(words):
    """To the service manager, if it asked to be told (sd_notify(3))."""
    if address := os.environ.get("NOTIFY_SOCKET"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.sendto(words.encode(), address.replace("@", "\0", 1))


class Failpoint:
    def __init__(self, method=None, moment=None, harm=None):
        self.method, self.moment, self.harm = method, moment, harm
        self.lock, self.calls, self.threads = threading.Lock(), [], []
        self.struck, self.done, self.failure = False, threading.Event(), None
        self.aside, self.wake = os.pipe()

    def stand(self):
        for name in OWNERS:
            public, own = f"{RUN}io.bitbuilder.{name}", f"{RUN}.{name}"
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(own + ".new")
            os.chmod(own + ".new", 0o666)
            listener.listen(128)
            os.rename(public, own)
            os.rename(own + ".new", public)
            self.start(self.accept, listener, name)

    def step_aside(self):
        """From now on everybody reaches the services themselves. Who came by here is seen to the end."""
        for name in OWNERS:
            os.rename(f"{RUN}.{name}", f"{RUN}io.bitbuilder.{name}")
        os.write(self.wake, b"x")

    def start(self, work, *arguments):
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self.threads.append(thread)
        thread.start()

    def join(self):
        for thread in self.threads:
            thread.join()

    def accept(self, listener, name):
        while listener in select.select([listener, self.aside], [], [])[0]:
            client, _ = listener.accept()
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(f"{RUN}.{name}")
            except FileNotFoundError:
                # Who was still in the queue when the service got its place back finds it there.
                server.connect(f"{RUN}io.bitbuilder.{name}")
            self.start(self.converse, client, server, name)

    def converse(self, client, server, name):
        with client, server:
            try:
                while (call := receive(client)) is not None and self.passes(client, server, name, call):
                    pass
            except OSError:
                # Somebody of them ended. So does the connection.
                pass

    def passes(self, client, server, name, call):
        """Passes a call on and what is answered back. False if the connection is over."""
        method = json.loads(call)["method"].rsplit(".", 1)[1]
        with self.lock:
            if method in CHANGES:
                self.calls.append(f"{name}.{method}")
            strikes = f"{name}.{method}" == self.method and not self.struck
            self.struck |= strikes
        if strikes and self.moment == "before" and not self.strike(name):
            return False
        server.sendall(call + b"\0")
        while (reply := receive(server)) is not None:
            if strikes and self.moment == "after" and not self.strike(name):
                return False
            client.sendall(reply + b"\0")
            if not json.loads(reply).get("continues"):
                return True
        return False

    def strike(self, name):
        """Does the harm. Whether the call goes on."""
        owner = OWNERS[name]
        if self.harm == "power":
            said("READY=1")
            threading.Event().wait()
        if self.harm == "others":
            for unit in ALL:
                if unit not in (owner, ORCHESTRATOR):
                    kill([unit])
        else:
            units = {"owner": [owner], "orchestrator": [ORCHESTRATOR], "all": ALL}[self.harm]
            if not kill(units):
                self.failure = f"none of {units} ran"
        self.done.set()
        return self.harm == "others"


def main():
    failpoint = Failpoint(*sys.argv[1:-1]) if len(sys.argv) > 3 else Failpoint()
    failpoint.stand()
    # What it prints is no answer of ours.
    command = subprocess.Popen(sys.argv[-1], shell=True, stdout=sys.stderr)
    if failpoint.method is None:
        command.wait()
    else:
        ended = lambda: (command.wait(), failpoint.done.wait(PATIENCE), failpoint.done.set())
        threading.Thread(target=ended, daemon=True).start()
        failpoint.done.wait()
        if not failpoint.struck:
            failpoint.failure = f"{failpoint.method} was never called, only {failpoint.calls}"
    failpoint.step_aside()
    if failpoint.failure:
        sys.exit(failpoint.failure)
    said("READY=1")
    failpoint.join()
    if failpoint.method is None:
        print(json.dumps(failpoint.calls))


main()
