"""Process: one child, run to its end or to its time limit, whose whole process group goes when it must go.

It promises: never a shell; an environment without our secrets; output kept as head and tail while all of it is drained, so that a
flooding child neither blocks nor fills memory; nobody who keeps the pipes open, or ignores SIGTERM, can hold us. What the child
reads is whole from its first instant on: if we die, a command that puts an old value back must not take half of it for all.
"""

import asyncio
import errno
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import IO

from stopgap.errors import StopgapError

INHERITED = ("PATH", "HOME", "LANG", "TZ")
LIMIT = 64 * 1024
GRACE_SECONDS = 2.0
LINGER_SECONDS = 0.5
_PIECE = 64 * 1024  # bytes that are read at once
_LAST_PIECES = 17  # a pipe holds 1 MiB at most, unless root allowed more (pipe(7))
_LOST = 255  # exit code of a process that somebody else waited for


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


class _Child:
    """A started process. It says when it has exited and when its pipes are closed: two different moments.

    The kernel tells us of its end by a descriptor (pidfd_open(2)), which costs less than a thread that waits for it.
    """

    def __init__(self, pid: int, pipes: Mapping[int, _Kept]) -> None:
        """Watch a process, and keep what comes out of these pipes, which do not block."""
        self.pid = pid
        self.code = 0
        self.exited = asyncio.Event()
        self.silent = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._open = dict(pipes)
        for pipe in pipes:
            self._loop.add_reader(pipe, self._read, pipe)
        self._watch()

    def close(self) -> None:
        """Hear no more of what it says."""
        for pipe in [*self._open]:
            self._shut(pipe)

    def _read(self, pipe: int) -> bool:
        """Keep what there is to be read; False when there is nothing just now or any more."""
        try:
            said = os.read(pipe, _PIECE)
        except BlockingIOError:
            return False
        self._open[pipe].add(said)
        if not said:
            self._shut(pipe)
        return bool(said)

    def _shut(self, pipe: int) -> None:
        self._loop.remove_reader(pipe)
        os.close(pipe)
        del self._open[pipe]
        if not self._open:
            self.silent.set()

    # --- its end ---

    def _watch(self) -> None:
        try:
            end = os.pidfd_open(self.pid)
        except (AttributeError, OSError):  # an old system, or a container that forbids it
            threading.Thread(target=self._wait, name=f"waits for {self.pid}", daemon=True).start()
        else:
            self._loop.add_reader(end, self._reap, end)

    def _wait(self) -> None:
        code = _code_of(self.pid)
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._ended, code)

    def _reap(self, end: int) -> None:
        self._loop.remove_reader(end)
        os.close(end)
        self._ended(_code_of(self.pid))

    def _ended(self, code: int) -> None:
        self.code = code
        self.exited.set()
        for pipe in [*self._open]:  # what it said last; more than the pipe holds comes from others
            for _ in range(_LAST_PIECES):
                if not self._read(pipe):
                    break


def _code_of(pid: int) -> int:
    """Wait for a process and return its exit code (negative: the signal); one that somebody else waited for has failed."""
    try:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except ChildProcessError:
        return _LOST


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
    surroundings = {name: os.environ[name] for name in INHERITED if name in os.environ} | dict(env or {})
    said, complained = _Kept(limit), _Kept(limit)
    child = _started(argv, stdin, surroundings, cwd, (said, complained))
    try:
        async with asyncio.timeout(timeout.total_seconds()):
            await child.exited.wait()
        if not child.silent.is_set():
            with suppress(TimeoutError):  # a grandchild may keep the pipes: what it says later is not ours
                await asyncio.wait_for(child.silent.wait(), LINGER_SECONDS)
    except TimeoutError:
        await _end(child)
        raise TimedOut(
            f"{argv[0]!r} did not end within {timeout.total_seconds():g} s and was killed"
        ) from None
    except asyncio.CancelledError:
        await _end(child)
        raise
    finally:
        child.close()
    return Completed(child.code, said.all(), complained.all())


def _started(
    argv: Sequence[str],
    stdin: bytes | IO[bytes] | None,
    env: Mapping[str, str],
    cwd: str | None,
    streams: tuple[_Kept, _Kept],
) -> _Child:
    """Start a process whose output goes into these streams. Raises NotFound."""
    with ExitStack() as undoing:
        try:
            pipes = [_pipe(undoing) for _ in streams]
            with _source(stdin) as source:
                process = subprocess.Popen(  # noqa: S603 - an argument list, and what the rules say is what is run
                    [*argv],
                    stdin=source,
                    stdout=pipes[0][1],
                    stderr=pipes[1][1],
                    env=env,
                    cwd=cwd,
                    start_new_session=True,
                )
        except (OSError, ValueError) as error:  # ValueError: a NUL byte in an argument
            reason = error.strerror if isinstance(error, OSError) else "an argument holds a NUL byte"
            raise NotFound(f"{argv[0][:200]!r} cannot be run: {reason}") from None
        process.returncode = 0  # so that it leaves waiting for the process to the child below
        undoing.pop_all()
    for _, end in pipes:
        os.close(end)
    return _Child(process.pid, {pipe: kept for (pipe, _), kept in zip(pipes, streams, strict=True)})


def _pipe(undoing: ExitStack) -> tuple[int, int]:
    """Make a pipe whose near end does not block; no child inherits it but by its streams."""
    near, far = os.pipe()
    undoing.callback(os.close, near)
    undoing.callback(os.close, far)
    os.set_blocking(near, False)
    return near, far


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
        yield subprocess.DEVNULL if stdin is None else stdin
        return
    memory = os.fdopen(os.memfd_create("stdin"), "w+b") if hasattr(os, "memfd_create") else None
    with memory or tempfile.TemporaryFile() as file:
        file.write(stdin)
        file.seek(0)
        yield file


async def _end(child: _Child) -> None:
    """End a process group: ask, wait a little for all of it, then insist. A second cancellation insists at once."""
    group = child.pid
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
