"""SQLite: a file in a directory of its own, whose lock says who writes.

WAL with `synchronous=FULL`: a commit returns when the log is on disk. Python's own transaction handling is switched off, since it
commits before DDL; every transaction begins explicitly, the writer's as IMMEDIATE.
"""

import sqlite3
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, NullPool, QueuePool, create_engine, event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from stopgap.errors import StoreError
from stopgap.store import folder
from stopgap.store.database import reason
from stopgap.store.migrations import migrate
from stopgap.store.tenure import Tenure

BUSY_TIMEOUT = 5.0  # seconds; another process reads at most, since the file lock keeps a second writer away
LOG_LIMIT = 64 * 1024 * 1024  # bytes that the write-ahead log keeps on disk after a checkpoint
CURE = "move stopgap.db with its -wal and -shm aside or restore a backup, then start again"

_EVERY = ("PRAGMA foreign_keys = ON", "PRAGMA temp_store = MEMORY")
_WRITING = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    f"PRAGMA journal_size_limit = {LOG_LIMIT}",
)
_READING = ("PRAGMA query_only = ON",)


class Sqlite:
    """The database in a directory. Made, it has claimed the directory: nobody else writes. Raises StoreError."""

    tenure: Tenure | None = None

    def __init__(self, directory: Path, readers: int) -> None:
        self._lock = folder.claim(directory)
        self._path = directory / folder.DATABASE
        self.writing: Engine = writing(self._path)
        self.reading: Engine = reading(self._path, readers)

    def make_ready(self) -> str | None:
        """Check, migrate and prove writable; returns the revision before. Raises StoreError, with the cure."""
        path = self._path
        try:
            with self.writing.begin() as connection:
                found = damage(connection)
                if found:
                    raise StoreError(f"{path} is damaged ({found}); {CURE}")
                before = migrate(connection)
                self.prove_writable(connection)
                return before
        except SQLAlchemyError as error:
            text = reason(error)
            cure = (
                CURE
                if "malformed" in text or "not a database" in text
                else "check owner, mode and free space"
            )
            raise StoreError(f"{path} cannot be used ({text}); {cure}") from error

    def prove_writable(self, connection: Connection) -> None:
        """Write one page and change nothing: the commit fails where a real one would (disk full, read-only)."""
        version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
        connection.exec_driver_sql(f"PRAGMA user_version = {int(version)}")

    def watched(self, _: Connection) -> AbstractContextManager[None]:
        """Do nothing: a disk that does not answer cannot be hung up on."""
        return nullcontext()

    def close(self) -> None:
        """Give the directory up."""
        self.reading.dispose()
        self.writing.dispose()
        folder.release(self._lock)


def writing(path: Path) -> Engine:
    """Return the engine of the one writer; nothing is pooled, so that a broken connection is never used again."""
    return _engine(path, _WRITING, "BEGIN IMMEDIATE", poolclass=NullPool)


def reading(path: Path, connections: int) -> Engine:
    """Return the engine of the readers: each transaction is one snapshot, and none can write."""
    return _engine(path, _READING, "BEGIN", poolclass=QueuePool, pool_size=connections, max_overflow=0)


def _engine(path: Path, pragmas: Sequence[str], begin: str, **pool: Any) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        connect_args={"timeout": BUSY_TIMEOUT, "isolation_level": None, "check_same_thread": False},
        hide_parameters=True,  # what is written may be secret
        **pool,
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _: object) -> None:
        for pragma in (*_EVERY, *pragmas):
            connection.execute(pragma)

    @event.listens_for(engine, "begin")
    def start(connection: Connection) -> None:
        try:  # straight to the driver: with few operations in a batch, it is a tenth of the batch
            connection.connection.cursor().execute(begin)
        except sqlite3.Error as error:
            raise DBAPIError(begin, None, error, hide_parameters=True) from error

    return engine


def damage(connection: Connection) -> str:
    """Return what is wrong with the structure of the file, empty when nothing is. Reads the whole file."""
    found = " ".join(str(connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()).split())
    return "" if found == "ok" else found
