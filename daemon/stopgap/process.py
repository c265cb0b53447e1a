"""Process: one child, run to its end or to its time limit, whose whole process group goes when it must go.

It promises: never a shell; an environment without our secrets; output kept as head and tail while all of it is drained, so that a
flooding child neither blocks nor fills memory; nobody who keeps the pipes open, or ignores SIGTERM, can hold us. What the child
reads is whole from its first instant on: if we die, a command that puts an old value back must not take half of it for all.
"""

import asyncio
import errno
import os
import signal
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import IO

from stopgap.errors import StopgapError

INHERITED = ("PATH", "HOME", "LANG", "TZ")
LIMIT = 64 * 1024
GRACE_SECONDS = 2.0
LINGER_SECONDS = 0.5
_STDOUT, _STDERR = 1, 2


class NotFound(StopgapError):  # noqa: N818 - reads as the answer it is
    """The command was never started: it is missing, not executable, or cannot be an argument list."""


class TimedOut(StopgapError):  # noqa: N818 - reads as the answer it is
    """The command was started and killed at its time limit: what it did is not known."""


@dataclass(frozen=True, slots=True)
class Completed:
    """How a child ended: exit code (negative: the signal) and its output, with a note where bytes were left out."""

    code: int
    stdout: bytes
    stderr: bytes

    def complaint(self, secrets: Collection[str] = (), limit: int = 300) -> str:
        """Return the end of what it said, on one line, secrets masked: for errors and findings."""
        text = (self.stderr.strip() or self.stdout.strip()).decode(errors="replace")
        for secret in sorted(filter(None, secrets), key=len, reverse=True):
            text = text.replace(secret, "***")
        line = "".join(c if c.isprintable() else " " for c in text)
        return line if len(line) <= limit else "…" + line[1 - limit :]


class _Kept:
    """A stream of which only the head and the tail are kept."""

    def __init__(self, limit: int) -> None:
        self._half = max(limit // 2, 1)
        self._head = bytearray()
        self._tail = bytearray()
        self._left_out = 0

    def add(self, piece: bytes) -> None:
        room = self._half - len(self._head)
        self._head += piece[:room] if room > 0 else b""
        self._tail += piece[room:] if room > 0 else piece
        if (excess := len(self._tail) - self._half) > 0:
            del self._tail[:excess]
            self._left_out += excess

    def all(self) -> bytes:
        note = f"\n… {self._left_out} bytes left out …\n".encode() if self._left_out else b""
        return bytes(self._head) + note + bytes(self._tail)


class _Child(asyncio.SubprocessProtocol):
    """Collects output and says when the child has exited and when its pipes are closed: two different moments."""

    def __init__(self, limit: int) -> None:
        self.kept = {_STDOUT: _Kept(limit), _STDERR: _Kept(limit)}
        self.exited = asyncio.Event()
        self.silent = asyncio.Event()
        self._open = {_STDOUT, _STDERR}

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self.kept[fd].add(data)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._open.discard(fd)
        if not self._open:
            self.silent.set()

    def process_exited(self) -> None:
        self.exited.set()


async def run(
    argv: Sequence[str],
    *,
    timeout: timedelta,  # noqa: ASYNC109 - it bounds the child, not the coroutine
    stdin: bytes | IO[bytes] | None = None,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    limit: int = LIMIT,
) -> Completed:
    """Run `argv` in a session of its own and return how it ended.

    The child sees PATH, HOME, LANG, TZ and `env`, nothing else, and reads `stdin`: bytes or an open file. At the time limit, and
    when the caller is cancelled, its process group gets SIGTERM and, two seconds later, SIGKILL. Raises NotFound (never started)
    and TimedOut (outcome unknown).
    """
    loop = asyncio.get_running_loop()
    surroundings = {name: os.environ[name] for name in INHERITED if name in os.environ} | dict(env or {})
    try:
        with _source(stdin) as source:
            transport, child = await loop.subprocess_exec(
                lambda: _Child(limit),
                *argv,
                stdin=source,
                env=surroundings,
                cwd=cwd,
                start_new_session=True,
            )
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in an argument
        reason = error.strerror if isinstance(error, OSError) else "an argument holds a NUL byte"
        raise NotFound(f"{argv[0][:200]!r} cannot be run: {reason}") from None
    try:
        async with asyncio.timeout(timeout.total_seconds()):
            await child.exited.wait()
        with suppress(TimeoutError):  # a grandchild may keep the pipes: what it says later is not ours
            await asyncio.wait_for(child.silent.wait(), LINGER_SECONDS)
    except TimeoutError:
        await _end(transport.get_pid(), child)
        raise TimedOut(
            f"{argv[0]!r} did not end within {timeout.total_seconds():g} s and was killed"
        ) from None
    except asyncio.CancelledError:
        await _end(transport.get_pid(), child)
        raise
    finally:
        transport.close()
    return Completed(transport.get_returncode() or 0, child.kept[_STDOUT].all(), child.kept[_STDERR].all())


def find(program: str, env: Mapping[str, str] | None = None) -> str:
    """Return the file that `run` would start for this first argument. Blocks; raises NotFound that says why there is none."""
    path = {**os.environ, **(env or {})}
    folders = [""] if "/" in program else os.get_exec_path(path)
    files = [os.path.join(folder, program) for folder in folders]  # noqa: PTH118 - "" must stay "", it is not "."
    for file in files:
        if os.path.isfile(file) and os.access(file, os.X_OK, effective_ids=True):  # noqa: PTH113 - the same
            return file
    there = any(map(os.path.exists, files))
    reason = os.strerror(errno.EACCES if there else errno.ENOENT)
    raise NotFound(f"{program[:200]!r} cannot be run: {reason}")


@contextmanager
def _source(stdin: bytes | IO[bytes] | None) -> Iterator[int | IO[bytes]]:
    """Yield what the child reads; bytes as a file without a name, in memory where the system has such files."""
    if not isinstance(stdin, bytes):
        yield asyncio.subprocess.DEVNULL if stdin is None else stdin
        return
    memory = os.fdopen(os.memfd_create("stdin"), "w+b") if hasattr(os, "memfd_create") else None
    with memory or tempfile.TemporaryFile() as file:
        file.write(stdin)
        file.seek(0)
        yield file


async def _end(group: int, child: _Child) -> None:
    """End a process group: ask, wait a little for all of it, then insist. A second cancellation insists at once."""
    try:
        _signal(group, signal.SIGTERM)
        async with asyncio.timeout(GRACE_SECONDS):
            while _signal(group, 0) or not child.exited.is_set():  # noqa: ASYNC110 - nobody announces a group's end
                await asyncio.sleep(0.02)
    except TimeoutError:
        pass
    finally:
        _signal(group, signal.SIGKILL)


def _signal(group: int, number: int) -> bool:
    """Signal a process group; tell whether there was one."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True
