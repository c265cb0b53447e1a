"""Front: the listening sockets, and the application that answers on them; another one takes its place without closing the door."""

import socket
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from stopgap.body import SERVER

BACKLOG = 1024  # connections that wait to be taken
SHUTDOWN = 5.0  # seconds that open connections are given at the end


class Front:
    """Opened by the first `show`."""

    def __init__(self, host: str, port: int) -> None:
        self._address = host, port
        self._sockets: list[socket.socket] = []
        self._runner: web.AppRunner | None = None

    async def show(self, app: web.Application) -> None:
        """Let this application answer from now on. Raises OSError when the address cannot be listened on."""
        runner = web.AppRunner(app, shutdown_timeout=SHUTDOWN, **SERVER)
        await runner.setup()
        before, self._runner = self._runner, runner
        if not self._sockets:
            self._sockets = _listening(*self._address)
        for each in self._sockets:
            await web.SockSite(runner, each.dup(), backlog=BACKLOG).start()
        if before is not None:
            await before.cleanup()

    async def close(self) -> None:
        """Take no more requests, and end those that are open."""
        for each in self._sockets:
            each.close()
        if self._runner is not None:
            await self._runner.cleanup()


def _listening(host: str, port: int) -> list[socket.socket]:
    """Listen on every address that a name stands for."""
    asked: Mapping[str, Any] = {"type": socket.SOCK_STREAM, "flags": socket.AI_PASSIVE}
    found = {(each[0], each[4]) for each in socket.getaddrinfo(host, port, **asked)}
    opened: list[socket.socket] = []
    try:
        for family, address in sorted(found):
            one = socket.socket(family, socket.SOCK_STREAM)
            opened.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.bind(address)
            one.listen(BACKLOG)
    except OSError as error:
        for one in opened:
            one.close()
        raise OSError(error.errno, f"cannot listen on {host}:{port}: {error.strerror}") from error
    return opened
