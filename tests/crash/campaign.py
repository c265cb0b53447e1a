"""Campaign: one data directory, a stream of alerts, and daemons that are killed one after the other until so many are dead.

After each death the auditor reads what was left. In the end one daemon lives: all alerts are over, a person takes back what was
left to people, and the auditor asks for a world as it was at first. Everything is drawn by the seed.
"""

import asyncio
import os
import signal
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from random import Random
from typing import Self

import aiohttp
from tests.crash.aging import AGES, OLD, age
from tests.crash.auditor import Records, Violation, audit
from tests.crash.incarnation import Incarnation, Zygote
from tests.crash.keeping import Keeping
from tests.crash.knife import Deck, Knife
from tests.crash.outside import Outside
from tests.crash.rules import ALERTS, break_rules, write_rules
from tests.crash.stream import Stream
from tests.prometheus_server import free_port

from stopgap.store.migrations import HEAD

HOUSES = 3
PACE = 0.025  # seconds between two notifications
# that the end may take: more than any pause before something is tried again, but that of 30 s
QUIET_SECONDS = 25.0
FILES = ("mode", "ladder", "queue")
CONTROL = "word"
SIGNALLED = {"reload": signal.SIGHUP, "drain": signal.SIGTERM}


@dataclass
class Figures:
    """What a campaign counts."""

    kills: int = 0
    starts: int = 0
    sent: int = 0
    acknowledged: int = 0
    effects: int = 0
    lines: int = 0
    migrations: int = 0  # kills that a migration did not survive: it begins anew
    orders: int = 0  # of the person at the end
    seconds: float = 0.0
    points: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)

    def add(self, other: Self) -> None:
        """Take another campaign's figures."""
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))

    def __str__(self) -> str:
        return (
            f"kills {self.kills}  starts {self.starts}  alerts acknowledged {self.acknowledged}  "
            f"incidents {self.outcomes.total()}  lines {self.lines}  effects {self.effects}  "
            f"migrations {self.migrations}  orders {self.orders}  "
            f"violations {len(self.violations)}  seconds {self.seconds:.1f}"
        )


class Campaign:
    """One campaign; `run` returns its figures."""

    def __init__(self, seed: int, zygote: Zygote, folder: Path, keeping: Keeping) -> None:
        self.figures = Figures()
        self._chances = Random(seed)
        self._deck = Deck(self._chances)
        self._zygote = zygote
        self._folder = folder
        self._keeping = keeping
        self._outside = Outside(folder, keeping.book)
        self._stream = Stream(Random(seed + 1), ALERTS, HOUSES, PACE)
        self._url = f"http://127.0.0.1:{free_port()}"
        self._edition = 0
        self._old = ""

    async def run(self, kills: int) -> Figures:
        """Kill so many daemons, then let the last one finish."""
        began = time.monotonic()
        self._prepare()
        async with self._outside:
            self._write_rules()
            self._stream.url = lambda: self._url
            sending = asyncio.create_task(self._stream.run())
            try:
                while self.figures.kills < kills and not self.figures.violations:
                    await self._live_and_die()
                if not self.figures.violations:
                    await self._finish(sending)
            finally:
                sending.cancel()
                with suppress(asyncio.CancelledError):
                    await sending
        self._count(began)
        return self.figures

    def _prepare(self) -> None:
        self._old = self._chances.choice([*AGES])
        age(self._keeping.url, self._old)
        for name in FILES:
            for house in range(HOUSES):
                self._outside.file(f"{name}-h{house}")

    def _write_rules(self) -> None:
        self._edition = 1 + self._edition % 2
        write_rules(self._folder, self._outside.socket, self._outside.url, self._edition)

    # --- lives ---

    async def _birth(self, knife: Knife) -> Incarnation:
        environ = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        environ |= {
            "STOPGAP_RULES": str(self._folder / "rules"),
            "STOPGAP_DATA": str(self._folder / "data"),
            "STOPGAP_LISTEN": self._url.removeprefix("http://"),
            "STOPGAP_CONTROL_TOKEN": CONTROL,
            "STOPGAP_PROBATION": "0s",
            "CRASH_WITNESS": str(self._outside.socket),
            **self._keeping.environ,
        }
        self.figures.starts += 1
        daemon = await self._zygote.birth(environ, self._folder / "daemon.log", knife)
        self._outside.strike = daemon.send
        self._outside.born(self.figures.starts, knife)
        return daemon

    async def _live_and_die(self) -> None:
        knife = self._draw()
        daemon = await self._birth(knife)
        point = knife.point
        if await daemon.up():
            self._arrange(knife, daemon)
            if not await daemon.over(self._keeping.patience):
                point = "patience"
        await daemon.end()
        self._write_rules()
        if daemon.killed:
            self.figures.kills += 1
            self.figures.points[point] += 1
        elif daemon.code != 0 or point.partition(".")[0] != "drain":
            self._violate(Violation("start", f"a daemon ended with {daemon.code}: {self._last_words()}"))
        self._audit(at_end=False, knife=knife)
        self._keeping.bury(self._chances)

    def _draw(self) -> Knife:
        """Draw the next knife; while there is something to migrate, mostly one for the start."""
        if self.figures.starts < 4 and self._chances.random() < 0.7:
            return Knife("start.opening", self._chances.randint(1, AGES[self._old]))
        return self._deck.draw()

    def _arrange(self, knife: Knife, daemon: Incarnation) -> None:
        """Bring about what a knife waits for, or what it does not know of itself."""
        loop, soon = asyncio.get_running_loop(), self._chances.uniform(0.02, 0.3)
        if knife.point == "moment":
            loop.call_later(knife.n / 1000, daemon.send)
        kind = knife.point.partition(".")[0]
        if kind == "reload" or (kind not in SIGNALLED and self._chances.random() < 0.1):
            loop.call_later(soon, self._reload, daemon, kind != "reload" and self._chances.random() < 0.5)
        if kind == "drain":
            loop.call_later(soon, daemon.send, signal.SIGTERM)

    def _reload(self, daemon: Incarnation, broken: bool) -> None:  # noqa: FBT001
        if daemon.ended.is_set():
            return
        if broken:
            break_rules(self._folder)
        else:
            self._write_rules()
        daemon.send(signal.SIGHUP)

    # --- the end ---

    async def _finish(self, sending: asyncio.Task[None]) -> None:
        daemon = await self._birth(Knife())
        if not await daemon.up():
            self._violate(
                Violation("start", f"the last daemon ended with {daemon.code}: {self._last_words()}")
            )
            return
        self._stream.stop()
        await asyncio.wait((sending,), timeout=QUIET_SECONDS)
        if not sending.done():
            self._violate(Violation("over", f"what is said now is never acknowledged: {self._last_words()}"))
        until = time.monotonic() + QUIET_SECONDS
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {CONTROL}"}) as person:
            while time.monotonic() < until and self._keeping.book.live():
                await asyncio.sleep(0.1)
                await self._look_after(person)
        await daemon.end(signal.SIGTERM)
        if daemon.code != 0:
            self._violate(Violation("end", f"SIGTERM was answered with {daemon.code}: {self._last_words()}"))
        self._audit(at_end=True, knife=Knife("the end"))

    async def _look_after(self, person: aiohttp.ClientSession) -> None:
        """Take back what was left to people: what nobody can prove recovered, and what failed to be taken back."""
        asked = (
            "SELECT DISTINCT j.incident FROM journal j JOIN incident i ON i.id = j.incident WHERE i.closed_at IS NULL"
            " AND (j.kind = 'handed_over' OR j.kind = 'probe_unknown')"
        )
        for (incident,) in self._keeping.book.rows(asked):
            url = f"{self._url}/api/v1/incidents/{incident}/revert"
            async with person.post(url, json={"by": "a person", "why": "all is over"}) as answer:
                self.figures.orders += answer.status < 300

    # --- judging ---

    def _audit(self, *, at_end: bool, knife: Knife) -> None:
        self._outside.settle()
        with self._keeping.book.frozen() as book:
            records = Records(
                book=book.copied(),
                effects=self._outside.effects,
                said={alert.name: alert.said for alert in self._stream.alerts},
                changed=self._outside.changed(),
            )
            version = book.version()
        for violation in audit(records, at_end=at_end):
            self._violate(Violation(violation.promise, f"{violation.text} [after {knife}]"))
        self._check_migration(records, version, knife)
        if at_end:
            self.figures.lines = len(records.book.pages)
            self.figures.outcomes = Counter(entry.outcome or "live" for entry in records.book.entries)

    def _check_migration(self, records: Records, version: str, knife: Knife) -> None:
        """A schema is the old one or the new one, and what was in it stays."""
        there = any(entry.id == OLD for entry in records.book.entries)
        if version not in (self._old, HEAD) or (self._old and not there):
            text = f"the schema was {self._old or 'empty'} and is {version or 'empty'} [after {knife}]"
            self._violate(Violation("migration", text))
        self.figures.migrations += version == self._old and knife.point == "start.opening"

    def _violate(self, violation: Violation) -> None:
        self.figures.violations.append(violation)

    def _last_words(self) -> str:
        return (self._folder / "daemon.log").read_text(errors="replace")[-1500:]

    def _count(self, began: float) -> None:
        self.figures.effects = len(self._outside.effects)
        self.figures.sent = self._stream.sent
        self.figures.acknowledged = self._stream.acknowledged
        self.figures.seconds = time.monotonic() - began
