"""World: a system, a real Prometheus with its pack's own alerts, a real Alertmanager, and a real daemon with the shipped rules."""

import asyncio
import json
import re
import shutil
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from tests import prometheus_server
from tests.e2e.packs.people import People
from tests.e2e.packs.system import System
from tests.e2e.street import Daemon, Told, call, comes, outline
from tests.prometheus_server import Server, alertmanager_config

from stopgap.demo.lab import shipped_rules

PACKS = {"agente-hotel", "hotel-assistant", "askproai", "bookgen", "oracle-chat"}
WITHIN = 45.0
NOWHERE = "http://127.0.0.1:9/"  # until there is a daemon
EVERY = "500ms"  # scrapes and evaluations
NARROW = "2s"  # of all ranges

QUICK = {
    "hold": "1s",
    "max_hold": "10m",
    "cooldown": "1s",
    "budget": "100/1h",
    "budget_global": "1000/1h",
    "settle": "200ms",
    "within": "8s",
    "every": "200ms",
    "recheck": "300ms",
    "scraped": "1200ms",
    "scraped_within": "5s",
    "windowed": "2800ms",
    "windowed_within": "6s",
    "backup_seen": "200ms",
    "quota": "500ms",
    "quota_within": "8s",
}
"""Times of a pack's vars, where it has them by these names."""


def quick(text: str) -> str:
    """Return a query with short ranges, and all else as it ships."""
    return re.sub(r"\[\d+[smhd]\]", f"[{NARROW}]", text)


def quick_alerts(text: str, system: System) -> str:
    """Return alerting rules that soon fire, and on until the probes have seen what helped: here an alert would end before."""
    waiting = re.sub(r"^(\s*)for:.*$", rf"\g<1>for: {system.pending}", text, flags=re.MULTILINE)
    lasting = rf"\g<0>\n\g<1>  keep_firing_for: {system.lasting}"
    return quick(re.sub(r"^(\s*)- alert:.*$", lasting, waiting, flags=re.MULTILINE))


@dataclass
class World:
    """All of it."""

    system: System
    people: People
    daemon: Daemon
    prometheus: Server
    alertmanager: Server

    async def incidents(self, rule: str) -> list[Told]:
        """Return the incidents of one rule of the pack with their timelines, oldest first."""
        rows = (await self.daemon.ask(f"/api/v1/incidents?rule={self.system.pack}/{rule}"))["incidents"]
        return [await self.daemon.ask(f"/api/v1/incidents/{row['id']}") for row in reversed(rows)]

    async def reaches(
        self, rule: str, true: Callable[[Told], object], answers: Mapping[str, str], after: int = 0
    ) -> Told:
        """Wait until the incident that follows `after` others is so, giving the orders that it waits for; return it."""
        end, found = time.monotonic() + WITHIN, list[Told]()
        while True:
            found = (await self.incidents(rule))[after:]
            if found and true(found[0]):
                return found[0]
            assert time.monotonic() < end, await self.tell(found)
            for told in found[:1]:
                await self._answer(told, answers)
            await asyncio.sleep(0.2)

    async def is_quiet(self) -> None:
        """Wait until all incidents are over: what stops an app lets others see that it is away."""

        async def quiet() -> bool:
            rows = (await self.daemon.ask("/api/v1/incidents"))["incidents"]
            return all(row["phase"] == "closed" for row in rows)

        await comes("end of all incidents", quiet, self.daemon.tail)

    async def _answer(self, told: Told, answers: Mapping[str, str]) -> None:
        asked = _asked(told)
        if asked in answers:
            body = {"by": "ann", "why": "as the handbook says"}
            await self.daemon.ask(f"/api/v1/incidents/{told['id']}/{answers[asked]}", "POST", body)

    async def tell(self, found: list[Told]) -> str:
        """Say what is known, of what did not come."""
        firing = await call("GET", f"{self.alertmanager.url}/api/v2/alerts")
        names = [alert["labels"] for alert in firing]
        every = (await self.daemon.ask("/api/v1/incidents"))["incidents"]
        others = [f"{row['rule']}: {row['phase']} {row['reason'] or ''}" for row in every]
        return "\n".join([*map(outline, found), *others, f"alerts: {names}", self.daemon.tail()])

    def held(self, incident: str) -> list[tuple[object, ...]]:
        """Return the rows of what an incident holds, as the database has them."""
        (path,) = self.daemon.data.glob("*.db")
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            return list(database.execute("SELECT * FROM held WHERE incident = ?", (incident,)))


def _asked(told: Told) -> str:
    """Return what an incident asks of people now: `approval`, `manual`, or nothing."""
    if told["reason"] == "approval_pending":
        return "approval"
    steps = [line for line in told["timeline"] if line["event"].startswith(("step_", "manual_"))]
    return "manual" if steps and steps[-1]["event"] == "step_started" and steps[-1].get("by_hand") else ""


def load(path: Path) -> Any:
    """Read a YAML file."""
    return YAML(typ="safe", pure=True).load(path.read_text())


def vars_of(system: System) -> dict[str, str]:
    """Return the pack's vars for a system: its own, and all waits and ranges short. A var that the pack has not is a mistake."""
    declared = load(shipped_rules() / system.pack / "pack.yaml")["vars"]
    assert not (unknown := set(system.vars) - set(declared)), unknown
    ranges = {name: quick(text) for name, text in declared.items() if re.search(r"\[\d+[smhd]\]", str(text))}
    times = {name: text for name, text in QUICK.items() if name in declared}
    return {f"{system.pack}/{name}": text for name, text in (ranges | times | dict(system.vars)).items()}


def contacts_of(system: System, people: str) -> dict[str, str]:
    """Return the variables that the site and the pack name for their contacts, each leading to people."""
    files = (shipped_rules() / "site.yaml", shipped_rules() / system.pack / "pack.yaml")
    found = [contact for path in files for contact in (load(path).get("contacts") or {}).items()]
    return {contact["url_env"]: f"{people}/{name}" for name, contact in found}


@asynccontextmanager
async def world(system: System) -> AsyncIterator[World]:
    """Set all up below the system's folder, and take it down again."""
    others = () if system.beside else PACKS - {system.pack}
    shutil.copytree(shipped_rules(), system.home / "rules", ignore=shutil.ignore_patterns(*others))
    shipped = (shipped_rules() / system.pack / "alerts.yaml").read_text()
    (system.home / "alerts.yml").write_text(quick_alerts(shipped, system))
    people = People()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(people.listening())
        server = await stack.enter_async_context(
            prometheus_server.alertmanager(system.home, alertmanager_config(NOWHERE))
        )
        system.alertmanager = server.url
        seen = prometheus_server.prometheus_config(
            interval=EVERY,
            rules=[system.home / "alerts.yml"],
            alertmanagers=[server.address],
            scrape_configs=system.scrapes(),
        )
        prometheus = await stack.enter_async_context(prometheus_server.prometheus(system.home, seen))
        await stack.enter_async_context(system.running())
        daemon = _daemon(system, people, prometheus, server)
        await server.reload(alertmanager_config(f"{daemon.url}/webhook", group_wait="0s"))
        stack.push_async_callback(daemon.stop)
        await daemon.start()
        there = World(system, people, daemon, prometheus, server)
        await comes("scrape of all that is to be scraped", lambda: _scraped(there), within=20)
        yield there


def _daemon(system: System, people: People, prometheus: Server, alertmanager: Server) -> Daemon:
    variables = system.home / "vars.yaml"
    variables.write_text(json.dumps(vars_of(system)))
    environment = contacts_of(system, people.url) | system.environment
    return Daemon(
        system.home,
        [
            *("--prometheus", prometheus.url, "--alertmanager", alertmanager.url, "--receiver", "stopgap"),
            *("--poll-every", "1s", "--vars", str(variables)),
        ],
        environment | {"STOPGAP_RESEND_DELAY": "1s"},
    )


async def _scraped(there: World) -> bool:
    up = (await call("GET", f"{there.prometheus.url}/api/v1/query?query=up==1"))["data"]["result"]
    return len(up) == len(there.system.scrapes())


class Worlds:
    """One world at a time, which lasts as long as the cases of its pack follow each other."""

    def __init__(self, systems: Mapping[str, type[System]], home: Callable[[], Path]) -> None:
        self._systems, self._home = systems, home
        self._stack = AsyncExitStack()
        self._there: World | None = None

    async def of(self, pack: str) -> World:
        """Return the world of a pack, in place of that of another."""
        if self._there is None or self._there.system.pack != pack:
            await self.close()
            self._there = await self._stack.enter_async_context(world(self._systems[pack](self._home())))
        return self._there

    async def close(self) -> None:
        """Take down what there is."""
        self._there = None
        await self._stack.aclose()
