"""Front: the listening sockets, and the application that answers on them; another one takes its place without closing the door."""

import asyncio
import errno
import socket
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from stopgap.body import SERVER
from stopgap.crowd import Crowd, room

BACKLOG = 1024  # connections that wait to be taken
AT_ONCE = 32  # connections that are taken in one turn of the loop
SHUTDOWN = 5.0  # seconds that open connections are given at the end
CHANGE = 0.5  # seconds that requests of the application before are waited for; the others end meanwhile
STALLED = 30.0  # seconds that a client may leave its answer unread


class Front:
    """Opened by the first `show`. The sockets stay: a door that closes loses who is just coming in."""

    def __init__(self, host: str, port: int) -> None:
        self._address = host, port
        self._runner: web.AppRunner | None = None
        self._leaving: set[asyncio.Task[None]] = set()  # applications that still answer what reached them
        self._crowd: Crowd | None = None
        self._doors: list[asyncio.Server] = []
        self.on_shed: Callable[[], object] = lambda: None
        """Hears of each connection that went because there were too many."""

    async def show(self, app: web.Application) -> None:
        """Let this application answer from now on. Raises OSError when the address cannot be listened on.

        Requests under way are answered by the one before. Slow ones are not waited for: who takes the lead has to go on.
        """
        runner = web.AppRunner(app, shutdown_timeout=SHUTDOWN, **SERVER)
        await runner.setup()
        before, self._runner = self._runner, runner
        if runner.server is None:
            raise AssertionError("it is set up")
        self._crowd = Crowd(runner.server, room(), self.on_shed)
        if not self._doors:
            await self._open()
        if before is not None:
            await asyncio.sleep(0)  # who has a protocol of the one before is connected now, and ended with it
            leaving = asyncio.create_task(before.cleanup(), name="front")
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)
            await asyncio.wait([leaving], timeout=CHANGE)

    async def close(self) -> None:
        """Take no more requests, and end those that are open."""
        for door in self._doors:
            door.close()
        if self._runner is not None:
            await self._runner.cleanup()
        await asyncio.gather(*self._leaving)

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        for each in _listening(*self._address):
            self._doors.append(await loop.create_server(self._enter, sock=each, backlog=AT_ONCE))
            each.listen(BACKLOG)  # asyncio's `backlog` is both, and it takes all before it looks at one

    def _enter(self) -> asyncio.Protocol:
        if self._crowd is None:
            raise AssertionError("it is shown")
        return self._crowd.enter()


def _cure(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "stop who listens there (`ss -ltnp` names it), or give this one its own --listen"
    return "name an address of this machine, and a port that it may use, with --listen"


def _listening(host: str, port: int) -> list[socket.socket]:
    """Listen on every address that a name stands for."""
    asked: Mapping[str, Any] = {"type": socket.SOCK_STREAM, "flags": socket.AI_PASSIVE}
    opened: list[socket.socket] = []
    try:
        found = {(each[0], each[4]) for each in socket.getaddrinfo(host, port, **asked)}
        for family, address in sorted(found):
            one = socket.socket(family, socket.SOCK_STREAM)
            opened.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # tcp(7): also ends who keeps its window shut; connections inherit it
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(STALLED * 1000))
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.bind(address)
            one.listen(BACKLOG)
    except OSError as error:
        for one in opened:
            one.close()
        raise OSError(f"cannot listen on {host}:{port}: {error.strerror}; {_cure(error)}") from error
    return opened
