"""PMS stand-in: the booking system that the hotel asks, which belongs to somebody else, breaks and gets slow.

It measures its own answers once in a while, as a blackbox exporter would: `pms_api_latency_seconds` says how slow it is even while
the hotel, behind a cache or in mock mode, does not ask.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from aiohttp import web
from prometheus_client import CollectorRegistry, Gauge, Histogram

from stopgap.demo.serving import LATENCY_BUCKETS, add_metrics, arguments, serve

_LONGEST_DELAY = 30.0
_CANARY_EVERY = 0.5


@dataclass
class Pms:
    """How it does: `broken` answers 503 to everything, `delay` is how many seconds an availability takes."""

    broken: bool = False
    delay: float = 0.0

    def __post_init__(self) -> None:
        self.registry = CollectorRegistry()
        self._latency = Histogram(
            "pms_api_latency_seconds", "Time to answer", buckets=LATENCY_BUCKETS, registry=self.registry
        )
        self._up = Gauge("pms_up", "1 while it answers", registry=self.registry)
        self._up.set_function(lambda: float(not self.broken))

    async def availability(self) -> bool:
        """Look a room up: True when it could."""
        with self._latency.time():
            if not self.broken:
                await asyncio.sleep(self.delay)
            return not self.broken

    async def canary(self) -> None:
        """Measure for ever; a slow answer does not delay the next question."""
        async with asyncio.TaskGroup() as asked:
            while True:
                asked.create_task(self.availability())
                await asyncio.sleep(_CANARY_EVERY)


PMS = web.AppKey("pms", Pms)


async def _health(request: web.Request) -> web.Response:
    if request.app[PMS].broken:
        return web.json_response({"status": "down"}, status=503)
    return web.json_response({"status": "ok"})


async def _availability(request: web.Request) -> web.Response:
    if await request.app[PMS].availability():
        return web.json_response({"room": request.query.get("room", ""), "free": True, "source": "qloapps"})
    return web.json_response({"error": "booking system down"}, status=503)


async def _control(request: web.Request) -> web.Response:
    pms, wish = request.app[PMS], await request.json()
    pms.broken = bool(wish.get("broken", pms.broken))
    pms.delay = min(_LONGEST_DELAY, max(0.0, float(wish.get("delay", pms.delay))))
    return web.json_response({"broken": pms.broken, "delay": pms.delay})


async def _canary(app: web.Application) -> AsyncIterator[None]:
    task = asyncio.create_task(app[PMS].canary())
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def application() -> web.Application:
    """Build the stand-in; `PUT /control {"broken": true, "delay": 3.5}` breaks and slows it."""
    app = web.Application()
    app[PMS] = Pms()
    app.router.add_get("/api/health", _health)
    app.router.add_get("/api/availability", _availability)
    app.router.add_put("/control", _control)
    add_metrics(app, app[PMS].registry)
    app.cleanup_ctx.append(_canary)
    return app


def main() -> None:
    """Run the stand-in: `python -m stopgap.demo.pms --port N`."""
    serve(application(), arguments("booking system stand-in").parse_args().port)


if __name__ == "__main__":
    main()
