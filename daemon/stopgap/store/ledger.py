"""Ledger: the rows that guards read, for one request. Inside the batch and outside of it the same questions are asked.

The start of a rung asks about the past in one statement. Each of its parts gives at most as many rows as its limit says: none (0)
of what the request does not need.
"""

from collections import defaultdict
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    Select,
    Text,
    bindparam,
    false,
    func,
    literal_column,
    select,
    true,
    union_all,
)

from stopgap.guard import Request
from stopgap.incident import TARGET_LOCK, Outcome
from stopgap.ledger import Failure, Ledger
from stopgap.rule import Mode
from stopgap.store import reading, schema
from stopgap.store.rows import instant, micros
from stopgap.store.statement import Statement

FAILURES = 50  # at least; few enough to be said

_incident, _held, _permit = schema.incident.c, schema.held.c, schema.permit.c
_HOLDERS = Statement(
    select(_held.resource, _held.incident).where(
        _held.resource.in_(bindparam("some", expanding=True)), _held.incident != bindparam("own")
    ),
    some="some",
)
_AFFECTED = (
    select(func.count(_incident.target.distinct()))
    .join_from(schema.held, schema.incident)
    .where(
        _incident.target != bindparam("on"),
        # Concatenated, so that no index is used for it: few incidents hold anything, many belong to a rule.
        _incident.rule.concat("").in_(bindparam("some", expanding=True)),
    )
)
_FIRST = select(_incident.number, _incident.id).where(  # one row at most for each rule, so it need not sort
    _incident.closed_at.is_(None),
    _incident.target == bindparam("on"),
    _incident.rule.in_(bindparam("some", expanding=True)),
    _incident.mode != Mode.SHADOW.value,
    _incident.id != bindparam("own"),
)


def _newest(part: str, rows: Select[Any], *order: ColumnElement[Any]) -> Select[Any]:
    """Return one part of the question about the past: of these (incident, at) the newest, at most as many as its parameter says."""
    some = rows.order_by(*(column.desc() for column in order)).limit(bindparam(part, type_=Integer))
    return select(literal_column(f"'{part}'", Text), *some.subquery(part).c)


def _permits(part: str, *where: ColumnElement[bool]) -> Select[Any]:
    rows = select(_permit.incident, _permit.at).where(*where)
    return _newest(part, rows, _permit.at, _permit.id)


def _within(part: str) -> ColumnElement[bool]:
    return _permit.at > bindparam(f"{part}_since")


def _incidents(part: str, *where: ColumnElement[bool]) -> Select[Any]:
    rows = select(_incident.id, _incident.acted_at).where(
        _incident.target == bindparam("on"),
        _incident.rule == bindparam("under"),
        _incident.id != bindparam("own"),
        _incident.acted_at.is_not(None),
        *where,
    )
    return _newest(part, rows, _incident.acted_at, _incident.number)


_OF_THE_RULE = _permit.rule == bindparam("under")
_LIVE, _SHADOW = _permit.shadow == false(), _permit.shadow == true()
_ALL = union_all(
    _permits("permits", _LIVE, _OF_THE_RULE, _within("permits")),
    _permits("permits_global", _LIVE, _within("permits_global")),
    _incidents("acted", _incident.reverted_at.is_(None)),
    _incidents(
        "failures",
        _incident.closed_at.is_not(None),
        _incident.mitigated_at.is_(None),
        _incident.outcome != Outcome.RECOVERED.value,
    ),
)
_ALL_OF_SHADOWS = union_all(
    _permits("permits", _SHADOW, _OF_THE_RULE, _within("permits")),
    _permits("permits_global", _SHADOW, _within("permits_global")),
    _permits(
        "acted",
        _SHADOW,
        _OF_THE_RULE,
        _permit.target == bindparam("on"),
        _permit.incident != bindparam("own"),
    ),
)
_PAST, _PAST_OF_SHADOWS = Statement(_ALL), Statement(_ALL_OF_SHADOWS)


def ledger(connection: Connection, request: Request, now: datetime) -> Ledger:
    """Return what the guards need for a request that is asked now."""
    brakes = reading.brakes(connection)
    holders = {} if request.shadow else _holders(connection, request)
    if not request.starts:
        return Ledger(brakes, holders)
    past = _past(connection, request, now)
    acted = past["acted"]
    return Ledger(
        brakes,
        holders,
        acted_at=acted[0].at if acted else None,
        permits=tuple(each.at for each in past["permits"]),
        permits_global=tuple(each.at for each in past["permits_global"]),
        failures=tuple(past["failures"]),
        affected=_affected(connection, request) if request.limits.blast_radius and request.population else 0,
        first=_first(connection, request) if request.yield_to else "",
    )


def _holders(connection: Connection, request: Request) -> dict[str, str]:
    """Return those of the resources that other incidents hold, and which."""
    asked = sorted({*request.take, TARGET_LOCK + request.target})
    return dict(_HOLDERS.rows(connection, {"some": asked, "own": request.incident}))


def _past(connection: Connection, request: Request, now: datetime) -> defaultdict[str, list[Failure]]:
    """Return what was done before, by the question's parts, newest first."""
    limits = request.limits
    parameters = {
        "on": request.target,
        "under": request.rule,
        "own": request.incident,
        "permits": limits.budget.count,
        "permits_since": micros(now - limits.budget.window),
        "permits_global": limits.budget_global.count,
        "permits_global_since": micros(now - limits.budget_global.window),
        "acted": int(request.first and not request.follows),
        "failures": max(FAILURES, limits.circuit.failures.count)
        * (request.first and not request.acknowledged),
    }
    found: defaultdict[str, list[Failure]] = defaultdict(list)
    asked = _PAST_OF_SHADOWS if request.shadow else _PAST
    for part, incident, at in asked.rows(connection, parameters):
        found[part].append(Failure(incident, instant(at)))
    return found


def _affected(connection: Connection, request: Request) -> int:
    where = {"some": sorted(request.population), "on": request.target}
    return connection.execute(_AFFECTED, where).scalar_one()


def _first(connection: Connection, request: Request) -> str:
    where = {"some": sorted(request.yield_to), "on": request.target, "own": request.incident}
    _, incident = min(connection.execute(_FIRST, where).all(), default=(0, ""))
    return incident
