"""Virtual time: an event loop whose clock jumps to the next timer instead of sleeping.

Plays turn it a few hundred thousand times and do little in a turn, so its turns are its own: they do what those of asyncio do, in
the same order, and look at no socket.
"""

import asyncio
import heapq
from collections.abc import Callable
from contextvars import Context
from typing import Any, TypeVarTuple, Unpack

Ts = TypeVarTuple("Ts")

MANY = 100  # timers; when most of so many are cancelled, they are cleared away


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs hours in milliseconds; no threads and no sockets may take part: nobody ever looks whether one is ready."""

    _ready: Any  # asyncio's own: a deque of handles, and a heap of timers
    _scheduled: Any
    _stopping: bool
    _timer_cancelled_count: int

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0

    def time(self) -> float:
        """Return the seconds since the loop was made."""
        return self._now

    def get_debug(self) -> bool:
        """Say that nobody looks for slow callbacks."""
        return False

    def call_soon(
        self, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Call it in the next turn."""
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def _run_once(self) -> None:
        """Turn once: let it be as late as the next timer if nothing is ready, and call what is."""
        ready = self._ready
        if not ready and not self._stopping:
            self._leap()
        timers = self._scheduled
        while timers and timers[0]._when <= self._now:  # noqa: SLF001 - asyncio's own handle
            timer = heapq.heappop(timers)
            timer._scheduled = False  # noqa: SLF001
            ready.append(timer)
        for _ in range(len(ready)):  # what these make ready waits for the next turn
            handle = ready.popleft()
            if not handle._cancelled:  # noqa: SLF001
                handle._run()  # noqa: SLF001

    def _leap(self) -> None:
        timers = self._scheduled
        if len(timers) > MANY and 2 * self._timer_cancelled_count > len(timers):
            self._drop(timers)
        while timers and timers[0].cancelled():
            self._timer_cancelled_count -= 1
            heapq.heappop(timers)._scheduled = False  # noqa: SLF001
        if not timers:
            raise RuntimeError("nothing is scheduled: on virtual time this would wait for ever")
        self._now = max(self._now, timers[0].when())

    def _drop(self, timers: list[Any]) -> None:
        """Clear away the timers that are cancelled."""
        for timer in timers:
            timer._scheduled = not timer.cancelled()  # noqa: SLF001
        timers[:] = [timer for timer in timers if not timer.cancelled()]
        heapq.heapify(timers)
        self._timer_cancelled_count = 0
