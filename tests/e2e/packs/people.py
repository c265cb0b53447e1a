"""People: whom the contacts of a pack lead to; they remember what they were told."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

HOST = "127.0.0.1"


class People:
    """Takes messages as Apprise posts them to `json://`; `heard` is contact, title and text of each, in order."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str, str]] = []
        self.url = ""

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Take messages while inside."""
        app = web.Application()
        app.router.add_post("/{contact}", self._take)
        app.router.add_post("/{contact}/", self._take)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await runner.setup()
        try:
            await web.TCPSite(runner, HOST, 0).start()
            self.url = f"json://{HOST}:{runner.addresses[0][1]}"
            yield
        finally:
            await runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        message = await request.json()
        self.heard.append((request.match_info["contact"], message["title"], message["message"]))
        return web.Response()
