"""Mysql: `mysql://user@host:port/database`, MySQL or MariaDB, by PyMySQL. Time limits are the server's own where it has them.

MariaDB ends a statement at `max_statement_time`. MySQL has such a limit for SELECT only: there a lock is not waited for longer, and
a connection whose answer does not come in time is given up, which rolls back.
"""

import errno
import math
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
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
from stopgap.backends.lack import lacking
from stopgap.backends.locator import Locator
from stopgap.backends.rows import Rows, gathered
from stopgap.backends.statement import Statement

if TYPE_CHECKING:
    import pymysql

_OPTIONS = frozenset({"unix_socket", "ssl_ca", "ssl_cert", "ssl_key"})
_PORT = 3306
_GRACE_SECONDS = 2.0  # for the server to say that its own limit was reached
_INTERRUPT_SECONDS = 2.0
_NO_CONNECTION = 2003
_ALL = 1_000_000  # rows: the server was asked for no more than are wanted
_ENGINE = (
    "SELECT t.table_name, t.engine FROM information_schema.tables t JOIN information_schema.engines e ON e.engine = t.engine"
    " WHERE t.table_schema = IF(%(schema)s = '', DATABASE(), %(schema)s) AND LOWER(t.table_name) = %(table)s"
    " AND e.transactions <> 'YES'"
)
# https://mariadb.com/kb/en/mariadb-error-code-reference/
_DENIED = {1044, 1045, 1141, 1142, 1143, 1227, 1370, 1698, 1820, 1862, 3118, 4151}
_BUSY = {1040, 1203, 1205, 1206, 1213, 1226, 1317, 1969, 3024, 3572}
_AWAY = {
    1053,
    1077,
    1079,
    1080,
    1152,
    1153,
    1158,
    1159,
    1160,
    1161,
    1927,
    2002,
    2003,
    2006,
    2013,
    2014,
    2055,
    4031,
}
_WRONG = {1064, 1065, 1149}
_BROKEN = {1016, 1030, 1033, 1034, 1035, 1194, 1195, 1712, 1877}
_TROUBLES = (
    dict.fromkeys(_DENIED, Trouble.DENIED)
    | dict.fromkeys(_BUSY, Trouble.BUSY)
    | dict.fromkeys(_AWAY, Trouble.AWAY)
    | dict.fromkeys(_WRONG, Trouble.WRONG)
    | dict.fromkeys(_BROKEN, Trouble.BROKEN)
)


class Mysql(Database):
    """`mysql://app@db.example.com:3306/shop`, or by a socket `mysql://app@/shop?unix_socket=/run/mysqld/mysqld.sock`."""

    schemes = ("mysql", "mariadb")
    example = "mysql://app@db.example.com:3306/shop"

    def __init__(self, locator: Locator) -> None:
        need("pymysql", "mysql")
        self._address = address(locator, _PORT, _OPTIONS)
        self._database = self._address.path.strip("/")
        if not (self._address.host or self._address.options.get("unix_socket")):
            raise ValueError(f"{str(locator)!r} lacks a host: write {self.example}")

    @property
    def server(self) -> str:
        """Return `mysql:host:port`."""
        return f"mysql:{self._address.shown if self._address.host else self._address.options['unix_socket']}"

    @property
    def name(self) -> str:
        """Return `mysql:host:port/database`."""
        return f"{self.server}/{self._database}"

    @property
    def host(self) -> tuple[str, int] | None:
        """Return where it listens."""
        return (self._address.host, self._address.port) if self._address.host else None

    def quote(self, name: str) -> str:
        """Write the name of a column, in whatever SQL mode."""
        return "`" + name.replace("`", "``") + "`"

    def open(self, mode: Mode, password: str | None, seconds: float) -> "MysqlSession":
        """Connect, set the limits, and begin. Raises DatabaseFault."""
        session = MysqlSession(self, password, seconds)
        try:
            session.limit(seconds)
            if mode is not Mode.ALONE:
                session.begin(read_only=mode is Mode.READ)
        except DatabaseFault:
            session.close()
            raise
        return session

    def connect(self, password: str | None, seconds: float) -> "pymysql.connections.Connection":
        """Connect; a count of rows is that of the rows found, changed or not. Raises DatabaseFault."""
        import pymysql  # noqa: PLC0415 - an extra
        from pymysql.constants import CLIENT  # noqa: PLC0415 - an extra

        place, options = self._address, self._address.options
        silence = math.ceil(seconds + _GRACE_SECONDS)
        if not place.host and not Path(options["unix_socket"]).exists():
            raise DatabaseFault(Trouble.AWAY, self.name, "nobody listens there")
        try:
            return pymysql.connect(
                host=place.host or None,
                port=place.port,
                unix_socket=options.get("unix_socket"),
                user=place.user,
                password=password or "",
                database=self._database or None,
                charset="utf8mb4",
                connect_timeout=min(seconds, CONNECT_SECONDS),
                read_timeout=silence,
                write_timeout=silence,
                client_flag=CLIENT.FOUND_ROWS,
                autocommit=True,
                program_name="stopgap",
                ssl_ca=options.get("ssl_ca"),
                ssl_cert=options.get("ssl_cert"),
                ssl_key=options.get("ssl_key"),
            )
        except (pymysql.Error, RuntimeError, OSError) as error:
            raise self.fault(error) from None

    def fault(self, error: Exception) -> DatabaseFault:
        """Say what went wrong."""
        code, text = (error.args[0], error.args[-1]) if error.args else (0, type(error).__name__)
        said = " ".join(str(text).split())[:300]
        if not isinstance(code, int) or not code:
            return DatabaseFault(Trouble.AWAY, self.name, said)
        if code == _NO_CONNECTION and ("Name or service" in said or "name resolution" in said):
            return DatabaseFault(Trouble.UNRESOLVED, self.name, "the name does not resolve")
        if self.host is not None and lacking(error, {errno.ENOENT}):
            return DatabaseFault(Trouble.ABSENT, self.name, said)  # a file of ssl_ca, ssl_cert or ssl_key
        if code == _NO_CONNECTION and lacking(error):
            return DatabaseFault(Trouble.OURS, self.name, said)
        return DatabaseFault(_TROUBLES.get(code, Trouble.REFUSED), self.name, said)


class MysqlSession(Session):
    """One connection to a server."""

    def __init__(self, place: Mysql, password: str | None, seconds: float) -> None:
        self._place = place
        self._password = password
        self._connection = place.connect(password, seconds)
        self._number = self._connection.thread_id()

    def limit(self, seconds: float) -> None:
        """Let the server end what takes longer."""
        whole = max(1, math.ceil(seconds))
        maria = "MariaDB" in str(self._connection.server_version)
        cap = (
            f"max_statement_time = {seconds:.3f}" if maria else f"max_execution_time = {int(seconds * 1000)}"
        )
        self._run(f"SET SESSION {cap}, innodb_lock_wait_timeout = {whole}, lock_wait_timeout = {whole}", None)

    def begin(self, *, read_only: bool) -> None:
        """Begin a transaction."""
        self._run(f"START TRANSACTION READ {'ONLY' if read_only else 'WRITE'}", None)

    def rows(self, statement: Statement, values: Mapping[str, Any], limit: int) -> Rows:
        """Return what a query returns; the server stops after one row too many."""
        self._run(f"SET SESSION sql_select_limit = {limit + 1}", None)
        columns, rows, _ = self._run(_written(statement), values)
        self._run("SET SESSION sql_select_limit = DEFAULT", None)
        if len(rows) > limit:
            raise TooManyRows(f"more than {limit} rows")
        return Rows(columns, rows)

    def change(self, statement: Statement, values: Mapping[str, Any]) -> int:
        """Execute."""
        columns, _, count = self._run(_written(statement), values)
        return 0 if columns else count

    def check_rollback(self, statement: Statement) -> None:
        """Ask for the table's engine: MyISAM, Aria and others keep what was changed, whatever becomes of the transaction."""
        schema, _, table = statement.subject.rpartition(".")
        values = {"schema": schema, "table": table}
        _, rows, _ = self._run(_ENGINE, values)
        if rows:
            text = f"{rows[0][0]} is of the engine {rows[0][1]}, which rolls nothing back: its rows cannot be bounded"
            raise DatabaseFault(Trouble.REFUSED, self._place.name, text)

    def commit(self) -> None:
        """Commit."""
        self._run("COMMIT", None)

    def close(self) -> None:
        """Hang up; the server rolls back what is open."""
        import pymysql  # noqa: PLC0415 - an extra

        with suppress(pymysql.Error, OSError):
            self._connection.close()

    def interrupt(self) -> None:
        """Ask the server, by another connection, to cancel what is under way."""
        import pymysql  # noqa: PLC0415 - an extra

        with suppress(pymysql.Error, OSError, DatabaseFault):
            other = self._place.connect(self._password, _INTERRUPT_SECONDS)
            try:
                with other.cursor() as cursor:
                    cursor.execute(f"KILL QUERY {int(self._number)}")
            finally:
                other.close()

    def _run(
        self, text: str, values: Mapping[str, Any] | None
    ) -> tuple[tuple[str, ...], tuple[tuple[Any, ...], ...], int]:
        """Execute; return columns, rows, and how many rows were changed."""
        import pymysql.cursors  # noqa: PLC0415 - an extra

        try:
            with self._connection.cursor(pymysql.cursors.SSCursor) as cursor:  # row by row
                cursor.execute(text, None if values is None else dict(values))
                columns = tuple(each[0] for each in cursor.description or ())
                rows = gathered(cursor, _ALL) if columns else ()
                return columns, tuple(rows), 0 if columns else max(cursor.rowcount, 0)
        except (pymysql.Error, OSError) as error:
            raise self._place.fault(error) from None
        except ValueError as error:
            raise DatabaseFault(Trouble.WRONG, self._place.name, str(error)) from None


def _written(statement: Statement) -> str:
    return statement.render(lambda name: f"%({name})s", percent=True)
