"""Reading: the questions that are asked of the rows; the same functions serve the readers and the writer's batch."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Integer, Row, Select, bindparam, select

from stopgap.action import Json
from stopgap.incident import Event, EventKind
from stopgap.journal import CONTROL, Stored, Undo
from stopgap.ledger import Brake, BrakeScope
from stopgap.store import schema
from stopgap.store.rows import decode, instant, maybe_instant, micros
from stopgap.store.statement import Statement

OPENINGS = 100_000  # rows; far more targets than any storm's threshold
PAGE = 1000  # live incidents that are read at once: no single question takes for long, however many there are

_incident, _journal, _undo = schema.incident.c, schema.journal.c, schema.undo.c
_episode, _brake, _version = schema.episode.c, schema.brake.c, schema.rule_version.c

_BRAKES = Statement(
    select(_brake.scope, _brake.name, _brake.by, _brake.why, _brake.since, _brake.until).order_by(
        _brake.scope, _brake.name
    )
)
_OPENINGS = (
    select(_incident.target, _incident.opened_at)
    .where(_incident.opened_at >= bindparam("since"))
    .order_by(_incident.opened_at.desc(), _incident.number.desc())
    .limit(bindparam("most", type_=Integer))
)
_IS_LIVE = _incident.closed_at.is_(None)
_PAGE = (
    select(_incident.number, _incident.id)
    .where(_IS_LIVE, _incident.number > bindparam("after"))
    .order_by(_incident.number)
    .limit(PAGE)
)
_LIVE = (  # that ids go with time lets a database leave out the lines of all other pages
    select(_incident.id, _journal.seq, _journal.at, _journal.kind, _journal.detail)
    .join_from(schema.incident, schema.journal, _journal.incident == _incident.id)
    .where(_IS_LIVE, _incident.number.between(bindparam("first"), bindparam("last")))
    .where(_journal.incident.between(bindparam("least"), bindparam("greatest")))
    .order_by(_incident.number, _journal.seq)
)
_SERVED = select(_episode.rule, _episode.fingerprint).where(_episode.served)
_CLOSED = (
    select(
        _incident.id,
        _incident.rule,
        _incident.version,
        _incident.target,
        _incident.severity,
        _incident.mode,
        _incident.opened_at,
        _incident.outcome,
        _incident.mitigated_at,
        _incident.closed_at,
        _incident.follows,
        _incident.drill,
    )
    .where(_incident.closed_at.is_not(None))
    .order_by(_incident.number.desc())
)
_TIMELINE = (
    select(_journal.seq, _journal.at, _journal.kind, _journal.detail)
    .where(_journal.incident == bindparam("of"))
    .order_by(_journal.seq)
)
_LATELY = (
    select(_journal.seq, _journal.at, _journal.kind, _journal.detail)
    .where(_journal.incident == CONTROL)
    .order_by(_journal.seq.desc())
    .limit(bindparam("most", type_=Integer))
)
_UNDO = select(_undo.before, _undo.receipt).where(
    _undo.incident == bindparam("of"), _undo.act == bindparam("act")
)
_DOCUMENT = select(_version.document).where(_version.version == bindparam("version"))


def brakes(connection: Connection) -> tuple[Brake, ...]:
    """Return the brakes that are on."""
    return tuple(
        Brake(BrakeScope(scope), name, by, why, instant(since), maybe_instant(until))
        for scope, name, by, why, since, until in _BRAKES.rows(connection, {})
    )


def openings(connection: Connection, since: datetime) -> tuple[tuple[str, datetime], ...]:
    """Return (target, opened_at) of the incidents opened since, oldest first; only the newest of very many."""
    newest = connection.execute(_OPENINGS, {"since": micros(since), "most": OPENINGS}).all()
    return tuple((target, instant(opened_at)) for target, opened_at in reversed(newest))


def live(connection: Connection, after: int) -> tuple[Mapping[str, tuple[Event, ...]], int]:
    """Return one page of the timelines of incidents that are not closed, in the order in which they opened, and the last number."""
    page = connection.execute(_PAGE, {"after": after}).all()
    if not page:
        return {}, after
    numbers, names = [number for number, _ in page], [name for _, name in page]
    found = {"first": numbers[0], "last": numbers[-1], "least": min(names), "greatest": max(names)}
    timelines: dict[str, list[Event]] = {}
    for incident, *row in connection.execute(_LIVE, found):
        timelines.setdefault(incident, []).append(_event(*row))
    return {incident: tuple(events) for incident, events in timelines.items()}, numbers[-1]


def timeline(connection: Connection, incident: str) -> tuple[Event, ...]:
    """Return one timeline, empty when unknown."""
    return tuple(_event(*row) for row in connection.execute(_TIMELINE, {"of": incident}))


def lately(connection: Connection, most: int) -> tuple[Event, ...]:
    """Return the last events of `control`, oldest first."""
    return tuple(_event(*row) for row in connection.execute(_LATELY, {"most": most}))[::-1]


def _event(seq: int, at: int, kind: str, detail: str) -> Event:
    return Event(EventKind(kind), instant(at), decode(detail), seq)


def served(connection: Connection) -> frozenset[tuple[str, str]]:
    """Return the (rule, fingerprint) pairs whose repeats open nothing."""
    return frozenset((rule, fingerprint) for rule, fingerprint in connection.execute(_SERVED))


def closed(
    connection: Connection, rule: str | None, target: str | None, before: str | None, limit: int
) -> tuple[Stored, ...]:
    """Return closed incidents, the last opened first; none when `before` is unknown."""
    statement: Select[Any] = _CLOSED.limit(limit)
    if rule is not None:
        statement = statement.where(_incident.rule == rule)
    if target is not None:
        statement = statement.where(_incident.target == target)
    if before is not None:
        number = select(_incident.number).where(_incident.id == before).scalar_subquery()
        statement = statement.where(_incident.number < number)
    return tuple(_stored(row) for row in connection.execute(statement))


def _stored(row: Row[Any]) -> Stored:
    instants = {
        name: maybe_instant(getattr(row, name)) for name in ("opened_at", "mitigated_at", "closed_at")
    }
    return Stored(**{**row._asdict(), **instants})


def undo(connection: Connection, incident: str, act: str) -> Undo | None:
    """Return the undo of one act."""
    row = connection.execute(_UNDO, {"of": incident, "act": act}).one_or_none()
    return None if row is None else Undo(decode(row.before), decode(row.receipt))


def document(connection: Connection, version: str) -> Json:
    """Return the document of a rule version, None when unknown."""
    stored = connection.execute(_DOCUMENT, {"version": version}).scalar()
    found: Json = None if stored is None else decode(stored)
    return found
