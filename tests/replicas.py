"""Replicas: real daemons that share one PostgreSQL, each a process of its own.

```python
async with Replicas(tmp_path, base.url, rules) as replicas:
    one, two = await replicas.start("one"), await replicas.start("two")
    leader = await replicas.leader()
    await two.deliver("firing", alertname="Down")
```
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import aiohttp
from tests.prometheus_server import free_port

TOKEN = "word"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}
READY = 30.0  # seconds


@dataclass
class Replica:
    """One daemon. `url` stays the same when it is started again."""

    name: str
    folder: Path
    port: int
    environ: Mapping[str, str]
    session: aiohttp.ClientSession
    process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.returncode is None

    async def start(self) -> None:
        """Start it, and return when it answers."""
        with (self.folder / f"{self.name}.log").open("ab") as log:
            command = (sys.executable, "-m", "stopgap", "serve")
            self.process = await asyncio.create_subprocess_exec(
                *command, env=self.environ, stdout=log, stderr=log
            )
        await until(self._answers, READY, self.said)

    async def _answers(self) -> bool:
        assert self.alive, self.said()
        try:
            async with self.session.get(f"{self.url}/-/healthy") as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    def said(self) -> str:
        return (self.folder / f"{self.name}.log").read_text()[-4000:]

    def send(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    async def end(self, number: int = signal.SIGTERM) -> int:
        """End it by a signal; returns its exit code."""
        assert self.process is not None
        if self.alive:
            self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), 30)

    async def get(self, path: str) -> tuple[int, Any]:
        async with self.session.get(self.url + path, headers=HEADERS) as answer:
            return answer.status, await answer.json(content_type=None)

    async def order(self, path: str, **body: Any) -> tuple[int, Any]:
        async with self.session.post(self.url + path, json=body, headers=HEADERS) as answer:
            return answer.status, await answer.json(content_type=None)

    async def leads(self) -> bool:
        """Tell whether it says in its metrics that it leads."""
        try:
            async with self.session.get(f"{self.url}/metrics") as answer:
                return "\nstopgap_leader 1.0" in await answer.text()
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def post(self, status: str, **labels: str) -> int:
        """Send one notification; returns the status of the answer, 0 when there was none."""
        alert = {
            "status": status,
            "labels": labels,
            "annotations": {},
            "startsAt": "2026-11-21T09:00:00Z",
            "endsAt": "0001-01-01T00:00:00Z" if status == "firing" else "2026-11-21T09:01:00Z",
        }
        body = {"version": "4", "receiver": "stopgap", "groupKey": "{}", "status": status, "alerts": [alert]}
        try:
            async with self.session.post(f"{self.url}/webhook", json=body) as answer:
                return answer.status
        except (aiohttp.ClientError, TimeoutError):
            return 0


class Replicas:
    """Starts daemons on one database, and ends what is left of them."""

    def __init__(self, folder: Path, database: str, rules: str, **environ: str) -> None:
        self.folder = folder
        self.all: dict[str, Replica] = {}
        self._database = database
        self._rules = rules
        self._environ = environ

    async def __aenter__(self) -> Self:
        (self.folder / "rules").mkdir(exist_ok=True)
        (self.folder / "rules" / "shop.yaml").write_text(self._rules)
        self.session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10))
        return self

    async def __aexit__(self, *_: object) -> None:
        for replica in self.all.values():
            if replica.alive:
                replica.send(signal.SIGCONT)
                await replica.end(signal.SIGKILL)
        await self.session.close()
        await asyncio.sleep(0.05)  # closed connections say goodbye in the next turns of the loop

    def make(self, name: str, **more: str) -> Replica:
        """Return a replica that is not started yet."""
        port = free_port()
        kept = ("PATH", "HOME", "PYTHONPATH")
        environ = {each: os.environ[each] for each in kept if each in os.environ}
        environ |= {
            "STOPGAP_RULES": str(self.folder / "rules"),
            "STOPGAP_DATA": str(self.folder / name),
            "STOPGAP_LISTEN": f"127.0.0.1:{port}",
            "STOPGAP_PEER_URL": f"http://127.0.0.1:{port}",
            "STOPGAP_CONTROL_TOKEN": TOKEN,
            "STOPGAP_DATABASE_URL": self._database,
            "STOPGAP_LEADER_TTL": "2s",
        }
        replica = Replica(name, self.folder, port, environ | self._environ | more, self.session)
        self.all[name] = replica
        return replica

    async def start(self, name: str, **more: str) -> Replica:
        """Start a replica."""
        replica = self.make(name, **more)
        await replica.start()
        return replica

    async def leader(self, within: float = 20.0) -> Replica:
        """Wait until one leads, and return it."""
        found: list[Replica] = []

        async def one_leads() -> bool:
            found[:] = [each for each in self.all.values() if each.alive and await each.leads()]
            return len(found) == 1

        await until(one_leads, within, lambda: "\n".join(each.said() for each in self.all.values()))
        return found[0]


async def until(what: Callable[[], Any], within: float, why: Callable[[], str] = str) -> None:
    """Ask until the answer is yes. Raises AssertionError, with why, when it is not in time."""
    end = asyncio.get_running_loop().time() + within
    while not await what():
        if asyncio.get_running_loop().time() > end:
            raise AssertionError(f"not within {within:g} s\n{why()}")
        await asyncio.sleep(0.05)
