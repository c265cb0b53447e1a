"""A stand: the lab with a real daemon that looks after it, and what can be read of both from outside."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from stopgap.demo.daemon import Daemon
from stopgap.demo.lab import Lab, shipped_rules, until
from stopgap.demo.pager import Pager
from stopgap.demo.supervised import LabError

Told = dict[str, Any]


@dataclass
class Stand:
    """A lab, its daemon (rules in `daemon.rules`, a copy of those that ship), and the pager of its contacts."""

    lab: Lab
    daemon: Daemon
    pager: Pager

    async def comes(self, what: str, true: Callable[[], Awaitable[object]], within: float = 40) -> None:
        """Wait until something is true; the failure shows all timelines and the end of the log."""

        async def answer() -> bool:
            return bool(await true())

        if not await until(answer, within):
            timelines = [_outline(told) for told in await self.daemon.incidents()]
            raise AssertionError("\n".join([f"no {what} within {within} s", *timelines, self.daemon.tail()]))

    async def incidents(self, rule: str) -> list[Told]:
        """Return the incidents of one rule of the pack, oldest first."""
        return [told for told in await self.daemon.incidents() if told["rule"] == f"agente-hotel/{rule}"]

    async def fires(self, alert: str) -> bool:
        return alert in await self.lab.firing()

    async def settings(self) -> dict[str, str]:
        """Return the settings by which the hotel's process goes, once it answers: it may just have been started again."""
        found: list[dict[str, str]] = []

        async def answers() -> bool:
            with suppress(LabError):
                found.append((await self.lab.hotel_mode())["settings"])
            return bool(found)

        await self.comes("answer of the hotel", answers, 10)
        return found[0]

    # -- the daemon from outside --------------------------------------------------------------------------------------

    async def answer(
        self, method: str, path: str, *, token: str | None = None, body: object = None
    ) -> tuple[int, str]:
        """Ask the daemon with any token, or none; returns status and body."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, self.daemon.url + path, json=body, headers=headers) as answer,
        ):
            return answer.status, await answer.text()

    @property
    def token(self) -> str:
        return self.daemon.token_file.read_text().strip()

    async def metric(self, name: str, **labels: str) -> float:
        """Return one sample of `/metrics`. Raises KeyError when there is none."""
        return (await self.metrics())[name, frozenset(labels.items())]

    async def metrics(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        families = text_string_to_metric_families(await self.daemon.metrics())
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in families
            for sample in family.samples
        }

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `stopgap` as a person does who was given address and token."""
        ours = {"STOPGAP_URL": self.daemon.url, "STOPGAP_CONTROL_TOKEN_FILE": str(self.daemon.token_file)}
        return stopgap(*arguments, environment=ours)

    # -- what it leaves on disk ---------------------------------------------------------------------------------------

    def log(self) -> list[Told]:
        """Return the daemon's log; every line must be JSON."""
        return [json.loads(line) for line in self.daemon.log.read_text().splitlines()]

    def logged(self) -> Counter[tuple[str, int]]:
        """Return how many log lines there are for each line of a timeline."""
        lines = (line for line in self.log() if line.get("incident", "control") != "control")
        return Counter((line["incident"], line["seq"]) for line in lines)

    def held(self) -> list[tuple[object, ...]]:
        """Return the rows of what is held, as the database has them."""
        (path,) = self.daemon.data.glob("*.db")
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            return list(database.execute("SELECT * FROM held"))


def _outline(told: Told) -> str:
    lines = [f"  {line['at'][11:23]} {line['event']} {line.get('why', '')}" for line in told["timeline"]]
    return "\n".join([f"{told['id']} {told['rule']}: {told['phase']} {told['reason'] or ''}", *lines])


@asynccontextmanager
async def standing(directory: Path) -> AsyncIterator[Stand]:
    """Set everything up in a directory; take it down again."""
    rules = directory / "rules"
    shutil.copytree(shipped_rules(), rules)
    pager = Pager()
    async with pager.listening(), Lab(directory / "lab", monitoring=True) as lab:
        daemon = Daemon(lab, directory / "data", rules=rules, environment=pager.environment())
        try:
            await daemon.start()
            yield Stand(lab, daemon, pager)
        finally:
            assert await daemon.stop() in {0, None}, daemon.tail()


def stopgap(
    *arguments: str, environment: dict[str, str] | None = None, within: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run the command line as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "stopgap", *arguments],
        env=os.environ | (environment or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=within,
        check=False,
    )
