"""Sqlite: `sqlite:///abs/path.db`, a file that must be there: it is never made. A lock of others is waited for within the time."""

import sqlite3
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from stopgap.backends.database import Database, DatabaseFault, Mode, Session, TooManyRows, Trouble
from stopgap.backends.locator import Locator
from stopgap.backends.rows import Rows, gathered
from stopgap.backends.statement import Statement

_STEPS = 20_000  # of SQLite's machine, between two looks at the clock
_TROUBLES = {
    sqlite3.SQLITE_BUSY: Trouble.BUSY,
    sqlite3.SQLITE_LOCKED: Trouble.BUSY,
    sqlite3.SQLITE_INTERRUPT: Trouble.BUSY,
    sqlite3.SQLITE_CORRUPT: Trouble.BROKEN,
    sqlite3.SQLITE_NOTADB: Trouble.BROKEN,
    sqlite3.SQLITE_CANTOPEN: Trouble.DENIED,
    sqlite3.SQLITE_PERM: Trouble.DENIED,
    sqlite3.SQLITE_READONLY: Trouble.DENIED,
    sqlite3.SQLITE_AUTH: Trouble.DENIED,
}


class Sqlite(Database):
    """`sqlite:///srv/hotel/hotel.db`."""

    schemes = ("sqlite",)
    example = "sqlite:///srv/hotel.db"
    locking = ""  # a writing transaction holds the whole file

    def __init__(self, locator: Locator) -> None:
        locator.only("path")
        self._path = Path(locator.path)

    @property
    def name(self) -> str:
        """Return `sqlite:/path`."""
        return f"sqlite:{self._path}"

    @property
    def host(self) -> tuple[str, int] | None:
        """Return that it is a file."""
        return None

    def open(self, mode: Mode, password: str | None, seconds: float) -> "SqliteSession":  # noqa: ARG002 - the port's signature
        """Open the file, and begin a transaction. Raises DatabaseFault."""
        try:
            if not self._path.is_file():
                raise DatabaseFault(Trouble.ABSENT, self.name, "no such file")
        except OSError as error:
            raise DatabaseFault(Trouble.DENIED, self.name, error.strerror or "not readable") from None
        access = "ro" if mode is Mode.READ else "rw"
        session = None
        try:
            connection = sqlite3.connect(
                f"file:{quote(str(self._path))}?mode={access}",
                uri=True,
                timeout=seconds,
                isolation_level=None,
                check_same_thread=False,
            )
            session = SqliteSession(connection, self._path, time.monotonic() + seconds)
            session.begin(mode)
        except sqlite3.Error as error:
            if session is not None:
                session.close()
            raise _fault(self._path, error) from None
        except DatabaseFault:
            if session is not None:
                session.close()
            raise
        return session


class SqliteSession(Session):
    """One connection to a file."""

    def __init__(self, connection: sqlite3.Connection, path: Path, deadline: float) -> None:
        self._connection = connection
        self._path = path
        self._deadline = deadline
        self._interrupted = threading.Event()
        connection.set_progress_handler(self._over, _STEPS)

    def begin(self, mode: Mode) -> None:
        """Begin as the mode says; foreign keys hold, as they do for whoever cares for them. Raises sqlite3.Error."""
        self._connection.execute("PRAGMA foreign_keys = ON")
        if mode is Mode.READ:
            self._connection.execute("PRAGMA query_only = ON")
            self._connection.execute("BEGIN")
        elif mode is Mode.WRITE:
            self._connection.execute("BEGIN IMMEDIATE")

    def rows(self, statement: Statement, values: Mapping[str, Any], limit: int) -> Rows:
        """Return what a query returns."""
        try:
            cursor = self._connection.execute(_written(statement), dict(values))
            rows = gathered(cursor, limit)
        except sqlite3.Error as error:
            raise _fault(self._path, error) from None
        except ValueError as error:
            raise DatabaseFault(Trouble.WRONG, f"sqlite:{self._path}", str(error)) from None
        if len(rows) > limit:
            raise TooManyRows(f"more than {limit} rows")
        return Rows(tuple(each[0] for each in cursor.description or ()), tuple(rows))

    def change(self, statement: Statement, values: Mapping[str, Any]) -> int:
        """Execute; what Python's module does not count (after WITH), the connection counts."""
        before = self._connection.total_changes
        try:
            cursor = self._connection.execute(_written(statement), dict(values))
            cursor.fetchall()
        except sqlite3.Error as error:
            raise _fault(self._path, error) from None
        return cursor.rowcount if cursor.rowcount >= 0 else self._connection.total_changes - before

    def commit(self) -> None:
        """Commit."""
        try:
            if self._connection.in_transaction:
                self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise _fault(self._path, error) from None

    def close(self) -> None:
        """Roll back what is open, and close the file."""
        with suppress(sqlite3.Error):
            self._connection.close()

    def interrupt(self) -> None:
        """Let the next look at the clock say that it is over."""
        self._interrupted.set()
        with suppress(sqlite3.Error):
            self._connection.interrupt()

    def _over(self) -> bool:
        return self._interrupted.is_set() or time.monotonic() > self._deadline


def _written(statement: Statement) -> str:
    return statement.render(lambda name: f":{name}", percent=False)


def _fault(path: Path, error: sqlite3.Error) -> DatabaseFault:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_MISUSE) & 0xFF
    trouble = _TROUBLES.get(code, Trouble.REFUSED)
    text = str(error)
    if "syntax error" in text or isinstance(error, sqlite3.ProgrammingError):
        trouble = Trouble.WRONG
    if trouble is Trouble.BUSY and code == sqlite3.SQLITE_INTERRUPT:
        text = "the time was over"
    return DatabaseFault(trouble, f"sqlite:{path}", text[:300])
