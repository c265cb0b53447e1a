"""Clock: the one object that is asked for the wall clock; everything else is the event loop's time."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol

SMALL = 2.0  # seconds: what time servers correct in passing; anything larger is a jump
_APART = 0.05  # seconds between two readings that still belong together


class Clock(Protocol):
    """Tells the current instant."""

    def now(self) -> datetime:
        """Return the current instant, aware, in UTC."""
        ...


class SystemClock:
    """The machine's wall clock."""

    def now(self) -> datetime:
        """Return the current instant, aware, in UTC."""
        return datetime.now(UTC)


class SteadyClock:
    """The daemon's own time: the wall clock at its start, and the seconds since.

    Seconds are those of CLOCK_MONOTONIC, which nobody sets and which stands still while the machine is suspended, so no duration is
    ever wrong because somebody set the wall clock. Small differences are followed at once, forward only. A larger one is a jump: it
    stays the `offset` until `follow` is called. Only there may this clock go back.
    """

    def __init__(
        self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic
    ) -> None:
        self._wall = wall
        self._steady = steady
        self._begins = wall() - steady()  # what is added to the steady seconds
        self._last = 0.0
        self.offset = 0.0  # seconds that the wall clock is ahead of this one; 0 unless it jumped

    def now(self) -> datetime:
        """Return the current instant, aware, in UTC; never earlier than the one before."""
        self._last = max(self._last, self._steady() + self._begins)
        return datetime.fromtimestamp(self._last, UTC)

    def look(self) -> float:
        """Compare with the wall clock; return by how many seconds it jumped since the last look, 0 when it did not."""
        before = self._steady()
        wall, after = self._wall(), self._steady()
        if after - before > _APART:  # we were held up in between, and would take that for a jump
            return 0.0
        ahead = wall - after - self._begins
        if abs(ahead) < SMALL:
            jumped, self.offset = -self.offset, 0.0
            self._begins += ahead
            return jumped
        jumped = ahead - self.offset
        self.offset = ahead
        return jumped if abs(jumped) >= SMALL else 0.0

    def follow(self) -> float:
        """Take over the wall clock as it is, back too; return by how many seconds that moved this one."""
        moved, self.offset = self.offset, 0.0
        self._begins += moved
        self._last = 0.0
        return moved


class LoopClock:
    """A wall clock derived from the running event loop, so that one virtual loop moves timers and instants alike."""

    def __init__(self, start: datetime) -> None:
        self._start = start
        self._loop: asyncio.AbstractEventLoop | None = None
        self._last = (0.0, start)  # virtual time stands still while much is asked

    def now(self) -> datetime:
        """Return the start plus the loop's time, in UTC."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        seconds = self._loop.time()
        if seconds != self._last[0]:
            self._last = (seconds, self._start + timedelta(seconds=seconds))
        return self._last[1]
