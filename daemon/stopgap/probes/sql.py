"""Sql: the probe that asks a database, and reads what it answers."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field, SecretStr, StringConstraints

from stopgap.action import Params, Text, reveal
from stopgap.backends import log_in
from stopgap.backends.database import Database, DatabaseFault, Mode, TooManyRows, Trouble
from stopgap.backends.dsn import Login
from stopgap.backends.rows import Rows
from stopgap.backends.statement import parse_statement
from stopgap.backends.worker import Work, work
from stopgap.context import Context
from stopgap.duration import print_duration
from stopgap.probe import Finding
from stopgap.probes.answers import healthy, one_line, unhealthy, unknown
from stopgap.probes.condition import Condition, Is
from stopgap.probes.reach import resolve

_MOST = 1000  # rows
_NOT_LOOKED = {Trouble.UNRESOLVED, Trouble.DENIED, Trouble.ABSENT, Trouble.WRONG, Trouble.OURS}


def _answers_sql(at: Text) -> Text:
    log_in(at, None, Database)  # type: ignore[type-abstract]
    return at


def _looks(text: str) -> str:
    if not parse_statement(text).looks:
        raise ValueError("the query is no SELECT, SHOW or PRAGMA that only looks: a probe changes nothing")
    return text


Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class SqlParams(Params):
    """Where, what to ask, and what every row of the answer must be."""

    siblings: ClassVar[frozenset[str]] = frozenset({"is"})
    fixed: ClassVar[frozenset[str]] = frozenset({"query"})

    at: Annotated[
        Text,
        AfterValidator(_answers_sql),
        Field(
            description="Where: sqlite:///path, postgres://user@host:port/database, mysql://user@host:port/database."
        ),
    ]
    password: Annotated[Text | None, Field(description="The password of the user; a secret.")] = None
    query: Annotated[
        str,
        AfterValidator(_looks),
        Field(min_length=1, description="A SELECT of one column; `:name` stands for a value."),
    ]
    values: Annotated[
        Mapping[Name, Text | int | float | bool | None],
        Field(description="The values of the names; the only place for labels."),
    ] = Field(default_factory=dict)
    is_: Annotated[
        Is, Field(alias="is", description="What the value of each row must be: '== 0', '== \"ok\"'.")
    ]

    @property
    def login(self) -> Login[Database]:
        """Return the database, and the password."""
        return log_in(self.at, self.password, Database)  # type: ignore[type-abstract]


class Sql:
    """Asks a database on a fresh connection that can change nothing. Healthy when every row returned satisfies `is`.

    The query returns one column. Truths count as 1 and 0, dates are texts. Refused, reset, no answer in time, a locked or damaged
    database, an error of the query (no such table) are unhealthy. No row, NULL, a text where a number is wanted, a
    missing file, a name that does not resolve, a login or a right that is refused and wrong SQL are unknown.

    ```yaml
    - {sql: {at: "sqlite:///srv/hotel/hotel.db", query: PRAGMA integrity_check}, is: '== "ok"', timeout: 30s}
    - sql:
        at: postgres://app@db.example.com:5432/hotel
        password: "{{ secrets.db_password }}"
        query: SELECT count(*) FROM jobs WHERE status = 'processing' AND started_at < now() - interval '1 hour'
      is: '== 0'
    ```
    """

    name: ClassVar[str] = "sql"
    after: ClassVar[float] = 0.0
    params: type[SqlParams] = SqlParams

    def __init__(self, context: Context) -> None:
        """Take nothing from the context: a locator says it all."""

    def describe(self, params: SqlParams) -> str:
        """Show where, the query and the condition."""
        return one_line(f"sql {_where(params)}: {one_line(params.query, 150)} {params.is_}")

    async def ask(self, params: SqlParams, timeout: timedelta) -> Finding:  # noqa: ASYNC109 - the port's signature
        """Ask once. Raises ProbeError when the name does not resolve."""
        login = params.login
        deadline = asyncio.get_running_loop().time() + timeout.total_seconds()
        if login.place.host is not None:
            await resolve(*login.place.host, deadline)
        values = {name: reveal(v) if isinstance(v, SecretStr) else v for name, v in params.values.items()}
        query = parse_statement(params.query)

        def asked(task: Work) -> Rows:
            return task.session.rows(query, values, _MOST)

        try:
            async with asyncio.timeout_at(deadline):
                return judge(await work(login, Mode.READ, timeout.total_seconds(), asked), params)
        except TimeoutError:
            return unhealthy(f"{_where(params)}: no answer within {print_duration(timeout)}")
        except TooManyRows:
            return unknown(f"{_where(params)}: {one_line(params.query, 120)}: more than {_MOST} rows")
        except DatabaseFault as fault:
            secrets = [
                reveal(v) for v in (*params.values.values(), params.password) if isinstance(v, SecretStr)
            ]
            verdict = unknown if fault.trouble in _NOT_LOOKED else unhealthy
            return verdict(fault.told(secrets, hidden=isinstance(params.at, SecretStr)))


def judge(rows: Rows, params: SqlParams) -> Finding:
    """Judge an answer: one row that fails outweighs another that cannot be compared."""
    query = one_line(params.query, 120)
    if len(rows.columns) > 1:
        return unknown(f"{query}: {len(rows.columns)} columns, wanted one: select the one that counts")
    if not rows.rows:
        return unknown(f"{query}: no row")
    values = [_plain(row[0]) for row in rows.rows]
    strange = [each for each in values if not _comparable(each, params.is_)]
    failing = [each for each in values if _comparable(each, params.is_) and not params.is_.holds(each)]
    of = "" if len(values) == 1 else f"{len(failing or strange or values)} of {len(values)} rows: "
    shown = one_line(repr((failing or strange or values)[0]), 80)
    if failing:
        return unhealthy(f"{of}{query} = {shown}, wanted {params.is_}")
    if strange:
        kind = "text" if isinstance(params.is_.wanted, str) else "number"
        return unknown(f"{of}{query} = {shown}, which is no {kind} to compare with {params.is_}: cast it")
    return healthy(f"{of}{query} = {shown}, wanted {params.is_}")


def _comparable(value: float | str | None, condition: Condition) -> bool:
    wants_text = isinstance(condition.wanted, str)
    return value is not None and value == value and isinstance(value, str) == wants_text  # noqa: PLR0124 - NaN


def _plain(value: Any) -> float | str | None:
    """Return a value as a number or a text."""
    if isinstance(value, Decimal | bool):
        return float(value)
    if value is None or isinstance(value, int | float | str):
        return value
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _where(params: SqlParams) -> str:
    return "***" if isinstance(params.at, SecretStr) else params.login.place.name
