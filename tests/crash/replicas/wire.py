"""Wire: one replica's way to the database, which can be cut, silent or slow. Every byte goes through it.

A wire that is silent takes what is sent and passes nothing on, in either direction, as a network does that drops packets: nobody is
told. Speaking again, it delivers late what it held back, or resets all connections.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from typing import Self

PIECE = 64 * 1024
LAST_WORDS = 0.3  # seconds that the server is given to read what came before a cut


class Blow(Enum):
    """What becomes of a connection at a piece that somebody waited for."""

    NONE = "none"
    BEFORE = "before"  # cut, and the piece never arrives
    AFTER = "after"  # the piece arrives, and no answer comes back


Ambush = Callable[[bytes], Blow]
"""Looks at each piece that is sent to the database."""


class Wire:
    """Listens on `port` of loopback from `open` on. `to` tells where the database listens."""

    def __init__(self, to: Callable[[], int]) -> None:
        self.delay = 0.0  # seconds, each way
        self.refuses = False
        self.ambush: Ambush | None = None
        self._to = to
        self._speaks = asyncio.Event()
        self._speaks.set()
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Reset all connections."""
        for link in list(self._links):
            link.reset()

    def silence(self) -> None:
        """Pass nothing on from now on."""
        self._speaks.clear()

    def speak(self) -> None:
        """Pass everything on again, first what was held back."""
        self._speaks.set()

    def heal(self) -> None:
        """Be a good wire."""
        self.delay, self.refuses, self.ambush = 0.0, False, None
        self.speak()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self.refuses:
            _reset(writer)
            return
        await self._speaks.wait()
        try:
            there = await asyncio.open_connection("127.0.0.1", self._to())
        except OSError:  # the database is down
            _reset(writer)
            return
        link = _Link((reader, writer), there)
        self._links.add(link)
        try:
            await asyncio.gather(self._pump(link, outward=True), self._pump(link, outward=False))
        finally:
            self._links.discard(link)
            link.close()

    async def _pump(self, link: "_Link", *, outward: bool) -> None:
        """Pass on one direction until its end, which ends the other direction too."""
        reader, writer = (link.here[0], link.there[1]) if outward else (link.there[0], link.here[1])
        with suppress(ConnectionError):
            while piece := await reader.read(PIECE):
                if self.delay:
                    await asyncio.sleep(self.delay)
                await self._speaks.wait()
                blow = self.ambush(piece) if outward and self.ambush is not None else Blow.NONE
                if blow is Blow.BEFORE:
                    link.reset()
                    return
                writer.write(piece)
                await writer.drain()
                if blow is Blow.AFTER:
                    _reset(link.here[1])
                    await asyncio.sleep(LAST_WORDS)
                    link.reset()
                    return
            await self._speaks.wait()
        link.close()


class _Link:
    """One connection: the daemon's half and the database's."""

    def __init__(
        self,
        here: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        there: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self.here = here
        self.there = there

    def close(self) -> None:
        for _, writer in (self.here, self.there):
            writer.close()

    def reset(self) -> None:
        for _, writer in (self.here, self.there):
            _reset(writer)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close at once, with RST instead of FIN, and forget what was still to be sent."""
    its = writer.get_extra_info("socket")
    with suppress(OSError):
        its.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
