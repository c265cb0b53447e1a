"""Turning: does the daemon still answer others while it works on one large body?"""

import asyncio
import time
from typing import Any

from tests.bench.bodies import notification, post
from tests.bench.wire import HEALTHY, connect

POLL = 0.01  # seconds between two questions whether the daemon still turns


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
