"""Replica: one daemon of several, and its way to the database; whoever looks after it starts it again when it is dead."""

import asyncio
import json
import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tests.crash.incarnation import Incarnation, Zygote
from tests.crash.replicas.wire import Wire

AGAIN = 0.3  # seconds until a dead one is started again, if nothing else is said
CANNOT_START = 2
KILLED, TERMINATED = -signal.SIGKILL, -signal.SIGTERM
ENDS = {signal.SIGKILL: {KILLED}, signal.SIGTERM: {0, TERMINATED}}


class Replica:
    """A name, a place to listen and a directory, for one daemon after the other."""

    def __init__(
        self, name: str, folder: Path, environ: Mapping[str, str], wire: Wire, port: int, zygote: Zygote
    ) -> None:
        self.name = name
        self.wire = wire
        self.url = f"http://127.0.0.1:{port}"
        self.fenced = 0  # how often the kernel ended one that was about to act too late
        self.log = folder / f"{name}.log"
        self.wrong: list[str] = []  # ends that nobody can account for
        self._environ = dict(environ)
        self._zygote = zygote
        self._daemon: Incarnation | None = None
        self._rest = AGAIN
        self._told: set[signal.Signals] = set()  # signals that should end it
        self._over = False
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Let one live from now on."""
        self._task = asyncio.create_task(self._look_after(), name=f"replica {self.name}")

    async def _look_after(self) -> None:
        while not self._over:
            self._told = set()
            self._daemon = await self._birth()
            await self._daemon.ended.wait()
            code = self._daemon.code if self._daemon.code is not None else -1
            self._account_for(code)
            if not self._over:
                await asyncio.sleep(self._rest)
            self._rest = AGAIN

    def _account_for(self, code: int) -> None:
        """See whether an end was asked for, or is one that a daemon may choose by itself."""
        if code == KILLED and signal.SIGKILL not in self._told:
            self.fenced += 1
        elif code not in {CANNOT_START}.union(*(ENDS[number] for number in self._told)):
            self.wrong.append(f"{self.name} ended with {code} after {sorted(self._told)}: {self.said()}")

    async def _birth(self) -> Incarnation:
        reader, writer = await asyncio.open_unix_connection(self._zygote.socket)
        asked = {
            "environ": self._environ,
            "log": str(self.log),
            "knife": None,
            "launcher": "tests.crash.replicas.launcher",
        }
        writer.write(json.dumps(asked).encode() + b"\n")
        born = json.loads(await reader.readline())
        return Incarnation(born["born"], reader, writer)

    # --- what is done to it ---

    def kill(self, rest: float) -> None:
        """Kill it; the next one comes after so many seconds."""
        self._rest = rest
        self._send(signal.SIGKILL)

    def hand_over(self, rest: float) -> None:
        """Ask it to end; the next one comes after so many seconds."""
        self._rest = rest
        self._send(signal.SIGTERM)

    def halt(self) -> None:
        """Stop it where it is."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    async def end(self, within: float) -> int | None:
        """End it for good; returns its exit code, None when it did not end in time."""
        self._over = True
        self.go_on()
        self._send(signal.SIGTERM)
        if self._task is None:
            return 0
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._task), within)
            return self._daemon.code if self._daemon is not None else 0
        await self.destroy()
        return None

    async def destroy(self) -> None:
        """Leave nothing of it."""
        self._over = True
        self._send(signal.SIGKILL)
        if self._daemon is not None:
            await self._daemon.ended.wait()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def said(self) -> str:
        """Return the end of its log."""
        return self.log.read_text(errors="replace")[-1500:] if self.log.exists() else ""

    def _send(self, number: signal.Signals) -> None:
        self._told.add(number)
        self._signal(number)

    def _signal(self, number: int) -> None:
        if self._daemon is not None and not self._daemon.ended.is_set():
            with suppress(ProcessLookupError):
                os.kill(self._daemon.pid, number)
