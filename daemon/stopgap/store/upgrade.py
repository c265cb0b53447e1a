"""Upgrade: the schema of a store, looked at and brought to this version without a daemon."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from stopgap.errors import StoreError
from stopgap.store import migrations, sqlite
from stopgap.store.database import Database, reason
from stopgap.store.folder import DATABASE
from stopgap.store.postgres import CONNECT_WITHIN, Postgres
from stopgap.store.sqlite import Sqlite


@dataclass(frozen=True, slots=True)
class Upgrade:
    """The revision that was found, None for an empty database, and the one of this version."""

    found: str | None
    wanted: str

    @property
    def needed(self) -> bool:
        """Tell whether there was something to do."""
        return self.found != self.wanted


def pending(url: str | None, directory: Path) -> Upgrade:
    """Look, and change nothing; beside a running daemon, too. Raises StoreError."""
    found = _revision(directory / DATABASE) if url is None else _shared(url)
    migrations.check(found)
    return Upgrade(found, migrations.HEAD)


def upgrade(url: str | None, directory: Path) -> Upgrade:
    """Apply what is missing. A directory must be nobody else's meanwhile. Raises StoreError."""
    with _opened(url, directory) as database:
        return Upgrade(database.make_ready(), migrations.HEAD)


@contextmanager
def _opened(url: str | None, directory: Path) -> Iterator[Database]:
    database = Sqlite(directory, 1) if url is None else Postgres(url, "", CONNECT_WITHIN)
    with closing(database):
        yield database


def _shared(url: str) -> str | None:
    with closing(Postgres(url, "", CONNECT_WITHIN)) as database:
        return database.revision()


def _revision(path: Path) -> str | None:
    engine = sqlite.reading(path, 1)
    try:
        with engine.connect() as connection:
            return migrations.revision(connection)
    except SQLAlchemyError as error:
        raise StoreError(f"{path} cannot be read ({reason(error)})") from error
    finally:
        engine.dispose()
