"""Arrivals: alerts that come one after the other, or at a rate, and how long it takes until they are answered and acted upon.

At a rate the loop is open: each alert has an instant at which it is due, on a schedule fixed before, and its latency counts from
then, whether it could be sent at that instant or not. A server that stalls does not slow the schedule down, so its stall is counted
for every alert that came meanwhile (no coordinated omission).
"""

import asyncio
import time
from collections import Counter, deque
from typing import Any

from tests.bench.bodies import WEBHOOK, notification, post
from tests.bench.effects import Effects, effects_of
from tests.bench.wire import Client, connect

CONNECTIONS = 64  # at first; more are opened when all of them wait for an answer
MOST_CONNECTIONS = 400
AHEAD = 0.2  # seconds until the first is due


async def one_by_one(task: dict[str, Any]) -> dict[str, Any]:
    """Send one alert, wait for its effect, pause, send the next; from just before it is sent until the effect is there."""
    effects, client = effects_of(task), await connect(task["port"])
    if effects is not None:
        await effects.watch()
    to_answer, to_effect = [], []
    for number, request in _requests(task):
        began = time.perf_counter()
        answered = client.ask(request)
        answered.add_done_callback(lambda _, began=began: to_answer.append(time.perf_counter() - began))
        async with asyncio.timeout(5):
            status = await answered
            if status != 200:
                raise RuntimeError(f"the alert was answered {status}")
            if effects is not None:
                to_effect.append(await effects.of(number) - began)
        await asyncio.sleep(task["pause"])
    client.close()
    if effects is not None:
        effects.close()
    return {"to_answer": to_answer, "to_effect": to_effect}


async def on_schedule(task: dict[str, Any]) -> dict[str, Any]:
    """Send alerts at `rate` per second, and wait for what is still to come for `patience` seconds after the last was due."""
    requests, effects = _requests(task), effects_of(task)
    if effects is not None:
        await effects.watch()
    post_office = _PostOffice(task["port"])
    await post_office.open()
    cpu, first_due = time.process_time(), time.perf_counter() + AHEAD
    due_at: dict[int, float] = {}
    late = []
    for place, (number, request) in enumerate(requests):
        due = due_at[number] = first_due + place / task["rate"]
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        late.append(time.perf_counter() - due)
        post_office.send(number, request)
    until = max(due_at.values()) + task["patience"]
    await _all_there(due_at, post_office, effects, until)
    over = time.perf_counter()
    busy = (time.process_time() - cpu) / (over - first_due)
    seen = post_office.answered_at if effects is None else effects.seen
    post_office.close()
    if effects is not None:
        effects.close()
    return {
        "to_answer": [post_office.answered_at.get(number, over) - due for number, due in due_at.items()],
        "to_effect": [seen.get(number, over) - due for number, due in due_at.items()],
        "missing": sum(
            number not in seen for number in due_at
        ),  # their latency is what it was when we gave up
        "statuses": {str(status): times for status, times in post_office.statuses.items()},
        "sent_late": late,
        "connections": post_office.opened,
        "seconds": over - first_due,
        "busy": busy,
    }


class _PostOffice:
    """Connections that take a request at once: an idle one, else a new one, else the first that gets free."""

    def __init__(self, port: int) -> None:
        self.answered_at: dict[int, float] = {}
        self.statuses: Counter[int] = Counter()
        self.opened = 0
        self._port = port
        self._idle: list[Client] = []
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._opening: set[asyncio.Task[None]] = set()
        self._all: list[Client] = []

    async def open(self) -> None:
        for _ in range(CONNECTIONS):
            await self._open()

    async def _open(self) -> None:
        self.opened += 1
        client = await connect(self._port)
        self._all.append(client)
        self._free(client)

    def send(self, number: int, request: bytes) -> None:
        if self._idle:
            self._send(self._idle.pop(), number, request)
            return
        self._waiting.append((number, request))
        if self.opened < MOST_CONNECTIONS:
            task = asyncio.create_task(self._open())
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    def _send(self, client: Client, number: int, request: bytes) -> None:
        def answered(answer: "asyncio.Future[int]") -> None:
            self.statuses[answer.result()] += 1
            self.answered_at[number] = time.perf_counter()
            self._free(client)

        client.ask(request).add_done_callback(answered)

    def _free(self, client: Client) -> None:
        if self._waiting:
            self._send(client, *self._waiting.popleft())
        else:
            self._idle.append(client)

    def close(self) -> None:
        for client in self._all:
            client.close()


async def _all_there(
    due_at: dict[int, float], post_office: _PostOffice, effects: Effects | None, until: float
) -> None:
    while time.perf_counter() < until:
        if len(post_office.answered_at) == len(due_at) and (
            effects is None or len(effects.seen) == len(due_at)
        ):
            return
        await asyncio.sleep(0.05)


def _requests(task: dict[str, Any]) -> list[tuple[int, bytes]]:
    """Make all requests beforehand, so that making them takes no time from sending them."""
    numbers = range(task["first"], task["first"] + task["distinct"])
    path = task.get("path", WEBHOOK)
    return [(n, post(notification(task["name"], range(n, n + 1)), path)) for n in numbers]
