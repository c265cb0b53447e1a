"""Database: where the store lives, as the writer and the readers know it."""

from contextlib import AbstractContextManager
from typing import Protocol

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from stopgap.errors import StoreError
from stopgap.store.tenure import Tenure


class Unreachable(StoreError):  # noqa: N818 - named for what happened
    """The database does not answer at present: the same may work a little later."""


class Database(Protocol):
    """One place. Where several daemons share it, only who leads may write."""

    writing: Engine
    reading: Engine

    @property
    def tenure(self) -> Tenure | None:
        """Who leads, where several daemons share it."""
        ...

    def make_ready(self) -> str | None:
        """Check, migrate and prove writable; returns the revision before, None for an empty database. Blocks.

        Raises StoreError, with the cure.
        """
        ...

    def prove_writable(self, connection: Connection) -> None:
        """Write something and change nothing: the commit fails where a real one would. Raises SQLAlchemyError."""
        ...

    def watched(self, connection: Connection) -> AbstractContextManager[None]:
        """Bound how long the block waits for the other side, if there is one."""
        ...

    def close(self) -> None:
        """Give it up."""
        ...


def reason(error: BaseException) -> str:
    """Return the database's own words: without the statement, and without what was to be written."""
    if isinstance(error, DBAPIError):
        return " ".join(str(error.orig).split())
    return f"{type(error).__name__}: {error}"
