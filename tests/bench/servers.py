"""Servers: the processes that are measured, and what the kernel and their own metrics say about them."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
from tests.bench.bodies import TOKEN

START = 180.0  # seconds that a server may take until it is ready
SETTLED = 30.0  # seconds that a server may go on working after the last answer
QUIET = 0.3  # seconds without work after which it has settled
STOP = 40.0  # seconds that it may take to end
_TICK = os.sysconf("SC_CLK_TCK")
_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)


class NotMeasured(RuntimeError):  # noqa: N818 - it says what happened to the row
    """A server or the load did not do what it should, so there is nothing to compare."""


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on just now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def accepts(port: int) -> bool:
    """Tell whether somebody listens on a port of 127.0.0.1."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


class Server:
    """One process that listens on a port; `ready_after` is how long it took from its start until it was ready."""

    ready_path = "/-/ready"

    def __init__(
        self, command: Sequence[str], port: int, log: Path, more: Mapping[str, str] | None = None
    ) -> None:
        self.port = port
        self.log = log
        began = time.perf_counter()
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, env=environment() | dict(more or {})
            )
        self._await_ready(began + START)
        self.ready_after = time.perf_counter() - began

    def _await_ready(self, until: float) -> None:
        while time.perf_counter() < until:
            if self.process.poll() is not None:
                break
            try:
                self.get(self.ready_path)
            except OSError:  # not listening, or not ready yet
                time.sleep(0.01)
            else:
                return
        self.stop()
        raise NotMeasured(f"{self.process.args!r} is not ready:\n{self.said()}")

    def get(self, path: str) -> str:
        """Ask for a page. Raises OSError for anything but 200."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
            text: str = answer.read().decode()
            return text

    def stop(self) -> None:
        """End the process: asked first, then forced."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """End the process as `kill -9` does: it can put nothing in order."""
        self.process.kill()
        self.process.wait()

    def said(self) -> str:
        """Return the end of its log."""
        return self.log.read_text(errors="replace")[-2000:]

    # --- what it costs ---

    @property
    def cpu_seconds(self) -> float:
        """Return the processor time of all its threads so far (proc(5): utime and stime)."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICK

    @property
    def rss_mb(self) -> float:
        """Return its resident memory in megabytes (10^6 bytes)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) * 1024 / 1e6

    def settle(self, most: float = SETTLED) -> float:
        """Wait until it has nothing left to do (bounded), asking only the kernel; returns the seconds that it still worked."""
        began = busy_until = time.perf_counter()
        used = self.cpu_seconds
        while time.perf_counter() - began < most:
            time.sleep(0.05)
            now = self.cpu_seconds
            if now > used + 1 / _TICK:
                used, busy_until = now, time.perf_counter()
            elif time.perf_counter() - busy_until > QUIET:
                break
        return busy_until - began


class Daemon(Server):
    """A Stopgap that leads; on a shared database that may be later than `ready`: `leads_after` its start."""

    def __init__(
        self, command: Sequence[str], port: int, log: Path, more: Mapping[str, str] | None = None
    ) -> None:
        began = time.perf_counter()
        super().__init__(command, port, log, more)
        while self.metrics().get("stopgap_leader", 1.0) != 1.0:
            if time.perf_counter() - began > START:
                self.stop()
                raise NotMeasured(f"the daemon never led:\n{self.said()}")
            time.sleep(0.02)
        self.leads_after = time.perf_counter() - began

    def metrics(self) -> dict[str, float]:
        """Return its samples by name with labels."""
        found = _SAMPLE.findall(self.get("/metrics"))
        return {f"{name}{{{labels}}}" if labels else name: float(value) for name, labels, value in found}

    @property
    def live(self) -> int:
        """Return how many incidents are open."""
        return int(sum(n for name, n in self.metrics().items() if name.startswith("stopgap_incidents{")))


def load(task: str, port: int, **more: Any) -> dict[str, Any]:
    """Run one task in a load process of its own, and return what it measured."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.load"],
        input=orjson.dumps({"task": task, "port": port, **more}),
        capture_output=True,
        timeout=300,
        env=environment(),
        check=False,
    )
    if done.returncode:
        raise NotMeasured(f"the load failed ({task}): {done.stderr.decode(errors='replace')[-2000:]}")
    result: dict[str, Any] = orjson.loads(done.stdout)
    return result


def environment() -> dict[str, str]:
    """Return a clean environment: nothing of the caller's settings may change what is measured."""
    kept = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV")
    own = {"STOPGAP_WEBHOOK_TOKEN": TOKEN}
    return {name: os.environ[name] for name in kept if name in os.environ} | own
