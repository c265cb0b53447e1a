"""Timers: one heap of wall-clock instants for all incidents, and one callback of the event loop for the earliest."""

import asyncio
import heapq
from collections.abc import Callable
from datetime import datetime
from math import inf

from stopgap.clock import Clock, LoopClock

LONGEST_SLEEP = 60.0  # seconds: that the wall clock was taken over is noticed within this time


class Timers:
    """Calls `ring(key)` when a key's instant has come; setting a key again replaces its instant."""

    def __init__(self, clock: Clock, ring: Callable[[str], None]) -> None:
        self._clock = clock
        self._longest = (
            inf if isinstance(clock, LoopClock) else LONGEST_SLEEP
        )  # nobody sets the loop's own time
        self._ring = ring
        self._due: dict[str, datetime] = {}
        self._heap: list[tuple[datetime, str]] = []
        self._call: asyncio.TimerHandle | None = None

    def set(self, key: str, at: datetime) -> None:
        """Ring for `key` at this instant, and at no other."""
        if self._due.get(key) == at:
            return
        self._due[key] = at
        heapq.heappush(self._heap, (at, key))
        if len(self._heap) > 64 + 2 * len(self._due):
            self._heap = [(due, k) for k, due in self._due.items()]
            heapq.heapify(self._heap)
        if self._heap[0][0] == at:
            self._arm()

    def clear(self, key: str) -> None:
        """Do not ring for `key`."""
        self._due.pop(key, None)

    def stop(self) -> None:
        """Ring no more."""
        self._due.clear()
        self._heap.clear()
        if self._call is not None:
            self._call.cancel()

    def _arm(self) -> None:
        if self._call is not None:
            self._call.cancel()
            self._call = None
        if self._heap:
            delay = (self._heap[0][0] - self._clock.now()).total_seconds()
            self._call = asyncio.get_running_loop().call_later(
                min(max(delay, 0.0), self._longest), self._wake
            )

    def _wake(self) -> None:
        self._call = None
        now = self._clock.now()
        while self._heap and self._heap[0][0] <= now:
            at, key = heapq.heappop(self._heap)
            if self._due.get(key) == at:
                del self._due[key]
                self._ring(key)
        self._arm()
