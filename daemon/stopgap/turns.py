"""Turns: so many at once, first come first served, and one more for what takes back, so that it never queues behind acts."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turns:
    """Gives turns. `bound` changes how many there are; those that have one keep it."""

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._busy = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._back: deque[asyncio.Future[None]] = deque()  # those that take back: they go first

    def bound(self, at_once: int) -> None:
        """Give so many at once from now on."""
        self._at_once = at_once
        self._call()

    @property
    def free(self) -> bool:
        """Tell whether a turn could be had at once."""
        return self._busy < self._at_once and not self._waiting

    @asynccontextmanager
    async def take(self, *, back: bool = False) -> AsyncIterator[None]:
        """Wait for a turn and hold it; `back` for what takes back."""
        turn = asyncio.get_running_loop().create_future()
        (self._back if back else self._waiting).append(turn)
        self._call()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave()
            raise
        try:
            yield
        finally:
            self._leave()

    def _leave(self) -> None:
        self._busy -= 1
        self._call()

    def _call(self) -> None:
        while turn := self._next():
            if not turn.done():  # else whoever waited was cancelled
                self._busy += 1
                turn.set_result(None)

    def _next(self) -> "asyncio.Future[None] | None":
        if self._back and self._busy <= self._at_once:
            return self._back.popleft()
        return self._waiting.popleft() if self._waiting and self._busy < self._at_once else None
