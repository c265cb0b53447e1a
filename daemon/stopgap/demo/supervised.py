"""Supervised: the programs of the lab under a real supervisord, which is our only child and dies with us.

Where `setpriv` (util-linux) is installed, supervisord and every program are told by the kernel to end when their parent
dies, however it died. Elsewhere a killed lab may leave them behind.
"""

import asyncio
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from xmlrpc.client import Fault, ServerProxy

from stopgap.errors import StopgapError

_STOP_WITHIN = 12.0  # seconds; supervisord itself gives each program five, all at once
_ANSWER_WITHIN = 5.0
_LONGEST_SOCKET = 100  # bytes of a path; the kernel takes 107


class LabError(StopgapError):
    """The lab could not be set up; the text says what did not come up, with the end of its log."""


@dataclass(frozen=True, slots=True)
class Program:
    """One supervised process."""

    name: str
    argv: tuple[str, ...]
    priority: int = 100  # lower starts first and stops last
    again: bool = True  # started again when it dies


class Supervised:
    """A supervisord in `directory` with its programs. `start` returns when it answers, `stop` when everything has ended."""

    def __init__(self, directory: Path, programs: Sequence[Program]) -> None:
        self.directory, self.programs = directory, tuple(programs)
        self.socket = directory / "supervisor.sock"
        if len(os.fsencode(self.socket)) > _LONGEST_SOCKET:
            raise LabError(f"{directory} is too long a path for a unix socket: choose a shorter one")
        self.configuration = directory / "supervisord.conf"
        self._process: asyncio.subprocess.Process | None = None
        self._pids: dict[str, int] = {}

    async def start(self) -> None:
        """Write the configuration and start."""
        self.configuration.write_text(self._ini(), encoding="utf-8")
        self._process = await asyncio.create_subprocess_exec(
            *leash(),
            *(sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(self.configuration)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for us; we stop it in our own order
        )

    @property
    def alive(self) -> bool:
        """Tell whether supervisord runs."""
        return self._process is not None and self._process.returncode is None

    async def call(self, method: str, *arguments: object) -> Any:
        """Ask supervisord. Raises OSError while it does not listen, `xmlrpc.client.Fault` when it refuses."""
        return await asyncio.to_thread(self._call, method, arguments)

    def _call(self, method: str, arguments: tuple[object, ...]) -> Any:
        from supervisor.xmlrpc import SupervisorTransport  # noqa: PLC0415 - only the extra `demo` has it

        transport = SupervisorTransport("", "", serverurl=f"unix://{self.socket}")
        try:
            return getattr(ServerProxy("http://127.0.0.1", transport=transport).supervisor, method)(
                *arguments
            )
        finally:
            transport.close()

    async def pids(self) -> dict[str, int]:
        """Return program → process id of those that run, and remember them for `stop`."""
        found = cast("list[dict[str, Any]]", await self.call("getAllProcessInfo"))
        self._pids = {one["name"]: one["pid"] for one in found if one["pid"]}
        return dict(self._pids)

    async def restart(self, name: str) -> None:
        """Stop the program if it runs, start it, and return when supervisord says that it runs."""
        with suppress(Fault):  # NOT_RUNNING: it is what we want
            await self.call("stopProcess", name, True)
        await self.call("startProcess", name, True)

    async def stop(self, within: float = _STOP_WITHIN) -> None:
        """Stop everything: SIGTERM, which supervisord passes on, and SIGKILL to what is left `within` seconds later."""
        if self._process is None:
            return
        with suppress(OSError, Fault):  # TimeoutError is an OSError
            async with asyncio.timeout(min(within, _ANSWER_WITHIN)):
                await self.pids()
                # all at once: on SIGTERM supervisord would take a second for each
                await self.call("stopAllProcesses", False)
        with suppress(ProcessLookupError):
            self._process.terminate()
        try:
            async with asyncio.timeout(within):
                await self._process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        for pid in self._pids.values():
            if _is_ours(pid, self.directory):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def tail(self, name: str, lines: int = 8) -> str:
        """Return the end of a program's log."""
        try:
            text = (self.directory / f"{name}.log").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return "(no log)"
        return "\n".join(text.splitlines()[-lines:])

    def _ini(self) -> str:
        here = str(self.directory).replace("%", "%%")
        head = f"""\
[unix_http_server]
file={here}/supervisor.sock
chmod=0700

[supervisord]
logfile={here}/supervisord.log
pidfile={here}/supervisord.pid
childlogdir={here}
nodaemon=true
silent=true

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[supervisorctl]
serverurl=unix://{here}/supervisor.sock
"""
        return head + "".join(self._section(program) for program in self.programs)

    def _section(self, program: Program) -> str:
        command = shlex.join((*leash(), *program.argv)).replace("%", "%%")
        here = str(self.directory).replace("%", "%%")
        return f"""
[program:{program.name}]
command={command}
directory={here}
priority={program.priority}
autorestart={"true" if program.again else "false"}
startsecs=1
startretries=3
stopwaitsecs=5
redirect_stderr=true
stdout_logfile={here}/{program.name}.log
stdout_logfile_maxbytes=1MB
stdout_logfile_backups=0
"""


def leash() -> tuple[str, ...]:
    """Return the words before a command that make the kernel end it when its parent dies; none where that cannot be."""
    setpriv = shutil.which("setpriv")
    return (setpriv, "--pdeathsig", "SIGTERM", "--") if setpriv and sys.platform == "linux" else ()


def _is_ours(pid: int, directory: Path) -> bool:
    """Tell whether the process still is one of this lab's: ids are given out again."""
    try:
        return Path(f"/proc/{pid}/cwd").readlink() == directory
    except OSError:
        return False
