"""Timekeeper: watches for jumps of the wall clock, says each, and lets the daemon follow when no incident is live.

While one is live, the daemon keeps its own time: what a rule bounds lasts as long as it says, whoever sets the clock. Without one
nothing is under way that a jump could end early, and the wall clock is taken over at once.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from stopgap.clock import SteadyClock
from stopgap.errors import StoreError
from stopgap.incident import Event, EventKind as K

log = structlog.get_logger(__name__)

STORE_AGAIN = 5.0  # seconds
PAUSE = 1.0  # seconds between two lines: a clock that runs wild fills no disk
MOST_UNTOLD = 20  # lines; the oldest are dropped

Journal = Callable[[Event], Coroutine[Any, Any, object]]


class Timekeeper:
    """Owns the looks at the wall clock. `idle` tells whether no incident is live, `journal` keeps a line of `control`."""

    def __init__(self, clock: SteadyClock, idle: Callable[[], bool], journal: Journal) -> None:
        self._clock = clock
        self._idle = idle
        self._journal = journal
        self._untold: deque[Event] = deque(maxlen=MOST_UNTOLD)
        self._telling: asyncio.Task[None] | None = None

    @property
    def offset(self) -> float:
        """Return by how many seconds the wall clock is ahead of the daemon's time."""
        return self._clock.offset

    def look(self) -> None:
        """See whether the wall clock jumped, and take it over where that harms nothing."""
        jumped = self._clock.look()
        if jumped:
            self._say(K.CLOCK_JUMPED, jumped, "the wall clock jumped by")
        if self._clock.offset and self._idle():
            self._say(K.CLOCK_FOLLOWED, self._clock.follow(), "no incident is live: time moved by")

    async def stop(self) -> None:
        """Say no more."""
        if self._telling is not None:
            self._telling.cancel()
            await asyncio.gather(self._telling, return_exceptions=True)

    def _say(self, kind: K, seconds: float, text: str) -> None:
        left = round(self._clock.offset, 3)
        detail = {"seconds": round(seconds, 3), "offset": left, "text": f"{text} {seconds:+.1f} s"}
        self._untold.append(Event(kind, self._clock.now(), detail))
        if self._telling is None:
            self._telling = asyncio.create_task(self._tell(), name="timekeeper")

    async def _tell(self) -> None:
        while self._untold:
            event = self._untold[0]
            try:
                await self._journal(event)
            except StoreError as error:
                log.warning("store_unavailable", untold=str(event.kind), why=str(error), **event.detail)
                await asyncio.sleep(STORE_AGAIN)
            else:
                if self._untold[0] is event:  # not dropped meanwhile
                    self._untold.popleft()
                await asyncio.sleep(PAUSE)
        self._telling = None
