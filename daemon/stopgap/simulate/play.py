"""Play: one engine on a stage, driven from outside: alerts, people, crashes and reloads, while virtual time passes in between.

A play keeps what it is asked to keep. With `keep` it remembers every timeline; without, nothing but what is live, and whoever wants
to know what happened observes it line by line: so a month of a large site takes no more room than a day.
"""

import asyncio
from collections.abc import AsyncIterable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar

from stopgap.alert import Alert
from stopgap.clock import LoopClock
from stopgap.config import build_rule
from stopgap.engine import Engine, Observer
from stopgap.incident import EventKind as K, Incident
from stopgap.journal import CONTROL, Line
from stopgap.orders import Orders
from stopgap.rule import Rule
from stopgap.rulebook import Rulebook
from stopgap.simulate.hearing import Hearing, Known, Told
from stopgap.simulate.journal import MemoryJournal
from stopgap.simulate.scene import START, Scene
from stopgap.simulate.stage import Stage
from stopgap.simulate.virtual import VirtualLoop
from stopgap.terms import Terms

T = TypeVar("T")

MOMENT = 0.001  # seconds in which everything happens that needs no time


def perform(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)


def nobody(_: Told) -> None:
    """Listen to no message."""


@dataclass(frozen=True, slots=True)
class Setting:
    """How a play is set: the daemon's flags, its beginning, whether timelines are kept, what hears messages (None: nothing)."""

    terms: Terms = field(default_factory=Terms)
    start: datetime = START
    keep: bool = True
    on_told: Callable[[Told], None] | None = nobody
    known: Known = lambda _pack, _name: True


class Play:
    """One engine at a time on one journal. Made and used inside a running VirtualLoop; the stage's scene becomes a new one."""

    def __init__(self, stage: Stage, rulebook: Rulebook, setting: Setting | None = None) -> None:
        self.setting = setting or Setting()
        self.scene = stage.scene = Scene()
        stage.on_crash = self._crash_soon
        self.clock = LoopClock(self.setting.start)
        self.journal = MemoryJournal(self.clock, keep=self.setting.keep)
        self.closed: dict[str, Incident] = {}  # the last states of those that are over, where they are kept
        self.crashes = 0
        self._stage = stage
        self._rulebook = rulebook
        self._observers: list[Observer] = [self._see]
        self._crashing: asyncio.Task[None] | None = None
        self._hearing: Hearing | None = None
        if self.setting.on_told is not None:
            self._hearing = Hearing(
                self.journal, self.clock, self._rule_of, self.setting.on_told, self.setting.known
            )
            self._observers.append(self._hearing.observe)
        self._begin()

    def _begin(self) -> None:
        catalog, terms = self._stage.catalog, self.setting.terms
        self.engine = Engine(self.journal, catalog, self.clock, self._rulebook, self._rebuild, terms)
        self.orders = Orders(self.engine, self.clock)
        for observer in self._observers:
            self.engine.subscribe(observer)

    def _rebuild(self, document: Any) -> Rule:
        return build_rule(document, self._stage.catalog)

    def _rule_of(self, state: Incident) -> Rule | None:
        return self.engine.rule_of(state)

    def observe(self, observer: Observer) -> None:
        """Call `observer` with each line and the state after it, from now on, whatever crashes."""
        self._observers.append(observer)
        self.engine.subscribe(observer)

    def _see(self, line: Line, state: Incident) -> None:
        if not self.setting.keep or line.incident == CONTROL:
            return
        if line.event.kind is K.CLOSED:
            self.closed[line.incident] = state

    async def start(self) -> "Play":
        """Start the engine."""
        await self.engine.start()
        return self

    async def stop(self) -> None:
        """End it all at once."""
        if self._crashing is not None:
            self._crashing.cancel()
        if self._hearing is not None:
            self._hearing.stop()
        await self.engine.stop(drain=0)

    # --- time ---

    async def until(self, at: datetime) -> None:
        """Let time pass until this instant, if it is not over yet."""
        left = (at - self.setting.start).total_seconds() - asyncio.get_running_loop().time()
        if left > 0:
            await asyncio.sleep(left)

    async def settle(self) -> None:
        """Let everything happen that needs no time."""
        await asyncio.sleep(MOMENT)

    # --- what comes from outside ---

    async def receive(self, alerts: Sequence[Alert]) -> None:
        """Let Alertmanager tell of alerts, firing or over; in Prometheus they are from now on as they are said to be."""
        for alert in alerts:
            (self.scene.fires if alert.firing else self.scene.is_over)(alert.fingerprint, alert.labels)
        await self.engine.receive(alerts)

    async def resolve(self, *alerts: Alert) -> None:
        """Let alerts be over."""
        now = self.clock.now()
        await self.receive(tuple(replace(alert, firing=False, ends_at=now) for alert in alerts))

    async def reload(self, rulebook: Rulebook) -> None:
        """Let other rules be in force."""
        self._rulebook = rulebook
        await self.engine.use(rulebook)

    async def crash(self) -> None:
        """Let the daemon die without a word, and another one go on from the journal."""
        await self._dying()

    def _crash_soon(self) -> None:
        self._dying()

    def _dying(self) -> asyncio.Task[None]:
        """Return the death of the daemon that runs: whatever kills it, it dies once, and one other takes its place."""
        if self._crashing is None or self._crashing.done():
            self._crashing = asyncio.create_task(self._die(), name="crash")
        return self._crashing

    async def _die(self) -> None:
        self.crashes += 1
        await self.engine.stop(drain=0)
        self.journal.unsubscribe()
        self._begin()
        await self.engine.start()

    # --- what can be seen ---

    @property
    def states(self) -> dict[str, Incident]:
        """Return all incidents, those that are over (where they are kept) before those that are live."""
        return {**self.closed, **self.engine.incidents}


@dataclass(frozen=True, slots=True)
class Cue:
    """What happens at an instant."""

    at: datetime
    do: Callable[[Play], Coroutine[Any, Any, None]]


async def follow(
    play: Play, cues: AsyncIterable[Cue] | Iterable[Cue], *, end: datetime | None = None
) -> None:
    """Do what the cues say, each at its instant (they come in order), then let time pass until `end`; the play has started."""
    if isinstance(cues, AsyncIterable):
        async for cue in cues:
            await play.until(cue.at)
            await cue.do(play)
    else:
        for cue in cues:
            await play.until(cue.at)
            await cue.do(play)
    if end is not None:
        await play.until(end)


__all__ = ["START", "Cue", "Play", "Setting", "Stage", "Told", "follow", "perform"]
