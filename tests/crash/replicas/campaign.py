"""Campaign: three daemons on one database, a stream of alerts to any of them, and the faults of one seed.

In the end everything heals, all alerts are over, a person takes back what was left to people, and the auditor asks for a world as
it was at first.
"""

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from statistics import median
from typing import Any, Self
from urllib.parse import quote

import aiohttp
from aiohttp import web
from tests.crash.auditor import Violation
from tests.crash.book import PostgresBook
from tests.crash.incarnation import Zygote
from tests.crash.replicas import auditor
from tests.crash.replicas.auditor import DOUBLED, LOST, Deed, Evidence
from tests.crash.replicas.fault import Fault, draw
from tests.crash.replicas.launcher import LOG
from tests.crash.replicas.replica import Replica
from tests.crash.replicas.rules import ALERTS, ENV, FILES, write_rules
from tests.crash.replicas.stream import Stream
from tests.crash.replicas.strike import Strike
from tests.crash.replicas.watch import Watch
from tests.crash.replicas.wire import Wire
from tests.prometheus_server import free_port
from tests.servers import PASSWORD, Postgres

REPLICAS = 3
HOUSES = 3
TTL = 1.5  # seconds
READY_SECONDS = 30.0
QUIET_SECONDS = 60.0
END_SECONDS = 40.0
CONTROL = "word"


@dataclass
class Figures:
    """What a campaign counts."""

    faults: Counter[str] = field(default_factory=Counter)
    missed: int = 0
    alerts: int = 0  # turns and repeats that were acknowledged
    attempts: int = 0
    acknowledged: int = 0
    doubts: int = 0
    effects: int = 0
    lines: int = 0
    orders: int = 0
    late: int = 0  # turns that came from attempts without an answer
    fenced: int = 0  # daemons that their own deadline ended
    outcomes: Counter[str] = field(default_factory=Counter)
    takeovers: list[float] = field(default_factory=list)
    seconds: float = 0.0
    violations: list[Violation] = field(default_factory=list)

    def add(self, other: Self) -> None:
        """Take another campaign's figures."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    @property
    def lost(self) -> int:
        """Return how many acknowledged alerts are not where they should be."""
        return auditor.count(self.violations, LOST)

    @property
    def doubled(self) -> int:
        """Return how many effects happened twice, or by somebody who did not lead."""
        return auditor.count(self.violations, DOUBLED)

    def __str__(self) -> str:
        took = self.takeovers or [0.0]
        return (
            f"faults {self.faults.total()}  alerts acknowledged {self.alerts} in {self.acknowledged} notifications "
            f"({self.attempts} attempts)  incidents {self.outcomes.total()}  lines {self.lines}  effects {self.effects}  "
            f"takeovers {len(self.takeovers)} (median {median(took):.1f} s, worst {max(took):.1f} s)  "
            f"fenced {self.fenced}  orders {self.orders}  lost {self.lost}  doubled {self.doubled}  "
            f"violations {len(self.violations)}  seconds {self.seconds:.0f}"
        )


class Campaign:
    """One campaign; `run` returns its figures."""

    def __init__(self, seed: int, zygote: Zygote, server: Postgres, folder: Path) -> None:
        self.figures = Figures()
        self._seed = seed
        self._zygote = zygote
        self._server = server
        self._folder = folder
        self._log = folder / "effects.log"
        self._log.touch()
        self._watch = Watch(server.database(), TTL)
        self._replicas: list[Replica] = []

    async def run(self, faults: int) -> Figures:
        """Bring so many faults about, then let everything heal."""
        began = time.monotonic()
        async with AsyncExitStack() as stack:
            await self._prepare(stack)
            anyone = Random(self._seed + 2)
            names = [replica.url for replica in self._replicas]
            stream = Stream(Random(self._seed + 1), ALERTS, HOUSES, lambda: anyone.choice(names))
            sending = asyncio.create_task(stream.run())
            stack.push_async_callback(_cancelled, sending)
            strike = Strike(self._replicas, self._watch, self._server, self._folder)
            await self._suffer(strike, draw(self._seed, faults, REPLICAS, TTL))
            if await self._come_to_rest(strike, stream, sending):
                await self._end()
            self._judge(stream, strike)
        self.figures.seconds = time.monotonic() - began
        return self.figures

    # --- before ---

    async def _prepare(self, stack: AsyncExitStack) -> None:
        (self._folder / "files").mkdir()
        for name in FILES:
            for house in range(HOUSES):
                (self._folder / "files" / f"{name}-h{house}.env").write_text(ENV)
        rules = write_rules(self._folder, self._log, await _health(stack))
        for number in range(REPLICAS):
            wire = await stack.enter_async_context(Wire(lambda: self._server.port))
            self._replicas.append(self._replica(str(number), rules, wire))
        first, *others = self._replicas
        for replica in self._replicas:
            stack.push_async_callback(replica.destroy)
        first.begin()
        await _until(self._watch.there, READY_SECONDS, first.said)
        self._watch.install(first.name)
        listening = asyncio.create_task(self._watch.listen())
        stack.push_async_callback(_cancelled, listening)
        for replica in others:
            replica.begin()

    def _replica(self, name: str, rules: Path, wire: Wire) -> Replica:
        home, port = self._folder / name, free_port()
        home.mkdir()
        user = self._watch.admit(name)
        word = quote(PASSWORD, safe="")
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "STOPGAP_RULES": str(rules),
            "STOPGAP_DATA": str(home / "data"),
            "STOPGAP_LISTEN": f"127.0.0.1:{port}",
            "STOPGAP_PEER_URL": f"http://127.0.0.1:{port}",
            "STOPGAP_CONTROL_TOKEN": CONTROL,
            "STOPGAP_DATABASE_URL": f"postgresql://{user}:{word}@127.0.0.1:{wire.port}/{self._watch.base.name}",
            "STOPGAP_LEADER_TTL": f"{TTL * 1000:.0f}ms",
            "STOPGAP_LOG_FORMAT": "json",
            LOG: str(self._log),
        }
        return Replica(name, self._folder, environ, wire, port, self._zygote)

    # --- faults ---

    async def _suffer(self, strike: Strike, faults: Sequence[Fault]) -> None:
        """Bring the faults about; they overlap as it happens."""
        async with asyncio.TaskGroup() as under_way:
            for fault in faults:
                await asyncio.sleep(fault.after)
                with (self._folder / "faults.log").open("a") as log:
                    print(f"{time.time():.4f} {fault} (leads: {self._watch.leader})", file=log)
                under_way.create_task(strike.strike(fault))

    # --- the end ---

    async def _come_to_rest(self, strike: Strike, stream: Stream, sending: asyncio.Task[None]) -> bool:
        """Heal everything, let all alerts be over, and wait until nothing is left to do."""
        strike.heal()
        stream.stop()
        try:
            await asyncio.wait_for(sending, QUIET_SECONDS)
            await self._let_everything_arrive()
            await asyncio.wait_for(stream.resolve_all(), QUIET_SECONDS)
            await self._wait_for_the_end()
        except TimeoutError:
            said = "\n".join(replica.said() for replica in self._replicas)
            self._violate("rest", f"not within {QUIET_SECONDS:g} s: {self._watch.left_over()}\n{said}")
            return False
        return True

    async def _let_everything_arrive(self) -> None:
        """Wait for what was sent to somebody who slept, or waits for letters: it must not come after the last word."""
        async with asyncio.timeout(QUIET_SECONDS):
            quiet = 0.0
            while quiet < 2 * TTL:
                await asyncio.sleep(TTL / 4)
                quiet = 0.0 if self._watch.left_over()[1] else quiet + TTL / 4

    async def _wait_for_the_end(self) -> None:
        control = {"Authorization": f"Bearer {CONTROL}"}
        async with asyncio.timeout(QUIET_SECONDS), aiohttp.ClientSession(headers=control) as person:
            while any(self._watch.left_over()):
                await asyncio.sleep(0.2)
                for incident in self._watch.left_to_people():
                    await self._order(person, incident)

    async def _order(self, person: aiohttp.ClientSession, incident: str) -> None:
        """Take an incident back as a person would, at any replica."""
        url = f"{self._replicas[0].url}/api/v1/incidents/{incident}/revert"
        with suppress(aiohttp.ClientError):
            async with person.post(url, json={"by": "a person", "why": "all is over"}) as answer:
                self.figures.orders += answer.status < 300

    async def _end(self) -> None:
        for replica in self._replicas:
            if await replica.end(END_SECONDS) != 0:
                self._violate("end", f"SIGTERM did not end {replica.name} well: {replica.said()}")

    # --- judging ---

    def _judge(self, stream: Stream, strike: Strike) -> None:
        (self._folder / "stream.log").write_text("\n".join(stream.diary))
        evidence = self._evidence(stream)
        self.figures.violations += auditor.audit(evidence)
        for replica in self._replicas:
            self.figures.fenced += replica.fenced
            for text in replica.wrong:
                self._violate("end", text)
        self.figures.faults, self.figures.missed = strike.counted, strike.missed
        self.figures.attempts, self.figures.acknowledged = stream.attempts, stream.acknowledged
        self.figures.alerts = sum(len(said) for said in evidence.said.values())
        self.figures.doubts = stream.doubts.total()
        self.figures.effects = len(auditor.effects_of(evidence))
        self.figures.lines = len(evidence.book.pages)
        self.figures.outcomes = Counter(entry.outcome or "live" for entry in evidence.book.entries)
        self.figures.late = auditor.late(evidence)
        self.figures.takeovers = auditor.takeovers(evidence.reigns)

    def _evidence(self, stream: Stream) -> Evidence:
        base = self._watch.base
        with base.connect(base.name) as connection:
            book = PostgresBook(connection).copied()
        return Evidence(
            book=book,
            deeds=[Deed(**json.loads(line)) for line in self._log.read_text().splitlines()],
            undo={
                (row[0], row[1]): json.loads(row[2])
                for row in base.rows("SELECT incident, act, before FROM undo")
            },
            reigns=self._watch.reigns(),
            intents=self._watch.intents(),
            written=self._watch.written(),
            said=stream.told,
            doubts=stream.doubts,
            changed=self._changed(),
            left={f"file:{path.name}": path.read_text() for path in (self._folder / "files").iterdir()},
        )

    def _changed(self) -> list[str]:
        """Say what is not as at first."""
        found = ((path.name, path.read_bytes()) for path in sorted((self._folder / "files").iterdir()))
        return [f"{name} is {text!r}" for name, text in found if text != ENV.encode()]

    def _violate(self, promise: str, text: str) -> None:
        self.figures.violations.append(Violation(promise, text))


async def _health(stack: AsyncExitStack) -> str:
    """Serve what probes ask; returns its URL."""

    async def fine(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def bad(_: web.Request) -> web.Response:
        return web.Response(status=500)

    app = web.Application()
    app.router.add_get("/fine", fine)
    app.router.add_get("/bad", bad)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return f"http://127.0.0.1:{runner.addresses[0][1]}"


async def _cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _until(what: Any, within: float, why: Any) -> None:
    end = time.monotonic() + within
    while not what():
        if time.monotonic() > end:
            raise AssertionError(f"not within {within:g} s: {why()}")
        await asyncio.sleep(0.05)
