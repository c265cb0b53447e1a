"""Whole: a change over a network that is made to its end once it was begun, even where nobody waits for it any more."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from stopgap.errand import seen_off
from stopgap.errors import StopgapError

T = TypeVar("T")

_FINISH_SECONDS = 15.0


class Unanswered(StopgapError):  # noqa: N818 - it is not known to be an error
    """A change was sent and not clearly answered: whether it was made is not known."""


async def finish(change: Coroutine[Any, Any, T]) -> T:
    """Await a change. When the caller is cancelled it is finished first: no half state, no surprise afterwards."""
    task = asyncio.ensure_future(change)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        try:
            await seen_off(task, _FINISH_SECONDS)
        finally:
            if not task.cancel() and not task.cancelled():
                task.exception()  # retrieved: the cancellation is the answer
        raise
