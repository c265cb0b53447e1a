"""Outside: Prometheus, Alertmanager, a contact, a web service in one server that answers as badly as it is told."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from aiohttp import web
from tests.prometheus_server import free_port

CHUNK = b"x" * 65536
HUGE = 100 * 1024 * 1024  # bytes


class Manner(StrEnum):
    """How it answers."""

    WELL = "well"
    DOWN = "down"  # nobody listens
    HANGS = "hangs"
    DRIPS = "drips"  # a byte now and then, without end
    GARBAGE = "garbage"
    HUGE = "huge"
    ENDLESS = "endless"
    CIRCLE = "circle"  # a redirect to itself


class Outside:
    """One server on one port, whatever becomes of it. `asked` counts requests by path and manner."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.manner = Manner.WELL
        self.asked: Counter[tuple[str, Manner]] = Counter()
        self.told: list[Any] = []
        self._runner: web.AppRunner | None = None

    async def behave(self, manner: Manner) -> None:
        """Answer like this from now on; what is under way is cut off."""
        self.manner = manner
        await self.stop()
        if manner is not Manner.DOWN:
            app = web.Application()
            app.router.add_route("*", "/{path:.*}", self._answer)
            self._runner = web.AppRunner(
                app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None
            )
            await self._runner.setup()
            await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def stop(self) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.asked[request.path, self.manner] += 1
        match self.manner:
            case Manner.HANGS:
                await asyncio.sleep(3600)
            case Manner.GARBAGE:
                return web.Response(body=bytes(range(256)) * 8, content_type="application/json")
            case Manner.CIRCLE:
                return web.Response(status=307, headers={"Location": str(request.url)})
            case Manner.HUGE | Manner.ENDLESS | Manner.DRIPS:
                return await self._go_on(request)
        return await self._well(request)

    async def _go_on(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        sent = 0
        while self.manner is not Manner.HUGE or sent < HUGE:
            drips = self.manner is Manner.DRIPS
            await response.write(b" " if drips else CHUNK)
            await asyncio.sleep(0.1 if drips else 0)
            sent += len(CHUNK)
        return response

    async def _well(self, request: web.Request) -> web.StreamResponse:
        now = datetime.now(UTC).isoformat()
        match request.path:
            case "/api/v1/query":
                found = {"resultType": "scalar", "result": [0, "1"]}
                return web.json_response({"status": "success", "data": found})
            case "/api/v2/alerts":
                return web.json_response([])
            case "/api/v2/receivers":
                return web.json_response([{"name": "stopgap"}])
            case "/api/v2/status":
                return web.json_response({"uptime": now, "versionInfo": {"version": "0.25"}})
            case "/contact":
                self.told.append(await request.json())
        return web.Response(text="well")


@asynccontextmanager
async def outside() -> AsyncIterator[Outside]:
    """Answer well, at first, until the block ends."""
    one = Outside()
    await one.behave(Manner.WELL)
    try:
        yield one
    finally:
        await one.stop()
