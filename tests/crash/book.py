"""Book: the daemon's database, read from outside and never written. The questions are plain SQL that both databases answer."""

import json
import shutil
import sqlite3
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Row = tuple[Any, ...]

_PAGES = """
    SELECT i.number, j.incident, j.seq, j.at, j.kind, j.detail
    FROM journal j LEFT JOIN incident i ON i.id = j.incident
    WHERE j.incident <> 'control' ORDER BY i.number, j.incident, j.seq
"""
_INCIDENTS = "SELECT id, rule, target, seq, closed_at, outcome FROM incident ORDER BY number"


@dataclass(frozen=True, slots=True)
class Page:
    """One line of a timeline. `at` is in microseconds since 1970."""

    incident: str
    seq: int
    at: int
    kind: str
    detail: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """One incident's row."""

    id: str
    rule: str
    target: str
    seq: int
    closed_at: int | None
    outcome: str


@dataclass(frozen=True, slots=True)
class Copybook:
    """Everything that a database holds at one moment: what the auditor reads."""

    pages: tuple[Page, ...] = ()
    entries: tuple[Entry, ...] = ()
    held: tuple[tuple[str, str], ...] = ()  # resource, incident
    permits: tuple[str, ...] = ()  # incidents
    undo: frozenset[tuple[str, str]] = frozenset()  # incident, act
    waiting: tuple[str, ...] = ()  # notifications that are taken and not yet worked off, as JSON
    damage: str = ""


class Book(ABC):
    """One database."""

    @abstractmethod
    def rows(self, question: str, *values: str) -> list[Row]:
        """Return what a SELECT answers; `?` stands for a value."""

    @abstractmethod
    def has(self, table: str) -> bool:
        """Tell whether there is a table of this name."""

    @abstractmethod
    def damage(self) -> str:
        """Return what is wrong with the structure of the database, empty when nothing is."""

    @contextmanager
    def frozen(self) -> Iterator["Book"]:
        """Yield what a dead daemon left, so that reading it does not touch it."""
        yield self

    def intends(self, incident: str, key: str) -> bool:
        """Tell whether the journal holds the intent of an idempotency key."""
        asked = "SELECT detail FROM journal WHERE incident = ? AND kind = 'step_started'"
        return any(json.loads(detail)["key"] == key for (detail,) in self.rows(asked, incident))

    def undo(self, incident: str, act: str) -> str | None:
        """Return what is kept to take an act back with, as JSON; None when nothing is."""
        found = self.rows("SELECT before FROM undo WHERE incident = ? AND act = ?", incident, act)
        return found[0][0] if found else None

    def version(self) -> str:
        """Return the schema's revision, empty when there are no tables yet."""
        if not self.has("alembic_version"):
            return ""
        found = self.rows("SELECT version_num FROM alembic_version")
        return found[0][0] if found else ""

    def live(self) -> list[str]:
        """Return the incidents that are not closed."""
        return [name for (name,) in self.rows("SELECT id FROM incident WHERE closed_at IS NULL")]

    def copied(self) -> Copybook:
        """Read everything."""
        if not self.has("journal"):
            return Copybook(damage=self.damage())
        letters = self.rows("SELECT said FROM inbox ORDER BY number") if self.has("inbox") else []
        return Copybook(
            pages=tuple(Page(*row[1:5], json.loads(row[5])) for row in self.rows(_PAGES)),
            entries=tuple(Entry(*row) for row in self.rows(_INCIDENTS)),
            held=tuple((row[0], row[1]) for row in self.rows("SELECT resource, incident FROM held")),
            permits=tuple(row[0] for row in self.rows("SELECT incident FROM permit")),
            undo=frozenset((row[0], row[1]) for row in self.rows("SELECT incident, act FROM undo")),
            waiting=tuple(row[0] for row in letters),
            damage=self.damage(),
        )


class SqliteBook(Book):
    """A file. Each question opens and closes it: a connection that stays would keep the log from being worked off."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def rows(self, question: str, *values: str) -> list[Row]:
        """Ask, read-only."""
        connection = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, timeout=10)
        try:
            return connection.execute(question, values).fetchall()
        finally:
            connection.close()

    def has(self, table: str) -> bool:
        """Look into the file's own table of tables."""
        asked = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"
        return self.path.exists() and bool(self.rows(asked, table))

    def damage(self) -> str:
        """Let SQLite read the whole file."""
        if not self.path.exists():
            return ""
        try:
            found = [*self.rows("PRAGMA integrity_check"), *self.rows("PRAGMA foreign_key_check")]
        except sqlite3.DatabaseError as error:
            return str(error)
        return "" if found == [("ok",)] else str(found)[:300]

    @contextmanager
    def frozen(self) -> Iterator[Book]:
        """Yield a copy of the file and its log, which stay as they are for the next daemon."""
        with tempfile.TemporaryDirectory(dir=self.path.parent.parent) as folder:
            for suffix in ("", "-wal"):
                source = self.path.with_name(self.path.name + suffix)
                if source.exists():
                    shutil.copyfile(source, Path(folder) / source.name)
            yield SqliteBook(Path(folder) / self.path.name)


class PostgresBook(Book):
    """A database of a server; the connection is an administrator's and commits itself."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def rows(self, question: str, *values: str) -> list[Row]:
        """Ask."""
        return list(self._connection.execute(question.replace("?", "%s"), values).fetchall())

    def has(self, table: str) -> bool:
        """Ask for its name."""
        return self.rows("SELECT to_regclass(?)::text", f"public.{table}") != [(None,)]

    def damage(self) -> str:
        """Say nothing: the server is not killed, and checks its own pages."""
        return ""
