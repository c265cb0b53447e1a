"""Statement: one statement of a hot path, worded once for each dialect and then put straight to the driver.

SQLAlchemy writes the words; that it also prepares every single execution costs more than the database does. An IN over many values
(an expanding parameter) is worded for 1, 2, 4, 8 … of them, so that few wordings serve all, and filled up with its last value.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import ClauseElement, Connection
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError

if TYPE_CHECKING:
    from sqlalchemy.sql.compiler import SQLCompiler

Parameters = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Wording:
    """The words for one dialect, how parameters are handed to its driver, and the names that an IN of that size has."""

    text: str
    pack: Callable[[Parameters], Any]
    fixed: Parameters
    some: tuple[str, ...]


class Statement:
    """Wraps a statement whose parameters have the names of their columns (`columns`, of an insert) or of its bindparams.

    `some` is the name of the parameter that is a list. Errors are SQLAlchemy's DBAPIError, which hide what was to be written.
    """

    def __init__(self, statement: ClauseElement, *, columns: Sequence[str] = (), some: str = "") -> None:
        self._statement = statement
        self._columns = list(columns) or None
        self._some = some
        self._wordings: dict[tuple[str, int], _Wording] = {}

    def rows(self, connection: Connection, parameters: Parameters) -> list[tuple[Any, ...]]:
        """Ask, and return all rows."""
        cursor = self._execute(connection, parameters)
        try:
            found: list[tuple[Any, ...]] = cursor.fetchall()
        finally:
            cursor.close()
        return found

    def do(self, connection: Connection, parameters: Parameters) -> int:
        """Change something; returns how many rows."""
        cursor = self._execute(connection, parameters)
        count: int = cursor.rowcount
        cursor.close()
        return count

    def each(self, connection: Connection, rows: Sequence[Parameters]) -> None:
        """Change something once for each row of parameters, none of which is a list."""
        wording = self._wording(connection.dialect, 0)
        cursor = connection.connection.cursor()
        try:
            cursor.executemany(wording.text, [wording.pack(row) for row in rows])
        except _errors(connection.dialect) as error:
            raise DBAPIError(None, None, error, hide_parameters=True) from error
        finally:
            cursor.close()

    def _execute(self, connection: Connection, parameters: Parameters) -> Any:
        given = dict(parameters)
        size = 0
        if self._some:
            values = given.pop(self._some)
            size = 1 << (len(values) - 1).bit_length()
        wording = self._wording(connection.dialect, size)
        if size:
            filled = [*values, *[values[-1]] * (size - len(values))]
            given.update(zip(wording.some, filled, strict=True))
        cursor = connection.connection.cursor()
        try:
            cursor.execute(wording.text, wording.pack({**given, **wording.fixed}))
        except _errors(connection.dialect) as error:
            cursor.close()
            raise DBAPIError(None, None, error, hide_parameters=True) from error
        return cursor

    def _wording(self, dialect: Dialect, size: int) -> _Wording:
        key = (dialect.name, size)
        if key not in self._wordings:
            self._wordings[key] = self._worded(dialect, size)
        return self._wordings[key]

    def _worded(self, dialect: Dialect, size: int) -> _Wording:
        compiled = cast("SQLCompiler", self._statement.compile(dialect=dialect, column_keys=self._columns))
        fixed = {name: bind.value for bind, name in compiled.bind_names.items() if not bind.required}
        order: Sequence[str] | None = compiled.positiontup
        text, some = str(compiled), tuple[str, ...]()
        if size:
            given = dict.fromkeys(compiled.bind_names.values()) | fixed | {self._some: [""] * size}
            expanded = compiled.construct_expanded_state(given)
            text, order = expanded.statement, expanded.positiontup
            some = tuple(expanded.parameter_expansion[self._some])
        return _Wording(text, dict if order is None else _tuple_of(order), fixed, some)


def _tuple_of(names: Sequence[str]) -> Callable[[Parameters], tuple[Any, ...]]:
    if len(names) == 1:
        return lambda row: (row[names[0]],)
    if not names:
        return lambda _: ()
    take: Callable[[Parameters], tuple[Any, ...]] = itemgetter(*names)
    return take


def _errors(dialect: Dialect) -> type[Exception]:
    found: type[Exception] = dialect.loaded_dbapi.Error
    return found
