"""Pruner: throws away, now and then, what is past its retention: a little, a pause, a little more.

A chunk keeps the writer for milliseconds, and waits while others wait. A clock that jumped proves nothing: a round is left out.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

import structlog

from stopgap.clock import Clock
from stopgap.errors import StoreError
from stopgap.retention import DOCUMENTS, Archive, kept_for
from stopgap.rulebook import Rulebook

log = structlog.get_logger(__name__)

T = TypeVar("T")

SETTLE = 600.0  # seconds from the start on: recovery goes first, and a clock that is wrong may be set
EVERY = 3600.0  # seconds
SHARE = 0.01  # of the writer's time at most: of a hundred who come, one finds a chunk under way
PAUSE, LONGEST = 0.05, 5.0  # seconds between two chunks
PATIENCE = 20  # pauses that a chunk waits at most while others wait for the writer
JUMP = timedelta(minutes=10)  # of the wall clock between two rounds


@dataclass(slots=True)
class Round:
    """What one round threw away of what was over `before`, and when the oldest incident opened that is left."""

    before: datetime
    incidents: int = 0
    lines: int = 0
    control: int = 0
    documents: int = 0
    oldest: datetime | None = None


@dataclass(slots=True)
class Pruner:
    """Owns the rounds. A `retention` of nothing keeps everything, and only looks how old that is."""

    archive: Archive
    clock: Clock
    rulebook: Callable[[], Rulebook]
    retention: timedelta
    on_round: Callable[[int, datetime | None], None] = lambda _incidents, _oldest: None
    offset: Callable[[], float] = lambda: (
        0.0
    )  # seconds that the wall clock is ahead of `clock`: not followed yet
    _task: asyncio.Task[None] | None = None
    _pause: float = PAUSE
    _ahead: float | None = None  # seconds that the wall clock was ahead of the loop's

    def begin(self) -> None:
        """Prune from now on."""
        self._task = asyncio.create_task(self._go_round(), name="pruner")

    async def stop(self) -> None:
        """Prune no more; a chunk under way is finished by the writer."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _go_round(self) -> None:
        self._jumped()
        pause = SETTLE
        while True:
            await asyncio.sleep(pause)
            pause = EVERY
            try:
                if self._jumped():
                    log.warning("pruning_postponed", why="the wall clock jumped")
                else:
                    await self.round()
            except StoreError as error:
                log.warning("pruning_failed", why=str(error))
            except Exception:  # border: task. One round that goes wrong must not be the last
                log.exception("pruning_fault")

    def _jumped(self) -> bool:
        """Tell whether the wall clock went otherwise than the loop's since the last time, or says something else than ours."""
        before = self._ahead
        self._ahead = self.clock.now().timestamp() - asyncio.get_running_loop().time()
        if abs(self.offset()) > JUMP.total_seconds():
            return True
        return before is not None and abs(self._ahead - before) > JUMP.total_seconds()

    async def round(self) -> Round:
        """Throw away all that is past its retention now. Raises StoreError."""
        rules = self.rulebook().rules.values()
        done = Round(self.clock.now() - kept_for(self.retention, rules))
        began = asyncio.get_running_loop().time()
        if self.retention:
            await self.drop_incidents(done)
            await self._drop_control(done)
            if done.incidents:  # only then can a version have lost its last one
                await self._drop_documents(done)
        done.oldest = await self.archive.oldest()
        if done.incidents or done.control or done.documents:
            seconds = round(asyncio.get_running_loop().time() - began, 1)
            counts = {"incidents": done.incidents, "lines": done.lines + done.control}
            log.info(
                "pruned", before=done.before.isoformat(), **counts, documents=done.documents, seconds=seconds
            )
        self.on_round(done.incidents, done.oldest)
        return done

    async def drop_incidents(self, done: Round) -> None:
        """Throw away what is due, and count it as it goes. Raises StoreError."""
        after = None
        while page := await self.archive.due(done.before, after):
            after, rest = page[-1], tuple(page)
            while rest:
                dropped = await self._after_others(partial(self.archive.drop, rest, done.before))
                done.incidents += dropped.incidents
                done.lines += dropped.lines
                rest = dropped.rest

    async def _drop_control(self, done: Round) -> None:
        while True:
            dropped = await self._after_others(partial(self.archive.drop_control, done.before))
            done.control += dropped
            if not dropped:
                return

    async def _drop_documents(self, done: Round) -> None:
        unnamed = await self.archive.unnamed()
        for first in range(0, len(unnamed), DOCUMENTS):
            some, in_force = unnamed[first : first + DOCUMENTS], self.rulebook().versions().keys()
            done.documents += await self._after_others(partial(self.archive.forget, some, in_force))

    async def _after_others(self, chunk: Callable[[], Awaitable[T]]) -> T:
        """Do one chunk, after a pause that is the longer the longer the last one took, and when nobody else waits."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._pause)
        for _ in range(PATIENCE):
            if not self.archive.waiting:
                break
            await asyncio.sleep(PAUSE)
        began = loop.time()
        dropped = await chunk()
        self._pause = min(max((loop.time() - began) / SHARE, PAUSE), LONGEST)
        return dropped
