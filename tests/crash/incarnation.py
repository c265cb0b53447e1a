"""Incarnation: one life of a daemon, from the fork to its end. Zygote: the client of who forks it."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from tests.crash.knife import Knife

UP_SECONDS = 60.0
END_SECONDS = 30.0


class Zygote:
    """The process that forks daemons; belongs to no event loop."""

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="zygote-")
        self.socket = Path(self._folder.name) / "s"
        environ = {name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH") if name in os.environ}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.zygote", str(self.socket)],
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline() != b"ready\n":
            raise AssertionError(f"the zygote ended with {self._process.wait()}")
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(END_SECONDS)
        self._process.stdout.close()
        self._folder.cleanup()

    async def birth(self, environ: Mapping[str, str], log: Path, knife: Knife) -> "Incarnation":
        """Fork a daemon; it may be dead before it listens."""
        reader, writer = await asyncio.open_unix_connection(self.socket)
        request = {
            "environ": dict(environ),
            "log": str(log),
            "knife": knife.written(),
            "orphans_live": knife.orphans_live,
        }
        writer.write(json.dumps(request).encode() + b"\n")
        born = json.loads(await reader.readline())
        return Incarnation(born["born"], reader, writer)


class Incarnation:
    """A daemon that lives or has lived."""

    def __init__(self, pid: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.pid = pid
        self.started = asyncio.Event()
        self.ended = asyncio.Event()
        self.code: int | None = None
        self._reader = reader
        self._writer = writer
        self._task = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        while line := await self._reader.readline():
            said: dict[str, Any] = json.loads(line)
            if "started" in said:
                self.started.set()
            if "ended" in said:
                self.code = said["ended"]
        self.ended.set()
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()

    @property
    def killed(self) -> bool:
        """Tell whether it ended by SIGKILL."""
        return self.code == -signal.SIGKILL

    def send(self, number: int = signal.SIGKILL) -> None:
        """Send it a signal, if it lives."""
        if not self.ended.is_set():
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def up(self, within: float = UP_SECONDS) -> bool:
        """Wait until it listens; False when it died over that."""
        tasks = [asyncio.create_task(self.started.wait()), asyncio.create_task(self.ended.wait())]
        await asyncio.wait(tasks, timeout=within, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        if not (self.started.is_set() or self.ended.is_set()):
            raise AssertionError(f"pid {self.pid} did not listen within {within:g} s")
        return self.started.is_set() and not self.ended.is_set()

    async def over(self, within: float) -> bool:
        """Wait for its end, for so many seconds."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.ended.wait(), within)
        return self.ended.is_set()

    async def end(self, number: int = signal.SIGKILL) -> None:
        """End it, and wait until it and its commands are gone."""
        self.send(number)
        if not await self.over(END_SECONDS):
            self.send(signal.SIGKILL)
            raise AssertionError(f"pid {self.pid} did not end within {END_SECONDS:g} s of signal {number}")
        await self._task
