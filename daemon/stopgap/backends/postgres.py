"""Postgres: `postgres://user@host:port/database`, by psycopg 3. Time limits are the server's own (`statement_timeout`).

Values other than numbers and truths are read as the text that PostgreSQL writes, and given back as text of a type that it finds out
itself: whatever the type, it comes back as it was.
"""

import functools
import math
import time
from collections.abc import Generator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from stopgap.backends.database import (
    CONNECT_SECONDS,
    Database,
    DatabaseFault,
    Mode,
    Session,
    TooManyRows,
    Trouble,
)
from stopgap.backends.dsn import address, need
from stopgap.backends.lack import says_lacking
from stopgap.backends.locator import Locator
from stopgap.backends.rows import Rows, gathered
from stopgap.backends.statement import Statement

if TYPE_CHECKING:
    import psycopg
    from psycopg.adapt import AdaptersMap

_OPTIONS = frozenset(
    {
        "host",
        "sslmode",
        "sslrootcert",
        "sslcert",
        "sslkey",
        "channel_binding",
        "target_session_attrs",
        "options",
    }
)
_PORT = 5432
_GRACE_SECONDS = 2.0  # for the server to say that its own limit was reached
_READ_AS_THEY_ARE = frozenset({16, 20, 21, 23, 26, 700, 701, 1700})  # bool, integers, oid, floats, numeric
_SETTINGS = (
    "SELECT set_config('statement_timeout', %(ms)s, false), set_config('lock_timeout', %(ms)s, false), "
    "set_config('idle_in_transaction_session_timeout', %(ms)s, false), set_config('datestyle', 'ISO', false)"
)
# SQLSTATE, appendix A of PostgreSQL's manual: the longest beginning counts
_STATES = {
    "08": Trouble.AWAY,
    "28": Trouble.DENIED,
    "40": Trouble.BUSY,
    "42501": Trouble.DENIED,
    "42601": Trouble.WRONG,
    "42P02": Trouble.WRONG,
    "53": Trouble.BUSY,
    "55P03": Trouble.BUSY,
    "55006": Trouble.BUSY,
    "57": Trouble.AWAY,
    "57014": Trouble.BUSY,
    "57P03": Trouble.BUSY,
    "58": Trouble.BROKEN,
    "XX": Trouble.BROKEN,
}
# what a server says before there is a SQLSTATE to be had
_LOGIN = (
    "authentication",
    "no password supplied",
    "pg_hba.conf",
    "permission denied",
    "not permitted",
    "role ",
)


class Postgres(Database):
    """`postgres://app@db.example.com:5432/hotel`, or by a socket `postgres://app@/hotel?host=/run/postgresql`."""

    schemes = ("postgres", "postgresql")
    example = "postgres://app@db.example.com:5432/hotel"
    overriding = "OVERRIDING SYSTEM VALUE "

    def __init__(self, locator: Locator) -> None:
        need("psycopg", "postgres")
        self._address = address(locator, _PORT, _OPTIONS)
        self._database = self._address.path.strip("/")
        if not self._database or not (
            self._address.host or self._address.options.get("host", "").startswith("/")
        ):
            raise ValueError(f"{str(locator)!r} lacks a host or a database: write {self.example}")

    @property
    def server(self) -> str:
        """Return `postgres:host:port`."""
        place = self._address
        return "postgres:" + (place.shown if place.host else f"{place.options['host']}:{place.port}")

    @property
    def name(self) -> str:
        """Return `postgres:host:port/database`."""
        return f"{self.server}/{self._database}"

    @property
    def host(self) -> tuple[str, int] | None:
        """Return where it listens."""
        return (self._address.host, self._address.port) if self._address.host else None

    def open(self, mode: Mode, password: str | None, seconds: float) -> "PostgresSession":
        """Connect, and set the limits. Raises DatabaseFault."""
        import psycopg  # noqa: PLC0415 - an extra

        options = (
            {"host": self._address.host, **self._address.options}
            if self._address.host
            else self._address.options
        )
        milliseconds = str(max(1, int(seconds * 1000)))
        connection = None
        try:
            connection = _patient().connect(
                port=self._address.port,
                dbname=self._database,
                user=self._address.user,
                password=password,
                connect_timeout=math.ceil(min(seconds, CONNECT_SECONDS)),
                tcp_user_timeout=int(milliseconds),
                application_name="stopgap",
                autocommit=True,
                prepare_threshold=None,
                context=_verbatim(),
                **options,
            )
            connection.until = time.monotonic() + seconds + _GRACE_SECONDS
            connection.execute(_SETTINGS, {"ms": milliseconds})
            connection.autocommit = mode is Mode.ALONE
            connection.read_only = mode is Mode.READ or None
        except psycopg.Error as error:
            if connection is not None:
                connection.close()
            raise self._fault(error) from None
        return PostgresSession(connection, self.name, self._fault)

    def _fault(self, error: "psycopg.Error") -> DatabaseFault:
        where, state = self.name, error.sqlstate or ""
        said = error.diag.message_primary or str(error)
        text = " ".join(said.split())[:300] or type(error).__name__
        for length in (5, 2):
            if trouble := _STATES.get(state[:length]):
                return DatabaseFault(trouble, where, text)
        if state:
            return DatabaseFault(Trouble.REFUSED, where, text)
        if "translate host name" in text or "resolve" in text:
            return DatabaseFault(Trouble.UNRESOLVED, where, "the name does not resolve")
        if "certificate file" in text or "private key file" in text:
            return DatabaseFault(Trouble.ABSENT, where, text)
        if says_lacking(text) or "no error details" in text:  # libpq did not even get a socket
            return DatabaseFault(Trouble.OURS, where, text)
        denied = any(word in text for word in _LOGIN)
        return DatabaseFault(Trouble.DENIED if denied else Trouble.AWAY, where, text)


class PostgresSession(Session):
    """One connection to a server."""

    def __init__(self, connection: "psycopg.Connection[tuple[Any, ...]]", place: str, fault: Any) -> None:
        self._connection = connection
        self._place = place
        self._fault = fault

    def rows(self, statement: Statement, values: Mapping[str, Any], limit: int) -> Rows:
        """Return what a query returns, row by row, so that a table of millions does not come along."""
        import psycopg  # noqa: PLC0415 - an extra

        try:
            with self._connection.cursor() as cursor:
                # a query with LIMIT ends by itself: a cancellation could hit the next one
                rows = gathered(cursor.stream(_written(statement), dict(values)), limit + 1)
                columns = tuple(column.name for column in cursor.description or ())
        except psycopg.Error as error:
            raise self._fault(error) from None
        except ValueError as error:
            raise DatabaseFault(Trouble.WRONG, self._place, str(error)) from None
        if len(rows) > limit:
            raise TooManyRows(f"more than {limit} rows")
        return Rows(columns, tuple(rows))

    def change(self, statement: Statement, values: Mapping[str, Any]) -> int:
        """Execute."""
        import psycopg  # noqa: PLC0415 - an extra

        try:
            with self._connection.cursor() as cursor:
                # without a value the text is not searched for placeholders, and its percent signs stay single
                cursor.execute(_written(statement), dict(values))
                return max(cursor.rowcount, 0)
        except psycopg.Error as error:
            raise self._fault(error) from None

    def commit(self) -> None:
        """Commit."""
        import psycopg  # noqa: PLC0415 - an extra

        try:
            self._connection.commit()
        except psycopg.Error as error:
            raise self._fault(error) from None

    def close(self) -> None:
        """Hang up; the server rolls back what is open."""
        import psycopg  # noqa: PLC0415 - an extra

        with suppress(psycopg.Error):
            self._connection.close()

    def interrupt(self) -> None:
        """Ask the server to cancel what is under way."""
        import psycopg  # noqa: PLC0415 - an extra

        with suppress(psycopg.Error):
            self._connection.cancel_safe(timeout=2)


def _written(statement: Statement) -> Any:
    return statement.render(lambda name: f"%({name})s", percent=True)


@functools.cache
def _patient() -> Any:
    """Return a connection that waits for its server until a moment, whether or not that still says anything.

    Behind a pooler, or on a disk that hangs, no limit of the server's own holds.
    """
    import psycopg  # noqa: PLC0415 - an extra

    class Patient(psycopg.Connection[tuple[Any, ...]]):
        until = math.inf

        def wait(self, gen: Any, *args: Any, **more: Any) -> Any:
            return super().wait(limited(gen, self.until), *args, **more)

    def limited(waiting: Any, until: float) -> Generator[Any, Any, Any]:
        ready = None
        try:
            while True:
                ready = yield waiting.send(ready)
                if time.monotonic() > until:
                    raise psycopg.OperationalError("no answer in time")
        except StopIteration as end:
            return end.value

    return Patient


@functools.cache
def _verbatim() -> "AdaptersMap":
    """Return how values are read: text, but for numbers and truths."""
    from psycopg import adapters  # noqa: PLC0415 - an extra
    from psycopg.adapt import AdaptersMap, Loader  # noqa: PLC0415 - an extra

    class Verbatim(Loader):
        """Reads the text as it is."""

        def load(self, data: Any) -> str:
            return bytes(data).decode()

    made = AdaptersMap(adapters)
    for known in adapters.types:
        for oid in (known.oid, known.array_oid):
            if oid and oid not in _READ_AS_THEY_ARE:
                made.register_loader(oid, Verbatim)
    return made
