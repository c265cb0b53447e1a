"""Errand: blocking work in a thread of its own, which a cancellation or the time limit ends at its next pause.

It promises that nothing goes on unseen: whoever gives up waits for the thread to clear up and leave. It has no part in the pool in
which names are looked up: a resolver that hangs keeps nobody's files waiting, and a disk that hangs keeps nobody from ending.
"""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any, TypeVar

from stopgap.errors import TemporaryError

PATIENCE = 15.0  # seconds that the work has to clear up; a pause is never that far away unless a disk hangs
AT_ONCE = 96  # more than can ever work at once: only threads that hang fill it
_places = threading.BoundedSemaphore(AT_ONCE)

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
    future = _begun(work, errand)
    try:
        async with asyncio.timeout(timeout.total_seconds()):
            return await asyncio.shield(future)
    except (asyncio.CancelledError, TimeoutError):
        errand.call_off()
        await seen_off(future, PATIENCE)
        if future.done() and not future.cancelled():
            future.exception()  # retrieved: that it was given up is the answer
        raise


async def seen_off(future: "asyncio.Future[Any]", seconds: float) -> None:
    """Wait for the end of what nobody wants any more, also when that is said once more meanwhile."""
    loop = asyncio.get_running_loop()
    until, said_again = loop.time() + seconds, None
    while not future.done() and loop.time() < until:
        try:
            await asyncio.wait([future], timeout=until - loop.time())
        except asyncio.CancelledError as again:
            said_again = again
    if said_again is not None:
        raise said_again


def _begun(work: Callable[[Errand], T], errand: Errand) -> "asyncio.Future[T]":
    """Begin the work. Raises TemporaryError when so many threads hang that there must be no more."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    told, places = contextvars.copy_context(), _places

    def do() -> None:
        result: T | None = None
        failure: BaseException | None = None
        try:
            if errand.called_off:
                raise CalledOff  # noqa: TRY301 - it is told as every other end
            result = told.run(work, errand)
        except BaseException as error:  # noqa: BLE001 - border: thread. Whatever it is belongs to whoever waits
            failure = error
        finally:
            places.release()
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_tell, future, result, failure)

    if not places.acquire(blocking=False):
        raise TemporaryError(f"{AT_ONCE} threads work or hang: no more")
    thread = threading.Thread(target=do, name="errand", daemon=True)
    try:
        thread.start()
    except RuntimeError:
        places.release()
        raise TemporaryError("this machine has no room for another thread") from None
    return future


def _tell(future: "asyncio.Future[Any]", result: object, failure: BaseException | None) -> None:
    if future.done():
        return
    if failure is not None:
        future.set_exception(failure)
    else:
        future.set_result(result)
