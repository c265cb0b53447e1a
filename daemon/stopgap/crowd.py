"""Crowd: how many connections there may be at once, and which one goes when there are more.

Descriptors are for the work first: commands, probes, the store. So strangers get half of them at most. When all of these are
taken, the oldest connection that has no request under way makes room, so that nobody keeps others out by connecting and saying
nothing. Whoever sends a header slowly is one of these: aiohttp ends it after `keepalive_timeout` (body.py).
"""

import asyncio
import resource
from collections.abc import Callable
from datetime import timedelta

import structlog
from aiohttp import web

from stopgap.seldom import Seldom

log = structlog.get_logger(__name__)

LEAST, MOST = 16, 4096  # connections


def room() -> int:
    """Return how many connections half of the descriptors are."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST if soft == resource.RLIM_INFINITY else min(max(soft // 2, LEAST), MOST)


class Crowd:
    """All connections of one server; `enter` is what a listening socket calls for each new one."""

    def __init__(self, server: web.Server, limit: int, shed: Callable[[], object]) -> None:
        self._server = server
        self._limit = limit
        self._shed = shed
        self._seldom = Seldom(timedelta(seconds=10))

    def enter(self) -> asyncio.Protocol:
        """Return the protocol of a new connection, after making room for it; without room it is closed at once."""
        fresh = self._server()
        present = [each for each in self._server.connections if each.transport is not None]  # not yet closing
        if len(present) >= self._limit:
            gone = next((each for each in present if not _busy(each)), fresh)
            if gone is fresh:  # it is connected in the next turn of the loop, and ended in the one after
                loop = asyncio.get_running_loop()
                loop.call_soon(loop.call_soon, fresh.force_close)
            else:
                gone.force_close()
            self._shed()
            self._say(refused=gone is fresh)
        return fresh

    def _say(self, *, refused: bool) -> None:
        unsaid = self._seldom.ask()
        if unsaid is not None:
            why = "all have requests under way" if refused else "the oldest idle one is closed"
            log.warning("connections_full", limit=self._limit, why=why, unsaid=unsaid)


def _busy(connection: web.RequestHandler) -> bool:
    """Tell whether a request is under way; aiohttp says so nowhere in public, and where it does not at all, none is ended."""
    return bool(getattr(connection, "_request_in_progress", True))
