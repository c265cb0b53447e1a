"""Errand: blocking work in a thread, which a cancellation or the time limit ends at its next pause.

It promises that nothing goes on unseen: whoever gives up waits for the thread to clear up and leave.
"""

import asyncio
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

PATIENCE = 15.0  # seconds that the work has to clear up; a pause is never that far away unless a disk hangs

T = TypeVar("T")


class CalledOff(Exception):  # noqa: N818 - reads as the answer it is
    """Nobody waits for the work any more: clear up and leave."""


class Errand:
    """What the work asks now and then: whether anybody still waits for it."""

    def __init__(self) -> None:
        self._called_off = threading.Event()

    @property
    def called_off(self) -> bool:
        """Whether nobody waits any more."""
        return self._called_off.is_set()

    def pause(self) -> None:
        """Go on, or raise CalledOff."""
        if self.called_off:
            raise CalledOff

    def call_off(self) -> None:
        """Let the work end at its next pause."""
        self._called_off.set()


async def run(work: Callable[[Errand], T], timeout: timedelta) -> T:  # noqa: ASYNC109 - it bounds the thread
    """Do blocking work in a thread. Raises what it raises, and TimeoutError when it was called off at its time limit."""
    errand = Errand()
    task = asyncio.ensure_future(asyncio.to_thread(work, errand))
    try:
        async with asyncio.timeout(timeout.total_seconds()):
            return await asyncio.shield(task)
    except (asyncio.CancelledError, TimeoutError):
        errand.call_off()
        await asyncio.wait([task], timeout=PATIENCE)
        if task.done() and not task.cancelled():
            task.exception()  # retrieved: that it was given up is the answer
        raise
