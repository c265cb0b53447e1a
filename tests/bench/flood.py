"""Flood: as many notifications as are answered, over some connections at once; a closed loop, good for rates only."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from itertools import cycle
from typing import Any

from tests.bench.bodies import notification, post
from tests.bench.wire import connect, whole

CONNECTIONS = 32


class Sender(asyncio.Protocol):
    """One kept-alive connection that sends the next request as soon as the last is answered; callbacks only, to be fast."""

    def __init__(self, supply: Iterator[bytes], until: float, statuses: Counter[bytes]) -> None:
        self.over = asyncio.get_running_loop().create_future()
        self._supply = supply
        self._until = until
        self._statuses = statuses
        self._read = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._next()

    def data_received(self, data: bytes) -> None:
        self._read += data
        if not whole(self._read):
            return
        self._statuses[self._read[9:12]] += 1
        self._read = b""
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.over.done():
            self._statuses[b"lost"] += 1
            self.over.set_result(None)

    def _next(self) -> None:
        assert self._transport is not None
        request = next(self._supply, None) if time.perf_counter() < self._until else None
        if request is not None:
            self._transport.write(request)
            return
        self.over.set_result(None)
        self._transport.close()


async def flood(task: dict[str, Any]) -> dict[str, Any]:
    """Send single-alert notifications as fast as they are answered, each once or over and over, for at most `seconds`."""
    first, distinct = task["first"], task["distinct"]
    requests = [post(notification(task["name"], range(n, n + 1))) for n in range(first, first + distinct)]
    supply: Iterator[bytes] = cycle(requests) if task["again"] else iter(requests)
    statuses: Counter[bytes] = Counter()
    loop = asyncio.get_running_loop()
    began, cpu = time.perf_counter(), time.process_time()
    until = began + task["seconds"]
    senders = [
        (await loop.create_connection(lambda: Sender(supply, until, statuses), "127.0.0.1", task["port"]))[1]
        for _ in range(CONNECTIONS)
    ]
    await asyncio.gather(*(sender.over for sender in senders))
    seconds = time.perf_counter() - began
    return {
        "requests": statuses.total(),
        "seconds": seconds,
        "busy": (time.process_time() - cpu) / seconds,  # of this process: near 1, it is we who are slow
        "statuses": {status.decode(): times for status, times in statuses.items()},
    }


async def fill(task: dict[str, Any]) -> dict[str, Any]:
    """Send many new alerts in large bodies, one body after the other: not to measure, but to have so many incidents."""
    client = await connect(task["port"])
    first, distinct, each = task["first"], task["distinct"], task["each"]
    began = time.perf_counter()
    for start in range(first, first + distinct, each):
        request = post(notification(task["name"], range(start, min(start + each, first + distinct))))
        status = await client.ask(request)
        if status != 200:
            raise RuntimeError(f"a body of {each} alerts was answered {status}")
    client.close()
    return {"seconds": time.perf_counter() - began}
