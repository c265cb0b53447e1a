"""Tool: a database's own client program, run by argv; its password goes by the environment and never by argv."""

import asyncio
import gzip
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import IO

from stopgap import process
from stopgap.errors import PermanentError, TemporaryError

_CHUNK = 256 * 1024
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Tool:
    """How programs of one database are run: with which variables (secrets among them), and what to install."""

    env: Mapping[str, str]
    cure: str
    secrets: tuple[str, ...] = ()

    def find(self, *programs: str) -> str:
        """Return the first of several names that is a program here. Blocks; raises PermanentError."""
        for program in programs:
            with suppress(process.NotFound):
                process.find(program)
                return program
        raise PermanentError(f"{programs[0]} is not there: {self.cure}")

    async def run(
        self, argv: Sequence[str], within: timedelta, stdin: bytes | IO[bytes] | None = None
    ) -> bytes:
        """Run a command whose end at the time limit undoes it all, and return what it printed. Raises ActionError."""
        try:
            return await self.act(argv, within, stdin)
        except process.TimedOut as error:
            raise TemporaryError(str(error)) from None

    async def act(
        self, argv: Sequence[str], within: timedelta, stdin: bytes | IO[bytes] | None = None
    ) -> bytes:
        """Run a command. Raises ActionError, and process.TimedOut when it was killed: an unknown outcome."""
        try:
            done = await process.run(argv, timeout=within, stdin=stdin, env=self.env, limit=4 * 1024 * 1024)
        except process.NotFound as error:
            raise PermanentError(f"{error}: {self.cure}") from None
        if done.code != 0:
            raise PermanentError(f"{argv[0]} exited with {done.code}: {done.complaint(self.secrets)}")
        return done.stdout


def packed(path: Path) -> bool:
    """Tell whether a file is compressed by gzip."""
    with path.open("rb") as file:
        return file.read(2) == _GZIP


def unpacked(path: Path) -> IO[bytes]:
    """Open a file for reading, through gzip if it is compressed."""
    return gzip.open(path, "rb") if packed(path) else path.open("rb")  # type: ignore[return-value]


@asynccontextmanager
async def feed(path: Path) -> AsyncIterator[IO[bytes]]:
    """Open a file, compressed or not, as the stdin of a child; no room on disk is needed."""
    if not await asyncio.to_thread(packed, path):
        with path.open("rb") as file:
            yield file
        return
    outlet, inlet = os.pipe()
    pouring = asyncio.ensure_future(asyncio.to_thread(_pour, path, inlet))
    try:
        with os.fdopen(outlet, "rb") as file:
            yield file
    finally:  # the outlet is closed, so the pouring ends
        await asyncio.wait([pouring])
        error = pouring.exception()
    if error is not None:
        raise PermanentError(f"{path}: cannot be read: {error}")


def _pour(path: Path, inlet: int) -> None:
    with os.fdopen(inlet, "wb") as target, gzip.open(path, "rb") as source, suppress(BrokenPipeError):
        while chunk := source.read(_CHUNK):
            target.write(chunk)
