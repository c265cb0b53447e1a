"""Database: a place that runs SQL, within time limits that the server itself keeps.

A Session belongs to the thread that opened it; only `interrupt` is called from another. Whatever goes wrong is a DatabaseFault of
one kind, whose text shows neither password nor rows.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Any, ClassVar

from stopgap.backends.capability import Place
from stopgap.backends.rows import Rows
from stopgap.backends.statement import Statement
from stopgap.errors import StopgapError

CONNECT_SECONDS = 10.0


class Trouble(StrEnum):
    """Why a database did not do what it was asked."""

    AWAY = "away"  # refused, reset, no answer: it may have done it
    UNRESOLVED = "unresolved"  # its name is not known here
    DENIED = "denied"  # not to us
    ABSENT = "absent"  # no such file
    BUSY = "busy"  # a lock, a time limit, too much to do: not done, may work later
    WRONG = "wrong"  # it does not understand the statement
    REFUSED = "refused"  # it understands, and will not
    BROKEN = "broken"  # its files are damaged
    OURS = "ours"  # this machine has no room for more


class DatabaseFault(StopgapError):  # noqa: N818 - reads as the answer it is
    """A database did not do what it was asked.

    `connecting` tells that it was not even reached, `committing` that only whether it lasts is in question.
    """

    def __init__(self, trouble: Trouble, where: str, text: str) -> None:
        self.trouble = trouble
        self.where = where
        self.text = text
        self.connecting = False
        self.committing = False
        super().__init__(f"{where}: {text}")

    def told(self, secrets: Collection[str], *, hidden: bool) -> str:
        """Say it with secrets masked; of a hidden address only what cannot name it."""
        text = self.text
        for secret in sorted(filter(None, secrets), key=len, reverse=True):
            text = text.replace(secret, "***")
        if hidden:
            return f"***: {f'cannot be reached ({self.trouble})' if self.connecting else text}"
        return f"{self.where}: {text}"


class TooManyRows(StopgapError):  # noqa: N818 - reads as the answer it is
    """A query returns more rows than were asked for."""


class Mode(StrEnum):
    """How a session is to be used."""

    READ = "read"  # one transaction that can change nothing
    WRITE = "write"  # one transaction
    ALONE = "alone"  # each statement commits itself


class Session(ABC):
    """One connection, and one transaction unless its mode is ALONE."""

    @abstractmethod
    def rows(self, statement: Statement, values: Mapping[str, Any], limit: int) -> Rows:
        """Return what a query returns. Raises TooManyRows beyond the limit, and DatabaseFault."""

    @abstractmethod
    def change(self, statement: Statement, values: Mapping[str, Any]) -> int:
        """Execute, and return how many rows were changed. Raises DatabaseFault."""

    def check_rollback(self, statement: Statement) -> None:  # noqa: B027 - most can
        """See that what a statement changes can be rolled back. Raises DatabaseFault."""

    @abstractmethod
    def commit(self) -> None:
        """Make all of it last. Raises DatabaseFault."""

    @abstractmethod
    def close(self) -> None:
        """Hang up; what was not committed is rolled back."""

    @abstractmethod
    def interrupt(self) -> None:
        """End what is under way, from another thread; raises nothing. It may take a moment."""


class Database(Place):
    """Runs SQL."""

    purpose = "run SQL"
    locking: ClassVar[str] = " FOR UPDATE"
    """What makes a SELECT keep its rows from others until the end."""
    overriding: ClassVar[str] = ""
    """What lets an INSERT name a value for a column that makes its own."""

    @property
    def server(self) -> str:
        """Name the server, all databases of it; a file is its own."""
        return self.name

    @property
    @abstractmethod
    def host(self) -> tuple[str, int] | None:
        """Return where it listens; None for a file or a socket."""

    @abstractmethod
    def open(self, mode: Mode, password: str | None, seconds: float) -> Session:
        """Connect; whatever follows must end within so many seconds. Raises DatabaseFault."""

    def quote(self, name: str) -> str:
        """Write the name of a column."""
        return '"' + name.replace('"', '""') + '"'
