"""Shop: the surroundings of a daemon that is killed: an env file, a process that is kicked by a command, and a health server.

The command records every effect outside the daemon, with the idempotency key that it was given. It can be told to kill the daemon
after its effect and before its answer, which no line of the timeline can do.
"""

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Self

import aiohttp
from aiohttp import web
from tests.crash.incarnation import Incarnation, Zygote
from tests.crash.knife import Knife
from tests.prometheus_server import free_port

KICK = """
import os, pathlib, signal, sys
folder = pathlib.Path(sys.argv[1])
log, knife = folder / "effects.log", folder / "knife"
if sys.argv[2] == "count":
    print(len(log.read_text().splitlines()) if log.exists() else 0)
    sys.exit()
mode = dict(line.split("=", 1) for line in (folder / "app.env").read_text().splitlines() if "=" in line)["MODE"]
with log.open("a") as out:
    out.write(os.environ["STOPGAP_IDEMPOTENCY_KEY"] + " " + mode + "\\n")
    out.flush()
    os.fsync(out.fileno())
if knife.exists() and knife.read_text() in os.environ["STOPGAP_IDEMPOTENCY_KEY"]:
    knife.unlink()
    os.kill(os.getppid(), signal.SIGKILL)
"""

RULES = """
rules:
  - name: mock
    match: alertname="Down"
    target: shop
    do:
      - flag: {{at: "env://{folder}/app.env", set: {{MODE: mock, EXTRA: "1"}}}}
    activate:
      - exec:
          argv: ["{python}", "-I", "-S", "{folder}/kick.py", "{folder}", "kick"]
          observe: ["{python}", "-I", "-S", "{folder}/kick.py", "{folder}", "count"]
    verify:
      - {{http: {{url: "{url}/ready"}}, every: 100ms}}
    recovered:
      - {{http: {{url: "{url}/cause"}}, every: 100ms}}
    hold: 300ms
    guard: {{cooldown: 1s}}
"""

ENV = "# kept\nMODE=normal\n\nOTHER='x'\n"


class Shop:
    """Starts and kills daemons on one data directory."""

    def __init__(self, folder: Path, zygote: Zygote) -> None:
        self.folder = folder
        self._zygote = zygote
        self.env = folder / "app.env"
        self.kills = 0
        self._daemon: Incarnation | None = None

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/ready", self._ok)
        app.router.add_get("/cause", self._ok)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        (self.folder / "rules").mkdir()
        self.env.write_text(ENV)
        (self.folder / "kick.py").write_text(KICK)
        rules = RULES.format(folder=self.folder, python=sys.executable, url=url)
        (self.folder / "rules" / "shop.yaml").write_text(rules)
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5))
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._daemon is not None and not self._daemon.ended.is_set():
            await self._daemon.end(signal.SIGTERM)
        await self._session.close()
        await self._runner.cleanup()
        await asyncio.sleep(0.05)  # closed connections say goodbye in the next turns of the loop

    async def _ok(self, _: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def start(self, lines: int = 0) -> None:
        """Start a daemon that dies after so many lines; returns when it answers or has died."""
        if self._daemon is not None and not self._daemon.ended.is_set():
            raise AssertionError("one daemon is alive")
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        environ = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        environ |= {
            "STOPGAP_RULES": str(self.folder / "rules"),
            "STOPGAP_DATA": str(self.folder / "data"),
            "STOPGAP_LISTEN": f"127.0.0.1:{port}",
            "STOPGAP_CONTROL_TOKEN": "word",
            "CRASH_PASSED": str(self.folder / "passed"),
        }
        knife = Knife("line", lines) if lines else Knife()
        self._daemon = await self._zygote.birth(environ, self.folder / "daemon.log", knife)
        if not await self._daemon.up():
            self._died()

    def _died(self) -> None:
        if self._daemon is not None and not self._daemon.killed:
            raise AssertionError((self.folder / "daemon.log").read_text()[-3000:])
        self.kills += 1

    async def post(self, status: str) -> bool:
        """Send one notification until it is acknowledged; False when the daemon died over it."""
        alert = {
            "status": status,
            "labels": {"alertname": "Down"},
            "annotations": {},
            "startsAt": "2026-11-21T09:00:00Z",
            "endsAt": "0001-01-01T00:00:00Z" if status == "firing" else "2026-11-21T09:01:00Z",
        }
        body = {"version": "4", "receiver": "stopgap", "groupKey": "{}", "status": status, "alerts": [alert]}
        try:
            async with self._session.post(f"{self.url}/webhook", json=body) as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    async def deliver(self, status: str) -> None:
        """Send until acknowledged, as Alertmanager does, starting the daemon again when it is dead."""
        for _ in range(20):
            if await self.post(status):
                return
            await self.revive()
        raise AssertionError("never acknowledged")

    async def reload(self) -> None:
        """Let the daemon read its rules anew."""
        assert self._daemon is not None
        log = self.folder / "daemon.log"
        done = log.read_text().count('"event":"reloaded"')
        self._daemon.send(signal.SIGHUP)
        async with asyncio.timeout(20):
            while log.read_text().count('"event":"reloaded"') == done:
                await asyncio.sleep(0.02)

    async def stop(self) -> set[str]:
        """Stop it as an operator does; returns the points that it passed."""
        assert self._daemon is not None
        await self._daemon.end(signal.SIGTERM)
        assert self._daemon.code == 0
        return set(json.loads((self.folder / "passed").read_text()))

    async def revive(self) -> None:
        """Start a daemon if the last one was killed."""
        if self._daemon is not None and await self._daemon.over(0.2):
            self._died()
            await self.start()

    async def until_phase(self, *phases: str, within: float = 20.0) -> str:
        """Wait until the newest incident is in one of the phases, reviving the daemon."""
        end = asyncio.get_running_loop().time() + within
        found: list[dict[str, Any]] = []
        while asyncio.get_running_loop().time() < end:
            try:
                found = await self.incidents()
                if found and found[0]["phase"] in phases:
                    return str(found[0]["phase"])
            except aiohttp.ClientError:
                await self.revive()
            await asyncio.sleep(0.05)
        log = (self.folder / "daemon.log").read_text()[-6000:]
        raise AssertionError(f"{found} never came to {phases}\n{log}")

    async def incidents(self) -> list[dict[str, Any]]:
        headers = {"Authorization": "Bearer word"}
        async with self._session.get(f"{self.url}/api/v1/incidents", headers=headers) as answer:
            return list((await answer.json())["incidents"])

    async def timeline(self, identifier: str) -> list[dict[str, Any]]:
        headers = {"Authorization": "Bearer word"}
        async with self._session.get(f"{self.url}/api/v1/incidents/{identifier}", headers=headers) as answer:
            return list((await answer.json())["timeline"])

    def effects(self) -> list[tuple[str, str]]:
        """Return (key without the incident's id, mode that the process started with) of every kick."""
        log = self.folder / "effects.log"
        lines = log.read_text().splitlines() if log.exists() else []
        return [(line.split()[0].partition("/")[2], line.split()[1]) for line in lines]

    def check(self) -> None:
        """Assert what must hold at the end, seen from outside."""
        effects = self.effects()
        counts = Counter(key for key, _ in effects)
        assert all(count == 1 for count in counts.values()), effects
        assert self.env.read_text() == ENV
        assert [mode for _, mode in effects] in ([], ["mock", "normal"]), effects
