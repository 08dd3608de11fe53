# Runs commands for whoever is connected to a port of this machine: one command at a time on each port, ended with the connection.
#
# Both sides write lines of three words: the command's number, a kind, base64. A line that is cut off spoils nothing but itself.
#   in:  C a command: terminal size or nothing, TERM, and its arguments, each ended by a zero byte; I input, and its end if empty
#   out: O output, E what it complains about, X its exit code
import base64, errno, fcntl, glob, os, select, signal, struct

WORDS = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"}

# The module termios, which has these, is no part of the smallest Python.
TIOCSCTTY, TIOCSWINSZ = 0x540E, 0x5414


class Gone(Exception):
    """Nobody is connected any more."""


class Command:
    def __init__(self, number, words):
        self.number, size, arguments = number, words[0], words[2:]
        self.input, self.ended = b"", False
        if size:
            main, terminal = os.openpty()
            fcntl.ioctl(terminal, TIOCSWINSZ, struct.pack("HHHH", *map(int, size.split(b"x")), 0, 0))
            theirs, self.stdin, self.outputs = [terminal] * 3, main, {main: "O"}
        else:
            (stdin, self.stdin), (out, stdout), (error, stderr) = os.pipe(), os.pipe(), os.pipe()
            theirs, self.outputs = [stdin, stdout, stderr], {out: "O", error: "E"}
        self.pid = os.fork()
        if self.pid == 0:
            self.become(theirs, bool(size), words[1], arguments)
        for descriptor in set(theirs):
            os.close(descriptor)
        for descriptor in {self.stdin, *self.outputs}:
            os.set_blocking(descriptor, False)
        self.watch = os.pidfd_open(self.pid)

    @staticmethod
    def become(streams, controlling, term, arguments):
        try:
            for to, descriptor in enumerate(streams):
                os.dup2(descriptor, to)
            os.setsid()
            if controlling:
                fcntl.ioctl(0, TIOCSCTTY, 0)
            signal.pthread_sigmask(signal.SIG_SETMASK, [])
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            # Who kills the greediest process has to find the command and not us.
            with open("/proc/self/oom_score_adj", "w") as adjustment:
                adjustment.write("0")
            os.execvpe(arguments[0], arguments, {**WORDS, "TERM": term})
        except OSError as failed:
            os.write(2, f"{arguments[0].decode(errors='replace')}: {failed.strerror}\n".encode())
        os._exit(127)

    def feed(self):
        """Writes as much of the input as there is room for, and closes it after the last."""
        try:
            while self.input:
                self.input = self.input[os.write(self.stdin, self.input) :]
        except BlockingIOError:
            return
        except OSError:
            self.input = b""
        if self.ended and self.stdin not in self.outputs:
            os.close(self.stdin)
            self.stdin = None

    def waits_for_room(self):
        return self.stdin is not None and bool(self.input)

    def close(self, kill):
        if kill:
            os.killpg(self.pid, signal.SIGKILL)
            os.waitid(os.P_PID, self.pid, os.WEXITED)
        for descriptor in {self.stdin, self.watch, *self.outputs} - {None}:
            os.close(descriptor)


class Port:
    def __init__(self, path):
        self.port, self.buffer, self.command = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC), b"", None
        # A signal is the only word that somebody has connected.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGIO])
        fcntl.fcntl(self.port, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(self.port, fcntl.F_SETFL, os.O_NONBLOCK | os.O_ASYNC)

    def serve(self):
        while True:
            try:
                self.turn()
            except Gone:
                if self.command:
                    self.command.close(kill=True)
                    self.command = None
                signal.sigwait([signal.SIGIO])

    def turn(self):
        poll, command = select.poll(), self.command
        poll.register(self.port, select.POLLIN)
        if command:
            for descriptor in [command.watch, *command.outputs]:
                poll.register(descriptor, select.POLLIN)
            if command.waits_for_room():
                both = select.POLLIN if command.stdin in command.outputs else 0
                poll.register(command.stdin, select.POLLOUT | both)
        events = dict(poll.poll())
        if events.get(self.port, 0) & select.POLLHUP:
            raise Gone
        if self.port in events:
            self.read()
            return
        if events.get(command.stdin, 0) & (select.POLLOUT | select.POLLERR):
            command.feed()
        for descriptor in [one for one in command.outputs if one in events]:
            self.drain(descriptor, once=True)
        if command.watch in events:
            self.end()

    def read(self):
        try:
            new = os.read(self.port, 1 << 16)
        except BlockingIOError:
            return
        *lines, self.buffer = (self.buffer + new).split(b"\n")
        for line in lines:
            try:
                number, kind, text = line.split(b" ")
                self.take(int(number), kind, base64.b64decode(text, validate=True))
            except ValueError:
                pass

    def take(self, number, kind, content):
        if kind == b"C":
            if self.command:
                self.command.close(kill=True)
            self.command = Command(number, content.split(b"\0")[:-1])
        elif self.command and self.command.number == number and self.command.stdin is not None:
            self.command.input += content
            self.command.ended |= not content
            self.command.feed()

    def drain(self, descriptor, once):
        """Passes on what is there to be read, until the descriptor has no more for now."""
        while True:
            try:
                content = os.read(descriptor, 48 << 10)
            except BlockingIOError:
                return
            except OSError as failed:
                # A terminal whose last user is gone.
                if failed.errno != errno.EIO:
                    raise
                content = b""
            if not content:
                # The last of a terminal is known by the command's end, and its input is the same descriptor.
                if descriptor != self.command.stdin:
                    os.close(descriptor)
                    del self.command.outputs[descriptor]
                elif not once:
                    return
                else:
                    self.end()
                return
            self.send(self.command.outputs[descriptor], content)
            if once:
                return

    def end(self):
        """Says the exit code. What the command has left in the background keeps nobody waiting, whatever it holds open."""
        command = self.command
        ended = os.waitid(os.P_PID, command.pid, os.WEXITED)
        for descriptor in list(command.outputs):
            self.drain(descriptor, once=False)
        code = ended.si_status + (0 if ended.si_code == os.CLD_EXITED else 128)
        self.send("X", str(code).encode())
        command.close(kill=False)
        self.command = None

    def send(self, kind, content):
        line = f"{self.command.number} {kind} ".encode() + base64.b64encode(content) + b"\n"
        while line:
            try:
                line = line[os.write(self.port, line) :]
            except BlockingIOError:
                poll = select.poll()
                poll.register(self.port, select.POLLOUT)
                if poll.poll()[0][1] & select.POLLHUP:
                    raise Gone from None
            except OSError:
                raise Gone from None


def main():
    # A boot is complete when its last job is, also when not all has come up well.
    os.waitid(os.P_PID, os.spawnvp(os.P_NOWAIT, "systemctl", ["systemctl", "is-system-running", "--wait"]), os.WEXITED)
    children = []
    for path in glob.glob("/dev/virtio-ports/agent.*"):
        child = os.fork()
        if child == 0:
            Port(path).serve()
        children.append(child)
    os.waitid(os.P_ALL, 0, os.WEXITED)


main()
