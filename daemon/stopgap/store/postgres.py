"""PostgreSQL: a database that several daemons share; one of them leads (tenure.py), the others leave it letters (inbox.py).

A session that stops in the middle of a transaction is ended by the server after the lease's length, so that it keeps nobody from
taking over; one whose server stops is ended by the watchdog.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from typing import Any

from sqlalchemy import Connection, Engine, NullPool, QueuePool, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, OperationalError, SQLAlchemyError

from stopgap.errors import StoreError
from stopgap.store.database import Unreachable, reason
from stopgap.store.migrations import NewerSchema, migrate, revision
from stopgap.store.tenure import Tenure
from stopgap.store.watchdog import Watchdog

READERS = 4  # connections
LETTERS_AT_ONCE = 4  # connections of standing by, beside the one that campaigns
CONNECT_WITHIN = 5  # seconds
MIGRATE_WITHIN = 600.0  # seconds
TRIES = 20  # to get at the tables
TABLE_WITHIN = 2.0  # seconds that a migration waits for a table: all who want it after that wait behind it
_ALONE = (  # the lock's key is any number that nobody else takes
    "SET LOCAL statement_timeout = 0",
    "SET LOCAL lock_timeout = 0",
    "SET LOCAL idle_in_transaction_session_timeout = '60s'",
    "SELECT pg_advisory_xact_lock(7833204881127)",
    f"SET LOCAL lock_timeout = '{TABLE_WITHIN:g}s'",
)
_MET = "stopgap.met"  # where a connection keeps what the watchdog knows it by until it is set up
_LOCKED = "55P03"  # lock_not_available


class Postgres:
    """The database behind a URL. Made, it has asked for nothing yet; `make_ready` does. Raises StoreError."""

    def __init__(self, url: str, peer: str, ttl: float) -> None:
        self.tenure: Tenure = Tenure(ttl, peer)
        self.patience = max(ttl, CONNECT_WITHIN)
        address = _address(url)
        self.writing: Engine = self._engine(address, poolclass=NullPool)
        pool = {"poolclass": QueuePool, "max_overflow": 0}
        snapshot = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        self.reading: Engine = self._engine(address, **pool, pool_size=READERS, execution_options=snapshot)
        self.standing_by = self._engine(address, **pool, pool_size=LETTERS_AT_ONCE + 1)
        self._watchdog = Watchdog()

    def make_ready(self, *, anew: bool = False) -> str | None:
        """Migrate, one process at a time; returns the revision before, None for an empty database.

        A newer schema is no reason to refuse for a process that began before it came (`anew`): it only adds something.
        Raises StoreError, with the cure.
        """
        try:
            return self._migrate()
        except NewerSchema:
            if anew:
                return None
            raise
        except OperationalError as error:
            cure = "check STOPGAP_DATABASE_URL and the server"
            if _sqlstate(error) == _LOCKED:
                cure = "who uses its tables for so long, a backup? Try again when that has ended"
            raise Unreachable(f"the database cannot be used ({reason(error)}); {cure}") from error
        except SQLAlchemyError as error:
            cure = "check the user's rights, or let `stopgap migrate` run as the owner of the tables first"
            raise StoreError(f"the database cannot be used ({reason(error)}); {cure}") from error

    def _migrate(self) -> str | None:
        for _ in range(TRIES - 1):
            try:
                return self._migrate_once()
            except OperationalError as error:
                if _sqlstate(error) != _LOCKED:
                    raise
            time.sleep(TABLE_WITHIN)  # those who waited behind it have their turn
        return self._migrate_once()

    def _migrate_once(self) -> str | None:
        with (
            self.writing.connect() as connection,
            self._watchdog.watching(connection, MIGRATE_WITHIN),
            connection.begin(),
        ):
            for statement in _ALONE:
                connection.execute(text(statement))
            return migrate(connection)

    def revision(self) -> str | None:
        """Return the revision of the schema, None for an empty database. Raises StoreError."""
        try:
            with self.reading.connect() as connection, self.watched(connection):
                return revision(connection)
        except SQLAlchemyError as error:
            cure = "check STOPGAP_DATABASE_URL, the server, and the user's rights"
            raise Unreachable(f"the database cannot be read ({reason(error)}); {cure}") from error

    def prove_writable(self, connection: Connection) -> None:
        """Do nothing more: the renewal that every transaction begins with is a write."""

    @contextmanager
    def watched(self, connection: Connection) -> Iterator[None]:
        """End the connection when the block takes longer than a living server needs."""
        with self._watchdog.watching(connection, self.patience):
            yield

    def close(self) -> None:
        """Close all connections."""
        self.standing_by.dispose()
        self.reading.dispose()
        self.writing.dispose()
        self._watchdog.stop()
        self.tenure.close()

    def _engine(self, address: Any, **more: Any) -> Engine:
        """Make an engine whose new sessions are set up in time, by the library and by us, or not at all."""
        engine = _engine(address, **more)
        event.listen(engine, "connect", self._meet, insert=True)
        event.listen(engine, "connect", self._prepare)
        return engine

    def _meet(self, connection: Any, record: Any) -> None:
        record.info[_MET] = self._watchdog.await_first_word(connection.fileno(), self.patience)

    def _prepare(self, connection: Any, record: Any) -> None:
        """Set up a new session; one round trip."""
        ms = int(self.patience * 1000)
        lease = int(self.tenure.ttl * 1000)
        with ExitStack() as failing:
            failing.callback(connection.close)  # the library knows nothing of it yet
            with connection.cursor() as cursor:
                cursor.execute(
                    f"SET synchronous_commit = on; SET statement_timeout = {ms}; SET lock_timeout = {ms}; "
                    f"SET idle_in_transaction_session_timeout = {lease}; SET TIME ZONE 'UTC'"
                )
            connection.commit()
            failing.pop_all()
        self._watchdog.heard(record.info.pop(_MET))


def _sqlstate(error: OperationalError) -> str:
    return getattr(error.orig, "sqlstate", None) or ""


def _address(url: str) -> Any:
    """Return the parsed URL, with the driver that is used. Raises StoreError that shows nothing of it."""
    try:
        address = make_url(url.strip())
    except (ArgumentError, ValueError):
        raise StoreError(
            "STOPGAP_DATABASE_URL is no URL: write postgresql://user:password@host:port/database"
        ) from None
    if address.drivername.partition("+")[0] not in ("postgresql", "postgres"):
        raise StoreError(
            "STOPGAP_DATABASE_URL must begin with postgresql://; without it SQLite is used, in --data"
        )
    if "@" in f"{address.host}{address.database}":  # half a password, which errors would show
        raise StoreError("STOPGAP_DATABASE_URL: write a @ in the password as %40, and a / as %2F")
    return address.set(drivername="postgresql+psycopg")


def _engine(address: Any, **more: Any) -> Engine:
    if find_spec("psycopg") is None:
        raise StoreError("the library psycopg is not installed: pip install 'stopgap[postgres]'")
    return create_engine(
        address,
        connect_args={
            "connect_timeout": CONNECT_WITHIN,
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "application_name": "stopgap",
        },
        hide_parameters=True,  # what is written may be secret
        **more,
    )
