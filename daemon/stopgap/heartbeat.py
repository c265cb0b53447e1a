"""Heartbeat: a task that wakes up regularly and says how late it was, which is how long the event loop was stalled."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

from stopgap.clock import Clock

INTERVAL = timedelta(milliseconds=250)


@asynccontextmanager
async def heartbeat(
    lagged: Callable[[float, datetime], None], clock: Clock, interval: timedelta = INTERVAL
) -> AsyncIterator[None]:
    """Call `lagged(seconds, now)` every `interval` while inside."""
    loop = asyncio.get_running_loop()

    async def beat() -> None:
        while True:
            due_at = loop.time() + interval.total_seconds()
            await asyncio.sleep(interval.total_seconds())
            lagged(max(0.0, loop.time() - due_at), clock.now())

    task = asyncio.create_task(beat(), name="heartbeat")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
