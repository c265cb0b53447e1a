"""Zygote: a process that has imported everything, and forks a daemon whenever it is asked for one.

A start of Python costs more than a second, a fork a few milliseconds. It forks before it has any thread or event loop, and each
daemon is a process in a session of its own, with its own log; SIGKILL takes its memory as it takes anybody's.

Run as `python -m tests.crash.zygote SOCKET`; it ends when its stdin is closed. A connection to the socket is one daemon's life: it
takes one line of JSON (`environ`, `log`, `knife`), and answers with lines: `{"born": PID}`, `{"started": PID}` when the daemon
listens, and `{"ended": STATUS}` when it, and all commands that it left behind, are gone.
"""

import ctypes
import gc
import json
import os
import select
import signal
import socket
import sys
import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

BECOME_SUBREAPER, DIE_WITH_PARENT = 36, 1  # of prctl(2)
ORPHANS_SECONDS = 5.0  # that commands are given to end when nobody kills them
LONGEST_REQUEST = 64 * 1024


class Nest:
    """The connections, and whose daemon lives."""

    def __init__(self, listener: socket.socket) -> None:
        self.listener = listener
        self.lives: dict[int, socket.socket] = {}  # daemons by pid
        self.orphans_live: dict[int, bool] = {}

    def serve(self) -> None:
        """Fork and bury until stdin is closed."""
        wake, woken = os.pipe()
        os.set_blocking(woken, False)
        os.set_blocking(wake, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(woken)
        while True:
            ready, _, _ = select.select(
                [self.listener, wake, sys.stdin.fileno(), *self.lives.values()], [], []
            )
            if sys.stdin.fileno() in ready:
                return
            if wake in ready:
                os.read(wake, 4096)
                self.bury()
            for pid, connection in list(self.lives.items()):
                if connection in ready and not connection.recv(1):  # nobody waits for it any more
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            if self.listener in ready:
                self.accept()

    def accept(self) -> None:
        """Take one request, and fork."""
        connection, _ = self.listener.accept()
        body = b""
        while not body.endswith(b"\n") and len(body) < LONGEST_REQUEST:
            piece = connection.recv(LONGEST_REQUEST)
            if not piece:
                connection.close()
                return
            body += piece
        request = json.loads(body)
        pid = os.fork()
        if pid == 0:
            self.live(connection, request)
        self.lives[pid] = connection
        self.orphans_live[pid] = bool(request.get("orphans_live"))
        say(connection, born=pid)

    def live(self, connection: socket.socket, request: dict[str, Any]) -> NoReturn:
        """Be a daemon."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        self.listener.close()
        for other in self.lives.values():
            other.close()
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        os.environ.clear()
        os.environ.update(request["environ"])
        code = 70
        try:
            launch = import_module(request.get("launcher", "tests.crash.launcher")).launch
            code = launch(request.get("knife"), lambda: say(connection, started=os.getpid()))
        except BaseException:  # noqa: BLE001 - border: fork. Nothing of a child may run on in the zygote's place
            import traceback

            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def bury(self) -> None:
        """Say who ended, after what it left behind has ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            connection = self.lives.pop(pid, None)
            if connection is None:
                continue
            self.clear_away(wait=self.orphans_live.pop(pid))
            with suppress(OSError):
                say(connection, ended=os.waitstatus_to_exitcode(status))
            connection.close()

    def clear_away(self, *, wait: bool) -> None:
        """End the commands of a dead daemon, as systemd and containers do, or let them finish."""
        until = time.monotonic() + (ORPHANS_SECONDS if wait else 0.0)
        while orphans := children() - self.lives.keys():
            for pid in orphans:
                if time.monotonic() >= until:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                with suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
            time.sleep(0.001)


def children() -> set[int]:
    """Return the pids of this process's children."""
    found = set()
    own = str(os.getpid())
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError):  # gone meanwhile
            if (entry / "stat").read_text().rpartition(")")[2].split()[1] == own:
                found.add(int(entry.name))
    return found


def say(connection: socket.socket, **words: int) -> None:
    """Send one line; short enough to be sent whole."""
    connection.sendall(json.dumps(words).encode() + b"\n")


def main() -> int:
    """Import, freeze, listen."""
    import sqlalchemy.dialects.sqlite.pysqlite
    import tests.crash.launcher  # noqa: F401 - all of these: so that no daemon needs to

    with suppress(ImportError):
        import sqlalchemy.dialects.postgresql.psycopg  # noqa: F401 - the same

    prctl = ctypes.CDLL(None).prctl
    prctl(BECOME_SUBREAPER, 1, 0, 0, 0)
    prctl(DIE_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(sys.argv[1])
    listener.listen(64)
    gc.collect()
    gc.freeze()
    print("ready", flush=True)
    nest = Nest(listener)
    try:
        nest.serve()
    finally:
        for pid in nest.lives:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    return 0


if __name__ == "__main__":
    sys.exit(main())
