"""Pruning: throws away what is past its retention, in chunks that the writer is done with in a few milliseconds.

Readers look for it, so that the writer does not have to. What they find stays true until the writer comes to it: a closed incident
is never live again, and nothing new follows one that was closed long ago. All the same the writer looks at each again.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from datetime import datetime
from itertools import accumulate, islice
from typing import Any

from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    Connection,
    Integer,
    Table,
    Text,
    bindparam,
    exists,
    func,
    or_,
    select,
    true,
)

from stopgap.journal import CONTROL
from stopgap.retention import Dropped, Due
from stopgap.store import schema
from stopgap.store.batch import Batch
from stopgap.store.rows import instant, micros

PAGE = 500  # incidents that are looked for at once
INCIDENTS = 10  # of one chunk
LINES = 150  # of one chunk
LOADS = 3  # of rules: those in force, those that come into force, and one that failed to

_incident, _journal, _version = schema.incident.c, schema.journal.c, schema.rule_version.c
_BEFORE: BindParameter[int] = bindparam("before", type_=BigInteger)
_SOME: BindParameter[str] = bindparam("some", expanding=True, type_=Text)


def _without(table: Table, where: ColumnElement[bool] | None = None) -> ColumnElement[bool]:
    """Say that an incident has no row, or no such row, in a table."""
    return ~exists().where(table.c.incident == _incident.id, true() if where is None else where)


_IS_OVER = (
    _incident.closed_at < _BEFORE,
    or_(
        _incident.acted_at.is_(None), _incident.acted_at < _BEFORE
    ),  # clocks are set back: later than its end
    or_(_incident.reverted_at.is_(None), _incident.reverted_at < _BEFORE),
    _without(schema.held),
    _without(schema.episode),  # it serves alerts that still fire
    _without(schema.permit, schema.permit.c.at >= _BEFORE),
)
_FOLLOWED = select(_incident.follows).where(_incident.closed_at.is_(None), _incident.follows != "")
_DUE = (
    select(_incident.id, _incident.seq, _incident.opened_at, _incident.number)
    .where(
        _incident.opened_at < _BEFORE,
        _incident.opened_at >= bindparam("from_at"),
        or_(_incident.opened_at > bindparam("from_at"), _incident.number > bindparam("from_number")),
        *_IS_OVER,
        _incident.id.not_in(_FOLLOWED),
    )
    .order_by(_incident.opened_at, _incident.number)
    .limit(PAGE)
)
_STILL = select(_incident.id).where(_incident.id.in_(_SOME), *_IS_OVER)
_TIMELINES = schema.journal.delete().where(_journal.incident.in_(_SOME))
_ROWS = (
    schema.undo.delete().where(schema.undo.c.incident.in_(_SOME)),
    schema.permit.delete().where(schema.permit.c.incident.in_(_SOME)),
    schema.incident.delete().where(_incident.id.in_(_SOME)),
)
_END = (  # what lies behind it is one chunk
    select(_journal.seq)
    .where(_journal.incident == bindparam("of"))
    .order_by(_journal.seq.desc())
    .limit(1)
    .offset(LINES)
)
_TRIM = schema.journal.delete().where(_journal.incident == bindparam("of"), _journal.seq > bindparam("end"))
_LAST = select(func.max(_journal.seq)).where(_journal.incident == CONTROL).scalar_subquery()
_OLD_CONTROL = (
    select(_journal.seq)
    .where(_journal.incident == CONTROL, _journal.at < _BEFORE, _journal.seq < _LAST)
    .order_by(_journal.seq)
    .limit(LINES)
)
_DROP_CONTROL = schema.journal.delete().where(
    _journal.incident == CONTROL, _journal.seq.in_(bindparam("some", expanding=True, type_=Integer))
)
_UNNAMED = select(_version.version).except_(select(_incident.version))
_FORGET = schema.rule_version.delete().where(_version.version.in_(_SOME))
_OLDEST = (
    select(_incident.opened_at).where(_incident.closed_at.is_not(None)).order_by(_incident.opened_at).limit(1)
)

Write = Callable[[Callable[[Batch], Any]], Awaitable[Any]]
Read = Callable[..., Awaitable[Any]]


class Pruning:
    """The archive of a store, which lends its writer and its readers."""

    def __init__(self, write: Write, read: Read, waiting: Callable[[], int]) -> None:
        self._write = write
        self._read = read
        self._waiting = waiting
        self._loaded: deque[frozenset[str]] = deque(maxlen=LOADS)

    def loaded(self, versions: Iterable[str]) -> None:
        """Keep these documents from now on: their rules come into force."""
        self._loaded.append(frozenset(versions))

    @property
    def waiting(self) -> int:
        """Return how many operations wait for the writer."""
        return self._waiting()

    async def due(self, before: datetime, after: Due | None) -> Sequence[Due]:
        """Return the oldest incidents that nothing needs any more, from behind one on."""
        found: tuple[Due, ...] = await self._read(due, before, after)
        return found

    async def drop(self, due: Sequence[Due], before: datetime) -> Dropped:
        """Throw away one chunk of them."""
        dropped: Dropped = await self._write(lambda batch: drop(batch, due, before))
        return dropped

    async def drop_control(self, before: datetime) -> int:
        """Throw away one chunk of old lines of `control`."""
        seqs: list[int] = await self._read(old_control, before)
        if seqs:
            await self._write(lambda batch: _delete(batch, _DROP_CONTROL, some=seqs))
        return len(seqs)

    async def unnamed(self) -> Sequence[str]:
        """Return the rule versions that no incident names."""
        versions: list[str] = await self._read(unnamed)
        return versions

    async def forget(self, versions: Sequence[str], in_force: Collection[str]) -> int:
        """Throw away one chunk of documents; whether one was loaded meanwhile is asked inside the batch."""

        def work(batch: Batch) -> int:
            kept = frozenset(in_force).union(*self._loaded)
            gone = [each for each in versions if each not in kept]
            return _delete(batch, _FORGET, some=gone) if gone else 0

        forgotten: int = await self._write(work)
        return forgotten

    async def oldest(self) -> datetime | None:
        """Return when the oldest closed incident was opened."""
        found: datetime | None = await self._read(oldest)
        return found


def due(connection: Connection, before: datetime, after: Due | None) -> tuple[Due, ...]:
    """Return a page of incidents that nothing needs any more, in the order of their opening."""
    at, number = after.place if after is not None else (0, 0)
    where = {"before": micros(before), "from_at": at, "from_number": number}
    return tuple(Due(name, lines, (at, no)) for name, lines, at, no in connection.execute(_DUE, where))


def drop(batch: Batch, due: Sequence[Due], before: datetime) -> Dropped:
    """Throw away as many as one chunk holds, in the order given; the first of them in parts if it is longer than that."""
    lengths = accumulate(one.lines for one in islice(due, INCIDENTS))
    count = max(1, sum(1 for length in lengths if length <= LINES))
    where = {"some": [one.incident for one in due[:count]], "before": micros(before)}
    some = list(batch.connection.execute(_STILL, where).scalars())
    if not some:
        return Dropped(0, 0, tuple(due[count:]))
    if due[0].lines > LINES and (trimmed := _trim(batch, due[0].incident)):
        return Dropped(0, trimmed, tuple(due))
    lines = _delete(batch, _TIMELINES, some=some)
    for statement in _ROWS:
        _delete(batch, statement, some=some)
    return Dropped(len(some), lines, tuple(due[count:]))


def _trim(batch: Batch, incident: str) -> int:
    """Take the end off a timeline, which leaves one that can be read; return how many lines, none when it is short."""
    end = batch.connection.execute(_END, {"of": incident}).scalar()
    return 0 if end is None else _delete(batch, _TRIM, of=incident, end=end)


def old_control(connection: Connection, before: datetime) -> list[int]:
    """Return a chunk of the old lines of `control`; the last line keeps the count."""
    return list(connection.execute(_OLD_CONTROL, {"before": micros(before)}).scalars())


def unnamed(connection: Connection) -> list[str]:
    """Return the rule versions that no incident names."""
    return list(connection.execute(_UNNAMED).scalars())


def oldest(connection: Connection) -> datetime | None:
    """Return when the oldest closed incident was opened, None when there is none."""
    found = connection.execute(_OLDEST).scalar()
    return None if found is None else instant(found)


def _delete(batch: Batch, statement: Any, **where: Any) -> int:
    batch.written = True
    return int(batch.connection.execute(statement, where).rowcount)
