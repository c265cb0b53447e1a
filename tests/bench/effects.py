"""Effects: what an action leaves outside, seen at the moment when it is there: a request at our sink, or a file with a name.

Each effect bears the number of its alert, so that any number of them may be under way at once.
"""

import asyncio
import ctypes
import os
import re
import struct
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

_NUMBER = re.compile(rb"host-(\d{7})")
_IN_CREATE = 0x100  # inotify(7)
_EVENT = struct.Struct("iIII")  # wd, mask, cookie, length of the name


class Effects(ABC):
    """When each alert's effect was first seen, by the alert's number."""

    def __init__(self) -> None:
        self.seen: dict[int, float] = {}
        self._awaited: dict[int, asyncio.Future[float]] = {}

    async def of(self, number: int) -> float:
        """Wait for the effect of one alert, and return its instant."""
        if number not in self.seen:
            self._awaited[number] = asyncio.get_running_loop().create_future()
            await self._awaited[number]
        return self.seen[number]

    def note(self, text: bytes) -> None:
        """Take note of all the effects that a text names."""
        at = time.perf_counter()
        for found in _NUMBER.findall(text):
            number = int(found)
            if number in self.seen:
                continue
            self.seen[number] = at
            waiting = self._awaited.pop(number, None)
            if waiting is not None and not waiting.done():
                waiting.set_result(at)

    @abstractmethod
    async def watch(self) -> None:
        """Begin to look."""

    @abstractmethod
    def close(self) -> None:
        """Look no more."""


class Requests(Effects):
    """What an http action sends to our sink."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port
        self._server: asyncio.Server | None = None

    async def watch(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Sink(self), "127.0.0.1", self._port)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()


class _Sink(asyncio.Protocol):
    def __init__(self, effects: Requests) -> None:
        self._effects = effects
        self._transport: asyncio.Transport | None = None
        self._begun = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        self._begun += data
        if _NUMBER.search(self._begun) and self._begun.endswith(b"}"):  # head and body may come apart
            self._effects.note(self._begun)
            self._begun = b""
            self._transport.write(b"HTTP/1.1 204 No Content\r\n\r\n")


class Files(Effects):
    """The files that commands make in one folder, as the kernel tells of them (inotify)."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self._descriptor = -1

    async def watch(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if libc.inotify_add_watch(self._descriptor, os.fsencode(self._folder), _IN_CREATE) < 0:
            raise OSError(ctypes.get_errno(), f"{self._folder} cannot be watched")
        asyncio.get_running_loop().add_reader(self._descriptor, self._read)

    def _read(self) -> None:
        read = os.read(self._descriptor, 64 * 1024)
        at = 0
        while at < len(read):
            length = _EVENT.unpack_from(read, at)[3]
            at += _EVENT.size
            self.note(read[at : at + length])
            at += length

    def close(self) -> None:
        if self._descriptor >= 0:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)


def effects_of(task: dict[str, Any]) -> Effects | None:
    """Return who sees what a task's alerts lead to; None when nothing is to be seen but answers."""
    if "sink" in task:
        return Requests(task["sink"])
    return Files(Path(task["folder"])) if "folder" in task else None
