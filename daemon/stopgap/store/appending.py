"""Appending: one operation on one incident, all of it or nothing.

The order is fixed: is it live, has it moved on, do the guards allow, and only then the events with what belongs to them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, select

from stopgap.action import Json
from stopgap.guard import Reason, Refusal, Request, check
from stopgap.incident import Event, EventKind
from stopgap.journal import Append, Closing, Conflict, check_texts
from stopgap.store import schema
from stopgap.store.batch import Batch
from stopgap.store.dialect import keep_first, upsert
from stopgap.store.ledger import ledger
from stopgap.store.receiving import receive
from stopgap.store.rows import encode, maybe_micros, micros
from stopgap.store.statement import Statement
from stopgap.value import cheaply_made

AFTERMATH = frozenset({EventKind.NOTIFIED, EventKind.NOTIFY_FAILED})
"""Facts that may come when the incident is closed: the message about its end."""

_incident, _held, _episode = schema.incident.c, schema.held.c, schema.episode.c
_FIND = Statement(select(_incident.seq, _incident.closed_at).where(_incident.id == bindparam("of")))
_OF = _incident.id == bindparam("of")
_REACH = schema.incident.update().where(_OF).values(seq=bindparam("reached"))
_ADVANCE = Statement(_REACH)
_ADVANCE_FROM = Statement(_REACH.where(_incident.closed_at.is_(None), _incident.seq == bindparam("expected")))
_ACTED = Statement(schema.incident.update().where(_OF).values(acted_at=bindparam("its_at")))
_PERMIT = Statement(schema.permit.insert().inline(), columns=("incident", "rule", "target", "at", "shadow"))
_TAKE = Statement(keep_first(schema.held), columns=("resource", "incident", "since"))
_RELEASE = Statement(
    schema.held.delete().where(
        _held.incident == bindparam("of"), _held.resource.in_(bindparam("some", expanding=True))
    ),
    some="some",
)
_RELEASE_ALL = Statement(schema.held.delete().where(_held.incident == bindparam("of")))
_UNDO = ("incident", "act", "before", "receipt")
_BEFORE = Statement(upsert(schema.undo, "before", "receipt"), columns=_UNDO)
_RECEIPT = Statement(upsert(schema.undo, "receipt"), columns=_UNDO)
_CLOSE = Statement(
    schema.incident.update()
    .where(_incident.id == bindparam("of"))
    .values(
        {
            name: bindparam(f"its_{name}")
            for name in (
                "outcome",
                "severity",
                "rung",
                "mitigated_at",
                "reverted_at",
                "closed_at",
                "used",
                "helped",
                "drill",
            )
        }
    )
)
_EPISODES = schema.episode.delete().where(_episode.incident == bindparam("of"))
_FORGET = Statement(_EPISODES)
_FORGET_OVER = Statement(_EPISODES.where(_episode.firing.is_(False)))
_SERVE = Statement(schema.episode.update().where(_episode.incident == bindparam("of")).values(served=True))


@cheaply_made
@dataclass(frozen=True, slots=True)
class Prepared:
    """An append whose JSON is written already, so that what is no JSON fails its caller and nobody else. `at` is its instant."""

    append: Append
    at: datetime
    before: Mapping[str, str]
    receipt: Mapping[str, str]
    used: str


def prepare(append: Append, at: datetime) -> Prepared:
    """Make an append ready for the writer. Raises TypeError for what is not JSON, ValueError for what no column can hold."""
    for event in append.events:
        encode(event.detail)
    used, helped = (append.closing.used, append.closing.helped) if append.closing is not None else ((), "")
    check_texts(append.incident, helped, *append.release, *_asked(append), *append.undo, *append.receipt)
    return Prepared(append, at, _encoded(append.undo), _encoded(append.receipt), encode(used))


def _asked(append: Append) -> tuple[str, ...]:
    """Return all texts of a request that statements are given."""
    asked = append.request
    if asked is None:
        return ()
    return (asked.incident, asked.rule, asked.target, *asked.take, *asked.population, *asked.yield_to)


def _encoded(values: Mapping[str, Json]) -> dict[str, str]:
    return {act: encode(value) for act, value in values.items()}


def append(batch: Batch, prepared: Prepared) -> tuple[Event, ...] | Conflict | Refusal:
    """Do one append inside the batch."""
    what = prepared.append
    seq = _advance(batch, prepared)
    if not isinstance(seq, int):
        return seq
    batch.written = True
    events = tuple(batch.record(what.incident, event, seq + i) for i, event in enumerate(what.events, 1))
    _change_holdings(batch, prepared)
    _keep_undo(batch, prepared)
    if what.request is not None and what.request.starts:
        _permit(batch, prepared, what.request)
    if what.closing is not None:
        _close(batch, prepared, what.closing)
    return events


def _advance(batch: Batch, prepared: Prepared) -> int | Conflict | Refusal:
    """Move the incident on by the events; returns the seq that it had, or why it stays. Mostly, one statement asks and does."""
    what = prepared.append
    if what.expect is not None and what.request is None:
        row = {"of": what.incident, "expected": what.expect, "reached": what.expect + len(what.events)}
        if _ADVANCE_FROM.do(batch.connection, row):
            return what.expect
    found = _FIND.rows(batch.connection, {"of": what.incident})
    if not found:
        return Conflict(0)
    ((seq, closed_at),) = found
    if (closed_at is not None and not _is_aftermath(what)) or what.expect not in (None, seq):
        return Conflict(seq)
    if what.request is not None:
        refusal = _ask(batch, what.request, prepared.at)
        if refusal is not None:
            return refusal
    _ADVANCE.do(batch.connection, {"of": what.incident, "reached": seq + len(what.events)})
    return int(seq)


def _is_aftermath(what: Append) -> bool:
    return what.expect is None and AFTERMATH.issuperset(event.kind for event in what.events)


def _ask(batch: Batch, request: Request, now: datetime) -> Refusal | None:
    found = ledger(batch.connection, request, now)
    refusal = check(request, found, now)
    if refusal is not None:
        return refusal
    for resource, holder in sorted(found.holders.items()):  # whatever the guards think: one holder each
        return Refusal(Reason.RESOURCE_HELD, f"{holder} holds {resource}")
    return None


def _change_holdings(batch: Batch, prepared: Prepared) -> None:
    what = prepared.append
    if what.request is not None and what.request.take and not what.request.shadow:
        since = micros(prepared.at)
        taken = [{"resource": r, "incident": what.incident, "since": since} for r in what.request.take]
        _TAKE.each(batch.connection, taken)
    if what.release:
        _RELEASE.do(batch.connection, {"of": what.incident, "some": what.release})


def _keep_undo(batch: Batch, prepared: Prepared) -> None:
    of = prepared.append.incident
    before = [{"incident": of, "act": a, "before": b, "receipt": "null"} for a, b in prepared.before.items()]
    receipt = [
        {"incident": of, "act": a, "before": "null", "receipt": r} for a, r in prepared.receipt.items()
    ]
    if before:
        _BEFORE.each(batch.connection, before)
    if receipt:
        _RECEIPT.each(batch.connection, receipt)


def _permit(batch: Batch, prepared: Prepared, request: Request) -> None:
    of, at = prepared.append.incident, micros(prepared.at)
    row = {"incident": of, "rule": request.rule, "target": request.target, "at": at}
    _PERMIT.do(batch.connection, {**row, "shadow": request.shadow})
    if not request.shadow:
        _ACTED.do(batch.connection, {"of": of, "its_at": at})


def _close(batch: Batch, prepared: Prepared, closing: Closing) -> None:
    of = {"of": prepared.append.incident}
    row: dict[str, Any] = {
        "its_outcome": str(closing.outcome),
        "its_severity": str(closing.severity),
        "its_rung": closing.rung,
        "its_mitigated_at": maybe_micros(closing.mitigated_at),
        "its_reverted_at": maybe_micros(closing.reverted_at),
        "its_used": prepared.used,
        "its_helped": closing.helped,
        "its_drill": closing.drill,
        "its_closed_at": micros(prepared.append.events[-1].at if prepared.append.events else prepared.at),
    }
    _CLOSE.do(batch.connection, {**of, **row})
    _RELEASE_ALL.do(batch.connection, of)
    (_FORGET_OVER if closing.serve else _FORGET).do(batch.connection, of)
    if closing.serve:
        _SERVE.do(batch.connection, of)
    if closing.refiring:
        receive(batch, closing.refiring)
