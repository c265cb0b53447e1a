"""Live rows: the Journal port on the model's Rows, with the pace of a real store, and its bad luck.

One writer works off the queue. A commit takes its time, its lines are told then, and whoever asked hears of it later: all three are
instants between which anything may happen. Who was cancelled meanwhile has it written all the same. An ill store takes nothing; one
whose answer is lost has taken it, tells nobody, and takes nothing more until the daemon is dead.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any

from tests.property.rows import Commit, Rows

from stopgap.action import Json
from stopgap.clock import Clock
from stopgap.errors import StoreError
from stopgap.guard import Refusal, Request
from stopgap.incident import Event
from stopgap.journal import Append, Conflict, Line, Sighting, Undo
from stopgap.ledger import Brake, BrakeScope, Ledger

COMMIT, ANSWER, READING = 0.2, 0.1, 0.1  # seconds, at most

AFTERMATH = timedelta(seconds=40)  # after which all is tried again that an ill store did not take

Work = Callable[[], Any]


@dataclass
class LiveRows:
    """The store of one daemon after the other. `broken` is what an auditor found wrong in a commit.

    A reload is answered when what waited before it is written. The auditor knows one set of `rules` only, so a start that waited
    while they were swapped is decided anew here.
    """

    rows: Rows
    clock: Clock
    chance: Random
    ill: bool = False
    loses: bool = False  # the answer to the next commit
    broken: list[AssertionError] = field(default_factory=list)
    documents: dict[str, Json] = field(default_factory=dict)
    observer: Callable[[Line], None] | None = None
    rules: Callable[[], Any] = lambda: None

    def __post_init__(self) -> None:
        self.rows.watchers.append(self._committed)
        self._lines: list[Line] = []
        self._queue: asyncio.Queue[tuple[Work, asyncio.Future[Any]]] = asyncio.Queue()
        self._writer: asyncio.Task[None] | None = None
        self.lost = False
        self.working = False
        self.ill_at = self.clock.now() - AFTERMATH

    def _committed(self, commit: Commit) -> None:
        self._lines += [Line(commit.incident, event) for event in commit.events]

    # --- life ---

    def opens(self) -> None:
        self.ill = self.loses = self.lost = self.working = False
        self._writer = asyncio.create_task(self._write(), name="writer")

    async def dies(self) -> None:
        """Forget what waits; what is committed stays."""
        assert self._writer is not None
        self._writer.cancel()
        await asyncio.gather(self._writer, return_exceptions=True)
        self._queue, self.observer = asyncio.Queue(), None

    @property
    def idle(self) -> bool:
        """Tell whether nothing is being written, and nobody waits to try again what an ill store did not take."""
        well = self.clock.now() > self.ill_at + AFTERMATH
        return well and self._queue.empty() and not self.working

    def subscribe(self, observer: Callable[[Line], None]) -> None:
        self.observer = observer

    def acting(self) -> AbstractContextManager[None]:
        return nullcontext()

    # --- the writer ---

    async def _write(self) -> None:
        while True:
            work, future = await self._queue.get()
            self.working = True
            await asyncio.sleep(self.chance.random() * COMMIT)
            answer = self._commit(work)
            await asyncio.sleep(self.chance.random() * ANSWER)
            self.working = False
            if future.done():
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)

    def _commit(self, work: Work) -> Any:
        if self.ill or self.lost:
            self.ill_at = self.clock.now()
            return StoreError("the journal cannot be written")
        try:
            answer = work()
        except AssertionError as broken:
            self.broken.append(broken)
            raise
        lines, self._lines = self._lines, []
        if self.loses and lines:
            self.lost = True
            return StoreError("nobody can tell whether the last commit is on disk")
        for line in lines:
            if self.observer is not None:
                self.observer(line)
        return answer

    async def _queued(self, work: Work) -> Any:
        future = asyncio.get_running_loop().create_future()
        self._queue.put_nowait((work, future))
        return await future

    async def _read(self, answer: Callable[[], Any]) -> Any:
        await asyncio.sleep(self.chance.random() * READING)
        if self.ill:
            self.ill_at = self.clock.now()
            raise StoreError("the journal cannot be read")
        return answer()

    # --- the port ---

    async def receive(self, sightings: Sequence[Sighting]) -> None:
        await self._queued(lambda: self.rows.receive(sightings))

    async def append(self, append: Append) -> tuple[Event, ...] | Conflict | Refusal:
        rules, starts = self.rules(), append.request is not None and append.request.starts

        def work() -> tuple[Event, ...] | Conflict | Refusal:
            if starts and self.rules() is not rules:
                return Conflict(0)
            return self.rows.append(append, self.clock.now())

        answer: tuple[Event, ...] | Conflict | Refusal = await self._queued(work)
        return answer

    async def brake(self, brake: Brake) -> None:
        await self._queued(lambda: self.rows.brake(brake))

    async def release(self, scope: BrakeScope, name: str, by: str, at: datetime, why: str = "") -> bool:
        return await self._queued(lambda: self.rows.brakes.pop((scope, name), None)) is not None

    async def control(self, event: Event) -> None:
        await self._queued(lambda: None)

    async def remember(self, documents: Mapping[str, Json]) -> None:
        await self._queued(lambda: self.documents.update(documents))

    async def meet(self, rules: Collection[str], at: datetime) -> Mapping[str, datetime]:
        await self._queued(lambda: None)
        return dict.fromkeys(rules, at)

    async def ledger(self, request: Request) -> Ledger:
        ledger: Ledger = await self._read(lambda: self.rows.ledger(request))
        return ledger

    async def openings(self, since: datetime) -> tuple[tuple[str, datetime], ...]:
        return tuple(one for one in self.rows.openings() if one[1] >= since)

    async def live(self) -> Mapping[str, tuple[Event, ...]]:
        return {name: tuple(self.rows.timelines[name]) for name in self.rows.live()}

    async def served(self) -> frozenset[tuple[str, str]]:
        return frozenset((rule, alert) for (alert, rule), one in self.rows.episodes.items() if one.served)

    async def timeline(self, incident: str) -> tuple[Event, ...]:
        found: tuple[Event, ...] = await self._read(lambda: tuple(self.rows.timelines.get(incident, ())))
        return found

    async def lately(self, most: int) -> tuple[Event, ...]:
        return ()

    async def undo(self, incident: str, act: str) -> Undo | None:
        undo: Undo | None = await self._read(lambda: self.rows.undos.get((incident, act)))
        return undo

    async def document(self, version: str) -> Json:
        return self.documents.get(version)

    async def brakes(self) -> tuple[Brake, ...]:
        return tuple(self.rows.brakes.values())

    async def closed(
        self, *, rule: str | None, target: str | None, before: str | None, limit: int
    ) -> tuple[Any, ...]:
        return ()
