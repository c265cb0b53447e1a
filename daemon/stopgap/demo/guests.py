"""Guests: the traffic that is offered to the hotel, whatever the hotel lets in.

`guest_requests_total` counts what was offered, as a load balancer in front of the rate limit would.
"""

import asyncio
import contextlib
import itertools
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web
from prometheus_client import CollectorRegistry, Counter

from stopgap.demo.serving import add_metrics, arguments, serve

GUESTS = 10
CALM = 0.4  # requests a second and guest: 24 a minute, far below any limit
SURGE = 4.0  # 240 a minute: too many for a limit of 120, fine for one of 300
_FASTEST = 20.0
_MOST_AT_ONCE = 400  # a hotel that does not answer piles up no more than this
_VOICE_EVERY = 5  # one message in five is spoken
_ROOMS = 4
_PATIENCE = aiohttp.ClientTimeout(total=20)


@dataclass
class Guests:
    """Ten guests, each of whom sends `rate` messages a second."""

    url: str
    rate: float = CALM
    _waiting: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.registry = CollectorRegistry()
        self._offered = Counter("guest_requests", "Requests offered to the hotel", registry=self.registry)

    async def _send(self, session: aiohttp.ClientSession, guest: int, turn: int) -> None:
        query = {"room": str(turn % _ROOMS), "kind": "voice" if turn % _VOICE_EVERY == 0 else "text"}
        address = {"X-Forwarded-For": f"192.0.2.{guest}"}
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with session.get(f"{self.url}/api/availability", params=query, headers=address) as answer:
                await answer.read()

    async def _talk(self, session: aiohttp.ClientSession, guest: int) -> None:
        for turn in itertools.count(guest):
            self._offered.inc()
            if len(self._waiting) < _MOST_AT_ONCE:
                task = asyncio.create_task(self._send(session, guest, turn))
                self._waiting.add(task)
                task.add_done_callback(self._waiting.discard)
            await asyncio.sleep(random.uniform(0.8, 1.2) / self.rate)  # noqa: S311 - jitter, not a secret

    async def run(self) -> None:
        """Send for ever."""
        async with (
            aiohttp.ClientSession(
                timeout=_PATIENCE, connector=aiohttp.TCPConnector(limit=_MOST_AT_ONCE)
            ) as session,
            asyncio.TaskGroup() as crowd,
        ):
            for guest in range(1, GUESTS + 1):
                crowd.create_task(self._talk(session, guest))


CROWD = web.AppKey("crowd", Guests)


async def _control(request: web.Request) -> web.Response:
    crowd, wish = request.app[CROWD], await request.json()
    crowd.rate = min(_FASTEST, max(0.1, float(wish.get("rate", crowd.rate))))
    return web.json_response({"rate": crowd.rate})


async def _running(app: web.Application) -> AsyncIterator[None]:
    task = asyncio.create_task(app[CROWD].run())
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def application(url: str) -> web.Application:
    """Build the crowd around the hotel at `url`; `PUT /control {"rate": 4}` sets the messages a second and guest."""
    app = web.Application()
    app[CROWD] = Guests(url)
    app.router.add_put("/control", _control)
    add_metrics(app, app[CROWD].registry)
    app.cleanup_ctx.append(_running)
    return app


def main() -> None:
    """Run the crowd: `python -m stopgap.demo.guests --port N --url URL`."""
    parser = arguments("guests who write to the hotel")
    parser.add_argument("--url", required=True, help="the hotel's address")
    options = parser.parse_args()
    serve(application(options.url), options.port)


if __name__ == "__main__":
    main()
