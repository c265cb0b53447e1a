"""Daemon: the real one as a process of its own, watched from outside: its API, metrics, log, memory and descriptors."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families
from tests.prometheus_server import free_port

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 30.0
MEGABYTE = 1024 * 1024
INHERITED = ("PATH", "HOME", "PYTHONPATH", "COVERAGE_PROCESS_CONFIG")


class Daemon:
    """One process. `shake` sets its wall clock (`wall`) or slows its commits (`fsync`), in seconds."""

    def __init__(self, folder: Path, environ: dict[str, str], before: Callable[[], object] | None) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._environ = environ
        self._before = before
        self.process: subprocess.Popen[bytes] | None = None
        timeout = aiohttp.ClientTimeout(total=20)
        self.http = aiohttp.ClientSession(self.url, timeout=timeout, headers={"Authorization": "Bearer word"})

    # --- its life ---

    async def start(self) -> None:
        """Start it, and return when it answers."""
        environ = {name: os.environ[name] for name in INHERITED if name in os.environ}
        environ |= {
            "STOPGAP_RULES": str(self.folder / "rules"),
            "STOPGAP_DATA": str(self.folder / "data"),
            "STOPGAP_LISTEN": f"127.0.0.1:{self.port}",
            "STOPGAP_CONTROL_TOKEN": "word",
            "STOPGAP_LOG_FORMAT": "json",
            **self._environ,
        }
        with (self.folder / "daemon.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.launcher", str(self.folder)],
                env=environ,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=self._before,  # noqa: PLW1509 - no thread of ours is running
            )
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self.process.poll() is None:
            try:
                async with self.http.get("/-/healthy") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.05)
        raise AssertionError(self.log()[-4000:])

    async def end(self) -> None:
        """Stop it, and the session with it."""
        await self.http.close()
        await self.stop()

    async def stop(self) -> None:
        """End the process in peace."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                await asyncio.to_thread(self.process.wait, 20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError(f"did not end:\n{self.log()[-4000:]}") from None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @contextmanager
    def standing(self) -> Iterator[None]:
        """Let it stand still (SIGSTOP) within the block."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    def shake(self, what: str, seconds: float) -> None:
        fresh = self.folder / f"{what}.new"
        fresh.write_text(str(seconds))
        fresh.replace(self.folder / what)

    # --- what it takes ---

    @property
    def rss(self) -> float:
        """Return its memory in MB."""
        return self._memory("VmRSS:")

    @property
    def peak(self) -> float:
        """Return the most memory that it had, in MB."""
        return self._memory("VmHWM:")

    def _memory(self, word: str) -> float:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(word):
                return int(line.split()[1]) / 1024
        raise AssertionError("it is gone")

    @property
    def descriptors(self) -> int:
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    # --- what it says ---

    def log(self) -> str:
        return (self.folder / "daemon.log").read_text(errors="replace")

    def logged(self, event: str) -> list[dict[str, Any]]:
        """Return the lines of the log with this event."""
        lines = [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("event") == event]

    async def get(self, path: str) -> Any:
        async with self.http.get(path) as answer:
            assert answer.status == 200, (answer.status, await answer.text())
            return await answer.json()

    async def incidents(self) -> list[dict[str, Any]]:
        return list((await self.get("/api/v1/incidents?limit=1000"))["incidents"])

    async def timeline(self, identifier: str) -> list[dict[str, Any]]:
        return list((await self.get(f"/api/v1/incidents/{identifier}"))["timeline"])

    async def order(self, identifier: str, word: str, **given: Any) -> None:
        async with self.http.post(f"/api/v1/incidents/{identifier}/{word}", json=given) as answer:
            assert answer.status == 200, await answer.text()

    async def metric(self, name: str, **labels: str) -> float:
        """Return a sample's value, the sum of all that bear these labels."""
        async with self.http.get("/metrics") as answer:
            families = text_string_to_metric_families(await answer.text())
        samples = [one for family in families for one in family.samples if one.name == f"stopgap_{name}"]
        return sum(one.value for one in samples if labels.items() <= one.labels.items())

    # --- what it is sent ---

    async def post(self, *alerts: dict[str, Any]) -> int:
        """Send one notification; return the status, 0 when there was no answer."""
        body = {"version": "4", "receiver": "stopgap", "groupKey": "{}", "alerts": list(alerts)}
        try:
            async with self.http.post("/webhook", json=body) as answer:
                return answer.status
        except (aiohttp.ClientError, TimeoutError):
            return 0


def alert(name: str, status: str = "firing", minutes: int = 0, **labels: str) -> dict[str, Any]:
    """Return an alert as Alertmanager sends it; it began so many minutes from now."""
    began_at = datetime.now(UTC) + timedelta(minutes=minutes)
    return {
        "status": status,
        "labels": {"alertname": name, **labels},
        "annotations": {},
        "startsAt": began_at.replace(second=0, microsecond=0).isoformat(),
        "endsAt": "0001-01-01T00:00:00Z" if status == "firing" else began_at.isoformat(),
    }


@asynccontextmanager
async def running(
    folder: Path, rules: str, before: Callable[[], object] | None = None, **settings: str
) -> AsyncIterator[Daemon]:
    """Run a daemon on a folder, `before` called in the process before it begins."""
    (folder / "rules").mkdir(exist_ok=True)
    (folder / "rules" / "shop.yaml").write_text(rules)
    daemon = Daemon(folder, {f"STOPGAP_{name.upper()}": text for name, text in settings.items()}, before)
    try:
        await daemon.start()
        yield daemon
    finally:
        await daemon.end()


async def until(true: Callable[[], Any], within: float = 15.0) -> Any:
    """Wait until something (or what it awaits) is true, and return it."""
    end = time.monotonic() + within
    while True:
        found = true()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        assert time.monotonic() < end, "never came true"
        await asyncio.sleep(0.05)
