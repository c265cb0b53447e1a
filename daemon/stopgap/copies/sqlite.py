"""Sqlite: a database in a file, copied while others read and write it, and proved by its own integrity check."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from stopgap import errand
from stopgap.backends.locator import parse_locator
from stopgap.backends.successor import take_after
from stopgap.copies import archive, holders
from stopgap.copies.exchange import Exchange
from stopgap.copies.original import Original, State
from stopgap.copies.shelf import told
from stopgap.copies.tool import packed, unpacked
from stopgap.errand import Errand
from stopgap.errors import PermanentError, TemporaryError

COMPANIONS = ("-wal", "-shm", "-journal")
_BUSY_SECONDS = 10.0
_PAGES = 2000
_STEPS = 200_000  # of the virtual machine between two looks at the clock
T = TypeVar("T")


class Sqlite(Original):
    """A file with its write-ahead log. A copy is a database file; one for evidence is a tar of all its files, byte by byte."""

    schemes = ("sqlite",)
    example = "sqlite:///var/lib/hotel/hotel.db"
    kind = "sqlite"
    suffix = ".sqlite"

    def __init__(self, locator: str, password: str | None = None) -> None:
        parsed = parse_locator(locator)
        parsed.only("path")
        if password is not None:
            raise ValueError("a file has no password: remove it")
        self._path = Path(parsed.path)

    @property
    def name(self) -> str:
        """Name it as a resource."""
        return f"sqlite:{self._path}"

    @property
    def title(self) -> str:
        """Return the name of the file without its ending."""
        return self._path.stem

    def suffix_of(self, *, evidence: bool) -> str:
        """Return how the name of a copy ends."""
        return ".evidence.tar" if evidence else self.suffix

    def aside(self, mark: str) -> str:
        """Say where an exchange keeps the old file."""
        return str(Exchange(self._path, mark).aside)

    async def try_tools(self) -> None:
        """Need nothing that Python does not bring."""

    async def size(self, within: timedelta) -> int:
        """Add up its files."""
        return await errand.run(lambda _: sum(path.stat().st_size for path in self._files()), within)

    def _files(self) -> list[Path]:
        with told(self._path):
            real = self._path.resolve(strict=True)
            return [real, *(path for each in COMPANIONS if (path := Path(f"{real}{each}")).exists())]

    async def copy(self, to: Path, within: timedelta, *, evidence: bool) -> None:
        """Copy by SQLite's online backup, from one snapshot; for evidence byte by byte."""
        if evidence:
            await errand.run(lambda job: archive.pack(self._files(), to, job), within)
        else:
            await errand.run(lambda job: self._copy(to, job), within)

    def _copy(self, to: Path, job: Errand) -> None:
        real = self._files()[0]
        with (
            _spoken(self._path, job),
            closing(_open(real, "mode=rw", job)) as source,
            closing(sqlite3.connect(to, isolation_level=None)) as target,
        ):
            target.execute("PRAGMA journal_mode = OFF")
            target.execute("PRAGMA synchronous = OFF")  # the shelf has it on disk before it has a name
            source.execute("BEGIN")  # one snapshot: other writers do not start it anew
            source.execute("SELECT count(*) FROM sqlite_master").fetchone()
            source.backup(target, pages=_PAGES, progress=lambda *_: job.pause())
            source.execute("ROLLBACK")

    async def prove(self, copy: Path, within: timedelta) -> None:
        """Ask SQLite for the integrity of a copy; of one that is compressed, when it is staged."""
        await errand.run(lambda job: None if packed(copy) else self._prove(copy, job), within)

    def _prove(self, copy: Path, job: Errand) -> None:
        with _spoken(copy, job), closing(_open(copy, "immutable=1", job)) as base:
            answer = [str(row[0]) for row in base.execute("PRAGMA integrity_check(3)")]
        if answer != ["ok"]:
            raise PermanentError(
                f"{copy.name} does not pass SQLite's integrity check: {'; '.join(answer)[:200]}"
            )

    # --- putting back ---

    async def state(self, mark: str, within: timedelta) -> State:
        """See which file is live, and whether an old one is aside."""
        return await errand.run(lambda _: self._do(mark, Exchange.state), within)

    def _at(self, mark: str) -> Exchange:
        with told(self._path):
            return Exchange(self._path.resolve(), mark, COMPANIONS)

    def _do(self, mark: str, deed: Callable[[Exchange], T]) -> T:
        at = self._at(mark)
        with told(at.live):
            return deed(at)

    async def stage(self, copy: Path, mark: str, within: timedelta) -> None:
        """Write the new file beside the live one, with its owner and mode, and ask for its integrity."""
        await errand.run(lambda job: self._stage(copy, self._at(mark), job), within)

    def _stage(self, copy: Path, at: Exchange, job: Errand) -> None:
        with told(at.live):
            at.unstage()
            self._write(copy, at, job)
            self._prove(at.staged, job)

    def _write(self, copy: Path, at: Exchange, job: Errand) -> None:
        descriptor = os.open(at.staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as target, unpacked(copy) as source:
            while chunk := source.read(1024 * 1024):
                job.pause()
                target.write(chunk)
            if at.live.exists():
                take_after(at.live, descriptor, at.live.stat())
            target.flush()
            os.fsync(descriptor)

    async def unstage(self, mark: str, within: timedelta) -> None:
        """Remove the staged file."""
        await errand.run(lambda _: self._do(mark, Exchange.unstage), within)

    async def exchange(self, mark: str, within: timedelta) -> None:
        """Put the new file in place, when nobody has the old one open."""
        await errand.run(lambda _: self._exchange(mark, Exchange.go), within)

    async def exchange_back(self, mark: str, within: timedelta, *, nothing_before: bool) -> None:
        """Put the old file back, when nobody has the new one open."""
        await errand.run(
            lambda _: self._exchange(mark, lambda at: at.back(nothing_before=nothing_before)), within
        )

    def _exchange(self, mark: str, deed: Callable[[Exchange], None]) -> None:
        def alone(at: Exchange) -> None:
            if who := holders.of([at.live, *(Path(f"{at.live}{each}") for each in COMPANIONS)]):
                raise TemporaryError(
                    f"{at.live} is open in {who}: stop that first, or it goes on writing to the old file"
                )
            deed(at)

        self._do(mark, alone)


def _open(path: Path, how: str, job: Errand) -> sqlite3.Connection:
    base = sqlite3.connect(
        f"file:{quote(str(path))}?{how}", uri=True, isolation_level=None, timeout=_BUSY_SECONDS
    )
    base.set_progress_handler(lambda: int(job.called_off), _STEPS)
    return base


@contextmanager
def _spoken(path: Path, job: Errand) -> Iterator[None]:
    """Turn what SQLite says into an ActionError."""
    try:
        yield
    except sqlite3.OperationalError as error:
        job.pause()  # interrupted, because nobody waits any more
        kind = TemporaryError if "locked" in str(error) or "busy" in str(error) else PermanentError
        raise kind(f"{path}: {error}") from None
    except sqlite3.Error as error:
        raise PermanentError(f"{path}: {error}") from None
