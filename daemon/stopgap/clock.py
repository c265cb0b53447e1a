"""Clock: the one object that is asked for the wall clock; everything else is the event loop's time."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Protocol


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
