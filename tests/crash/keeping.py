"""Keeping: where a campaign's daemons keep their journal."""

from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Protocol

from tests.crash.book import Book, PostgresBook, SqliteBook
from tests.servers import Base

LEASE = "1s"
WAITED_FOR = 0.1  # of all dead leaders, how many leases are waited for


class Keeping(Protocol):
    """One database, before any daemon has seen it."""

    book: Book
    url: str  # for SQLAlchemy
    environ: Mapping[str, str]  # what the daemon is told
    patience: float  # seconds in which a daemon must come to its point; then it is killed wherever it is

    def bury(self, chances: Random) -> None:
        """Do what time would do after a death."""
        ...


class OnSqlite:
    """A file in the daemon's own directory."""

    patience = 0.7

    def __init__(self, folder: Path) -> None:
        (folder / "data").mkdir(mode=0o700)
        path = folder / "data" / "stopgap.db"
        self.book: Book = SqliteBook(path)
        self.url = f"sqlite:///{path}"
        self.environ: Mapping[str, str] = {}

    def bury(self, chances: Random) -> None:
        """Do nothing: the lock on the file went with its holder."""


class OnPostgres:
    """A database of a server that goes on. Who was killed still leads for as long as its lease lasts."""

    patience = 1.2

    def __init__(self, base: Base) -> None:
        self._connection = base.connect(base.name)
        self.book: Book = PostgresBook(self._connection)
        self.url = base.url.replace("postgresql://", "postgresql+psycopg://")
        self.environ: Mapping[str, str] = {"STOPGAP_DATABASE_URL": base.url, "STOPGAP_LEADER_TTL": LEASE}

    def close(self) -> None:
        """Look no more."""
        self._connection.close()

    def bury(self, chances: Random) -> None:
        """Let the dead daemon's lease be over at once, as if a second had passed; now and then, wait for that."""
        if chances.random() >= WAITED_FOR and self.book.has("leader"):
            self._connection.execute("UPDATE leader SET until = 0")
