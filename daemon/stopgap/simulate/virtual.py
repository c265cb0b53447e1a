"""Virtual time: an event loop whose clock jumps to the next timer instead of sleeping.

Plays turn it a few hundred thousand times and do little in a turn, so its turns are its own: they do what those of asyncio do, and
look at no socket.
"""

import asyncio
import heapq
from collections.abc import Callable
from contextvars import Context, copy_context
from itertools import count
from typing import Any, TypeVarTuple, Unpack

Ts = TypeVarTuple("Ts")

MANY = 100  # timers; when most of so many are cancelled, they are cleared away


class _Call(asyncio.Handle):
    """A handle that is made without a look at whether somebody looks for slow calls."""

    __slots__ = ()

    def __init__(
        self,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        loop: asyncio.AbstractEventLoop,
        context: Context | None,
    ) -> None:
        self._callback: Any = callback
        self._args = args
        self._loop = loop
        self._context = copy_context() if context is None else context
        self._cancelled = False
        self._repr: str | None = None
        self._source_traceback: Any = None


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs hours in milliseconds; no threads and no sockets may take part: nobody ever looks whether one is ready."""

    _ready: Any  # asyncio's own: a deque of handles
    _stopping: bool

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._number = count()
        self._timers: list[
            tuple[float, int, asyncio.TimerHandle]
        ] = []  # those of one instant as they were set
        self._most = MANY

    def time(self) -> float:
        """Return the seconds since the loop was made."""
        return self._now

    def call_soon(
        self, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Call it in the next turn."""
        handle = _Call(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Call it at this instant."""
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._number), timer))
        return timer

    def _run_once(self) -> None:
        """Turn once: let it be as late as the next timer if nothing is ready, and call what is."""
        ready, timers = self._ready, self._timers
        if not ready and not self._stopping:
            self._leap(timers)
        while timers and timers[0][0] <= self._now:
            ready.append(heapq.heappop(timers)[2])
        for _ in range(len(ready)):  # what these make ready waits for the next turn
            handle = ready.popleft()
            if not handle._cancelled:  # noqa: SLF001 - asyncio's own
                handle._run()  # noqa: SLF001

    def _leap(self, timers: list[tuple[float, int, asyncio.TimerHandle]]) -> None:
        if len(timers) > self._most:
            timers[:] = [each for each in timers if not each[2].cancelled()]
            heapq.heapify(timers)
            self._most = max(MANY, 2 * len(timers))
        while timers and timers[0][2].cancelled():
            heapq.heappop(timers)
        if not timers:
            raise RuntimeError("nothing is scheduled: on virtual time this would wait for ever")
        self._now = max(self._now, timers[0][0])
