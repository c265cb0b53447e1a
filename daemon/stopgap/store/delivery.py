"""Delivery: brings what a batch committed to the observers and the callers, on the event loop, in commit order.

One call wakes the loop per batch. A large batch is handed out in slices, so that the loop is never stalled; the order holds.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from stopgap.journal import Line
from stopgap.value import cheaply_made

log = structlog.get_logger(__name__)

SLICE = 0.01  # seconds of work between two breaths of the event loop

Answer = tuple[asyncio.Future[Any], Any]
"""Who waits, and the value or the exception to give."""


@cheaply_made
@dataclass(frozen=True, slots=True)
class Parcel:
    """What one batch brings: its lines, its answers, and what it cost (`seconds` 0: it failed or wrote nothing)."""

    lines: Sequence[Line]
    answers: Sequence[Answer]
    seconds: float = 0.0


class Delivery:
    """Belongs to one event loop; only `send` may be called from elsewhere."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.observers: list[Callable[[Line], None]] = []
        self.on_batch: Callable[[int, float], None] | None = None
        self._loop = loop
        self._steps: deque[tuple[Callable[[Any], None], Any]] = deque()
        self._idle = asyncio.Event()
        self._idle.set()

    def send(self, parcel: Parcel) -> None:
        """Hand a parcel over from the writer's thread; it is dropped when the loop is gone, and so are those who wait."""
        try:
            self._loop.call_soon_threadsafe(self._arrive, parcel)
        except RuntimeError:
            log.warning("journal_answers_undelivered", answers=len(parcel.answers))

    async def emptied(self) -> None:
        """Wait until everything that arrived is handed out."""
        await self._idle.wait()

    def _arrive(self, parcel: Parcel) -> None:
        waits = bool(self._steps)
        self._steps.extend((self._observe, line) for line in parcel.lines)
        self._steps.append((self._finish, parcel))
        if not waits:
            self._idle.clear()
            self._go()

    def _go(self) -> None:
        until = time.perf_counter() + SLICE
        while self._steps:
            step, argument = self._steps[0]
            step(argument)  # removed afterwards: what arrives meanwhile must find that somebody is at work
            self._steps.popleft()
            if self._steps and time.perf_counter() > until:
                self._loop.call_soon(self._go)
                return
        self._idle.set()

    def _observe(self, line: Line) -> None:
        for observer in tuple(self.observers):
            try:
                observer(line)
            except Exception:  # border: observer. One that fails keeps nothing from the others
                log.exception("observer_fault", incident=line.incident, kind=line.event.kind)

    def _finish(self, parcel: Parcel) -> None:
        if self.on_batch is not None and parcel.seconds:
            self.on_batch(len(parcel.answers), parcel.seconds)
        for future, answer in parcel.answers:
            if future.done():  # the caller was cancelled; what it asked for is on disk all the same
                continue
            if isinstance(answer, BaseException):
                future.set_exception(answer)
            else:
                future.set_result(answer)
