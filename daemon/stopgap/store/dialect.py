"""Dialect: everything that is SQLite's own: connecting, beginning, pragmas, upserts, checks.

WAL with `synchronous=FULL`: a commit returns when the log is on disk. Python's own transaction handling is switched off, since it
commits before DDL; every transaction begins explicitly, the writer's as IMMEDIATE.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, NullPool, QueuePool, Table, create_engine, event
from sqlalchemy.dialects.sqlite import Insert, insert

BUSY_TIMEOUT = 5.0  # seconds; another process reads at most, since the file lock keeps a second writer away
LOG_LIMIT = 64 * 1024 * 1024  # bytes that the write-ahead log keeps on disk after a checkpoint
CHUNK = 500  # bound values in one IN

_EVERY = ("PRAGMA foreign_keys = ON", "PRAGMA temp_store = MEMORY")
_WRITING = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    f"PRAGMA journal_size_limit = {LOG_LIMIT}",
)
_READING = ("PRAGMA query_only = ON",)


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
        connection.exec_driver_sql(begin)

    return engine


def damage(connection: Connection) -> str:
    """Return what is wrong with the structure of the file, empty when nothing is. Reads the whole file."""
    found = " ".join(str(connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()).split())
    return "" if found == "ok" else found


def prove_writable(connection: Connection) -> None:
    """Write one page and change nothing: the commit fails where a real one would (disk full, read-only)."""
    version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
    connection.exec_driver_sql(f"PRAGMA user_version = {int(version)}")


def upsert(table: Table, *updated: str) -> Insert:
    """Return an insert that replaces these columns of the row with the same primary key."""
    statement = insert(table)
    return statement.on_conflict_do_update(
        index_elements=list(table.primary_key.columns),
        set_={name: statement.excluded[name] for name in updated},
    )


def keep_first(table: Table) -> Insert:
    """Return an insert that leaves the row with the same primary key as it is."""
    return insert(table).on_conflict_do_nothing(index_elements=list(table.primary_key.columns))


def chunks(items: Iterable[str]) -> Iterator[list[str]]:
    """Yield the items in lists that fit into one IN."""
    iterator = iter(items)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk
