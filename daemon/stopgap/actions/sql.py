"""Sql: statements change a database, bounded in rows and time, and what they changed can be put back."""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar, TypeVar

import orjson
from pydantic import SecretStr

from stopgap.action import Action, Danger, Json, Moment, Restored, Reverted, Settled, reveal
from stopgap.actions import observed
from stopgap.actions.http import NoClearAnswer
from stopgap.actions.saved import Saved, keep
from stopgap.actions.sql_params import SqlParams
from stopgap.backends.database import DatabaseFault, Mode, Session, TooManyRows, Trouble
from stopgap.backends.rows import Rows
from stopgap.backends.statement import Kind, Statement, parse_statement
from stopgap.backends.worker import Work, work
from stopgap.context import Context
from stopgap.errors import ActionError, PermanentError, TemporaryError

_MOST_OBSERVED = 100  # rows
_PLAN = 10_000  # lines of EXPLAIN
_LATER = {Trouble.BUSY, Trouble.AWAY, Trouble.UNRESOLVED, Trouble.OURS}

_SHOWN = 5  # rows of an undo that is said to a person
_SECRET_NAME = re.compile(r"PASS|SECRET|TOKEN|CREDENTIAL|PRIVATE|API_?KEY|ACCESS_?KEY", re.IGNORECASE)

T = TypeVar("T")


class Sql(Action[SqlParams]):
    """Change a database, within a bound of rows and of time.

    INSERT, UPDATE and DELETE are one transaction and need `max_rows`: if more rows are changed, none is. VACUUM, ANALYZE, REINDEX,
    OPTIMIZE, PRAGMA, SET GLOBAL, ALTER SYSTEM and KILL are done one after the other, each by itself. What drops or truncates, an
    UPDATE or DELETE without WHERE, and what is not known to be harmless needs an approval. What a called function does outside
    the transaction (`pg_terminate_backend`) no row count bounds: write LIMIT. Rows changed by triggers and cascades do not count.

    `save` keeps the rows of a plain UPDATE or DELETE by their key (at most 5000, 1 MiB), and puts back later those that nobody
    changed meanwhile. For anything else `observe` shows the state, and `revert` is done for each row that it returned.

    ```yaml
    sql:
      at: postgres://bookgen@db.example.com:5432/bookgen
      password: "{{ secrets.db_password }}"
      statement: >
        UPDATE biography_jobs SET status = 'failed', error_message = :why
        WHERE status = 'processing' AND started_at < now() - interval '1 hour'
      values: {why: Worker crashed - job reset}
      max_rows: 200
      save: job_id
    ```

    ```yaml
    sql:
      at: mysql://stopgap@127.0.0.1:3306/
      password: "{{ secrets.db_password }}"
      observe: SELECT @@GLOBAL.max_connections AS old
      statement: SET GLOBAL max_connections = 300
      revert: SET GLOBAL max_connections = :old
    ```

    ```yaml
    sql: {at: sqlite:///srv/hotel/hotel.db, statement: [VACUUM, ANALYZE]}
    ```
    """

    name: ClassVar[str] = "sql"
    danger: ClassVar[Danger] = Danger.BOUNDED
    timeout: ClassVar[timedelta] = timedelta(seconds=30)
    params = SqlParams

    def __init__(self, context: Context) -> None:
        """Take nothing of the context: a locator says it all."""

    def danger_of(self, given: Mapping[str, Any]) -> Danger:
        """Tell how much these statements can destroy."""
        texts = [text for key in ("statement", "revert") for text in _texts(given.get(key))]
        return Danger.DESTRUCTIVE if any(map(_destroys, texts)) else Danger.BOUNDED

    def describe(self, params: SqlParams) -> str:
        """Show the statements, and the values, secrets masked."""
        values = ", ".join(f"{name}={_shown(value)}" for name, value in params.values.items())
        bound = f", at most {params.max_rows} rows" if params.max_rows else ""
        said = _line("; ".join(map(str, params.parsed)), 300)
        return f"in {params.where}{bound}: {said}{_line(f' with {values}', 200) if values else ''}"

    def idempotent(self, params: SqlParams) -> bool:
        """Tell what the rule says; saved rows are changed once or not, and upkeep does no harm twice."""
        if params.idempotent is not None:
            return params.idempotent
        return bool(params.save) or all(s.kind is Kind.UPKEEP and s.verb != "kill" for s in params.parsed)

    def reverts(self, params: SqlParams) -> bool:
        """Tell whether there is something to put back."""
        return bool(params.save or params.revert)

    def resource(self, params: SqlParams) -> tuple[str, ...]:
        """Name the tables, or the settings; of a secret address only a digest."""
        secret = isinstance(params.at, SecretStr)
        digest = hashlib.sha256(reveal(params.at).encode()).hexdigest()[:16]
        place = f"sql:{digest}" if secret else params.login.place.name
        server = place if secret else params.login.place.server

        def name(subject: str) -> str:
            return f"{server if subject.startswith('@@') else place}#{subject}" if subject else place

        return tuple(dict.fromkeys(name(statement.subject) for statement in params.parsed))

    def undo_by_hand(self, params: SqlParams, before: Json) -> str:
        """Show the old values of a few rows, or the statements that take back."""
        if params.save:
            return f"in {params.where}: {_by_hand(_saved(params), Rows.kept(before))}"
        if not params.revert:
            return "nothing"
        rows = Rows.kept(before).dicts() if before else []
        seen = ", ".join(
            f"{name}={_shown(value, name)}" for row in rows[:_SHOWN] for name, value in row.items()
        )
        return f"in {params.where}: {_line('; '.join(params.revert), 300)}{f' with {seen}' if seen else ''}"

    async def observe(self, params: SqlParams, moment: Moment) -> Json:
        """Read the rows that are about to change, or what `observe` selects."""
        if not (params.save or params.observe):
            return None
        return await _with(params, Mode.READ, moment, lambda task: _seen(params, task.session))

    async def rehearse(self, params: SqlParams, moment: Moment) -> None:
        """Connect, observe, and let the database explain each statement: it checks names and rights and does nothing."""
        explained = [s for s in params.parsed if s.transactional]

        def rehearsed(task: Work) -> None:
            _seen(params, task.session)
            for statement in explained:
                task.session.check_rollback(statement)
                task.session.rows(parse_statement(f"EXPLAIN {statement.text}"), params.bound(), _PLAN)

        await _with(params, Mode.WRITE if explained else Mode.READ, moment, rehearsed)

    def settled(self, params: SqlParams, before: Json, now: Json) -> Settled:
        """Compare: a transaction is whole, so one row that is still about to change says that it was not done."""
        if not params.save:
            return observed.settled(before, now)
        return Settled.NOT_DONE if _written(before) & _written(now) else Settled.DONE

    def settled_revert(self, params: SqlParams, before: Json, now: Json) -> Settled:
        """Compare: all rows are there again."""
        if not params.save:
            return observed.settled_revert(before, now)
        return Settled.DONE if _written(before) <= _written(now) else Settled.NOT_DONE

    async def run(self, params: SqlParams, before: Json, moment: Moment) -> Json:
        """Execute the statements; commit if no more rows were changed than may be, and only those that were saved."""
        lasting: list[Statement] = []

        def done(task: Work) -> Json:
            most = _insist(params, task.session, Rows.kept(before)) if params.save else None
            touched = 0
            for statement in params.parsed:
                if params.together:
                    task.session.check_rollback(statement)
                touched += task.session.change(statement, params.bound())
                lasting.extend(() if params.together or not params.revert else (statement,))
                _bounded(params, touched, most)
            after = _left(params, task.session, before)
            task.commit()
            return {"after": after}

        mode = Mode.WRITE if params.together else Mode.ALONE
        return await _with(params, mode, moment, done, lasting=lasting)

    async def revert(self, params: SqlParams, before: Json, receipt: Json, moment: Moment) -> Reverted:
        """Put back the rows, or execute `revert`; leave alone what somebody changed."""
        if params.save:
            return await _with(
                params, Mode.WRITE, moment, lambda task: _put_back(params, task, before, receipt)
            )
        if not params.revert:
            return Reverted(Restored.NOTHING)
        if drifted := observed.drift(before, receipt, await self.observe(params, moment)):
            return drifted
        statements = tuple(map(parse_statement, params.revert))

        def undone(task: Work) -> None:
            for row in Rows.kept(before).dicts() if before else [{}]:
                for statement in statements:
                    task.session.change(statement, params.bound() | row)
            task.commit()

        mode = Mode.WRITE if statements[0].transactional else Mode.ALONE
        await _with(params, mode, moment, undone, statements=statements)
        return Reverted(Restored.REVERTED, _line("; ".join(map(str, statements)), 200))


# --- in the thread ---


def _seen(params: SqlParams, session: Session) -> Json:
    if params.save:
        return keep(_saved(params).find(session, params.bound(), params.max_rows or 0))
    if params.observe is None:
        return None
    try:
        return keep(session.rows(parse_statement(params.observe), params.bound(), _MOST_OBSERVED))
    except TooManyRows:
        raise PermanentError(f"observe returns more than {_MOST_OBSERVED} rows: select fewer") from None


def _insist(params: SqlParams, session: Session, kept: Rows) -> int:
    """Return how many rows are about to change. Raises TemporaryError if one of them was not saved as it is."""
    saved = _saved(params)
    now = saved.find(session, params.bound(), params.max_rows or 0, keep=True)
    if not saved.unchanged(kept, now):
        raise TemporaryError(f"rows of {saved.table} were changed by somebody else since they were observed")
    return len(now.rows)


def _bounded(params: SqlParams, touched: int, saved: int | None) -> None:
    if saved is not None and touched > saved:  # PostgreSQL looks anew for each statement
        raise TemporaryError(
            f"{touched - saved} rows came to those that were saved just now: nothing was changed"
        )
    if params.max_rows is not None and touched > params.max_rows:
        raise PermanentError(
            f"{touched} rows would be changed, at most {params.max_rows} may be: nothing was changed"
        )


def _left(params: SqlParams, session: Session, before: Json) -> Json:
    """Return what is there after the act: what somebody else changes later shows by it."""
    if params.save:
        return keep(_saved(params).again(session, Rows.kept(before)))
    return _seen(params, session)


def _put_back(params: SqlParams, task: Work, before: Json, receipt: Json) -> Reverted:
    saved, kept = _saved(params), Rows.kept(before)
    after = Rows.kept(receipt["after"]) if receipt else None
    put = saved.put_back(task.session, kept, after)
    task.commit()
    back = f"{len(put.back)} rows of {saved.table} put back"
    if put.left:
        left = _line("; ".join(put.left), 200)
        text = f"changed by somebody else and left alone: {left}" + (f", {back}" if put.back else "")
        return Reverted(Restored.DRIFTED, text, partly=bool(put.back))
    return (
        Reverted(Restored.REVERTED, back)
        if put.back
        else Reverted(Restored.NOTHING, "the old rows were in place")
    )


async def _with(
    params: SqlParams,
    mode: Mode,
    moment: Moment,
    does: Callable[[Work], T],
    *,
    statements: Sequence[Statement] = (),
    lasting: Sequence[Statement] = (),
) -> T:
    """Do something with a connection. Raises ActionError when known not done, NoClearAnswer when not known.

    `lasting` are the statements that have been done for good, and are to be taken back, when something goes wrong.
    """
    try:
        return await work(params.login, mode, moment.timeout.total_seconds(), does)
    except DatabaseFault as fault:
        secrets = [
            reveal(each) for each in (*params.values.values(), params.password) if isinstance(each, SecretStr)
        ]
        text = fault.told(secrets, hidden=isinstance(params.at, SecretStr))
        lost = fault.trouble is Trouble.AWAY and not fault.connecting and mode is not Mode.READ
        rows_only = all(each.kind is Kind.ROWS for each in statements or params.parsed)
        if lasting or (lost and (fault.committing or not rows_only)):
            raise NoClearAnswer(text) from None
        raise (TemporaryError if fault.trouble in _LATER else PermanentError)(text) from None
    except ActionError as error:
        if lasting:
            raise NoClearAnswer(str(error)) from None
        raise


# --- words ---


def _texts(given: object) -> tuple[str, ...]:
    several = given if isinstance(given, list | tuple) else (given,)
    return tuple(each for each in several if isinstance(each, str))


def _destroys(text: str) -> bool:
    try:
        return parse_statement(text).kind is Kind.DESTRUCTIVE
    except ValueError:
        return False  # told when the parameters were checked


def _written(kept: Json) -> set[bytes]:
    return set(map(orjson.dumps, kept["rows"]))


def _saved(params: SqlParams) -> Saved:
    return Saved(params.login.place, params.parsed[0], params.save)


def _by_hand(saved: Saved, kept: Rows) -> str:
    """Say how rows are put back; which values those of a DELETE had is for the kept undo, not for a page."""
    rows = list(saved.by_key(kept))
    more = f"; and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else ""
    if saved.statement.verb == "delete":
        return f"insert again into {saved.table} the rows with {'; '.join(key for key, _ in rows[:_SHOWN])}{more}"
    shown = "; ".join(
        f"{', '.join(f'{name}={_shown(value, name)}' for name, value in old.items())} where {key}"
        for key, old in rows[:_SHOWN]
    )
    return _line(f"in {saved.table} set {shown}{more}", 1000)


def _shown(value: Any, name: str = "") -> str:
    if isinstance(value, SecretStr) or _SECRET_NAME.search(name):
        return "***"
    return "NULL" if value is None else _line(str(value), 80)


def _line(text: str, limit: int) -> str:
    line = "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))
    return line if len(line) <= limit else line[: limit - 1] + "…"
