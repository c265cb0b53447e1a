"""Pager: where the pack's contacts lead in the demo. It remembers what people would have been told."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

_HOST = "127.0.0.1"
_MOST = 1000  # messages remembered
CONTACTS = (
    *("default", "oncall", "pms", "pms_team", "database", "performance", "architecture", "capacity"),
    "customers",
)


class Pager:
    """Takes messages as Apprise posts them to `json://`; `told` holds who was told what, in order."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self._port = 0

    def environment(self) -> dict[str, str]:
        """Return the variables that site.yaml and the pack name, leading here."""
        return {f"STOPGAP_CONTACT_{name.upper()}": f"json://{_HOST}:{self._port}/{name}" for name in CONTACTS}

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Take messages while inside."""
        app = web.Application()
        app.router.add_post("/{contact}", self._take)
        app.router.add_post("/{contact}/", self._take)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await runner.setup()
        try:
            await web.TCPSite(runner, _HOST, 0).start()
            self._port = runner.addresses[0][1]
            yield
        finally:
            await runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        message = await request.json()
        if len(self.told) < _MOST:
            self.told.append((request.match_info["contact"], str(message.get("title", ""))))
        return web.Response()
