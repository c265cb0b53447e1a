"""Load: a process of its own that sends notifications over raw sockets, and says how long the answers took.

It reads what to do as one JSON object from stdin and writes one to stdout. Everything is bounded: connections, requests, seconds.
"""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import cycle
from typing import Any

import orjson
from tests.bench.bodies import notification, post

CONNECTIONS = 32
LONGEST = 60.0  # seconds that any one task may take
HEALTHY = b"GET /-/healthy HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
POLL = 0.01  # seconds between two questions whether the daemon still turns


class Client(asyncio.Protocol):
    """One kept-alive connection; `ask` sends a request and gives the status of its answer, one at a time."""

    def __init__(self) -> None:
        self._read = b""
        self._answer: asyncio.Future[int] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._read += data
        if whole(self._read):
            status, self._read = int(self._read[9:12]), b""
            self._give(status)

    def connection_lost(self, exc: Exception | None) -> None:
        self._give(0)

    def _give(self, status: int) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(status)

    def ask(self, request: bytes) -> "asyncio.Future[int]":
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


async def connect(port: int) -> Client:
    _, client = await asyncio.get_running_loop().create_connection(Client, "127.0.0.1", port)
    return client


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


def whole(read: bytes) -> bool:
    """Tell whether an answer is there to its end; ours all have a Content-Length."""
    head, found, body = read.partition(b"\r\n\r\n")
    if not found:
        return False
    return len(body) >= int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0] or 0)


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


class Sink(asyncio.Protocol):
    """Takes what the daemon's http action sends, and notes when."""

    def __init__(self, seen: "asyncio.Queue[float]") -> None:
        self._seen = seen
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        if b"HTTP/1.1\r\n" in data:
            self._seen.put_nowait(time.perf_counter())
            self._transport.write(b"HTTP/1.1 204 No Content\r\n\r\n")


async def actions(task: dict[str, Any]) -> dict[str, Any]:
    """Send one alert after the other, and measure from before it is sent until the action arrives at our sink."""
    seen: asyncio.Queue[float] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Sink(seen), "127.0.0.1", task["sink"])
    client = await connect(task["port"])
    to_ack, to_action = [], []
    for number in range(task["first"], task["first"] + task["distinct"]):
        request = post(notification(task["name"], range(number, number + 1)))
        began = time.perf_counter()
        answered = client.ask(request)
        answered.add_done_callback(lambda _, began=began: to_ack.append(time.perf_counter() - began))
        async with asyncio.timeout(5):
            status, acted = await asyncio.gather(answered, seen.get())
        if status != 200:
            raise RuntimeError(f"the alert was answered {status}")
        to_action.append(acted - began)
        await asyncio.sleep(task["pause"])
    client.close()
    server.close()
    return {"to_ack": to_ack, "to_action": to_action}


async def answers(task: dict[str, Any]) -> dict[str, Any]:
    """Send one alert after the other to a server that does nothing, and measure what the machine alone takes."""
    client = await connect(task["port"])
    taken = []
    for number in range(task["distinct"]):
        request = post(notification(task["name"], range(number, number + 1)))
        began = time.perf_counter()
        await client.ask(request)
        taken.append(time.perf_counter() - began)
        await asyncio.sleep(task["pause"])
    client.close()
    return {"to_answer": taken}


async def large(task: dict[str, Any]) -> dict[str, Any]:
    """Send one notification with many alerts, and ask every 10 ms whether the daemon still turns."""
    request = post(notification(task["name"], range(task["first"], task["first"] + task["distinct"])))
    client, watch = await connect(task["port"]), await connect(task["port"])
    for _ in range(20):  # warm
        await watch.ask(HEALTHY)
    over = asyncio.Event()
    delays, late = [], []

    async def poll() -> None:
        while not over.is_set():
            asked = time.perf_counter()
            await watch.ask(HEALTHY)
            heard = time.perf_counter()
            delays.append(heard - asked)
            await asyncio.sleep(POLL)
            late.append(time.perf_counter() - heard - POLL)

    polling = asyncio.create_task(poll())
    began = time.perf_counter()
    status = await client.ask(request)
    seconds = time.perf_counter() - began
    answered = len(delays)
    await asyncio.sleep(task["seconds"])  # what is done after the answer may stall the loop as well
    over.set()
    await polling
    client.close()
    watch.close()
    return {
        "bytes": len(request),
        "status": status,
        "seconds": seconds,
        "worst_delay": max(delays[: answered + 1], default=0.0),
        "worst_delay_after": max(delays[answered:], default=0.0),
        "worst_of_our_own": max(late, default=0.0),  # how late we woke up ourselves: what the machine adds
    }


TASKS = {"flood": flood, "actions": actions, "answers": answers, "large": large}


async def _main() -> None:
    task = orjson.loads(sys.stdin.buffer.read())
    async with asyncio.timeout(LONGEST):
        result = await TASKS[task["task"]](task)
    sys.stdout.buffer.write(orjson.dumps(result))


if __name__ == "__main__":
    asyncio.run(_main())
