"""Foregone: the first decision of an incident that is certain before it opens, so that both are one commit.

Where a rule only tells people, and where a target cannot be rendered, nothing that bears on decisions (a brake, a storm, a silence,
a flap, a drill) changes what comes first. What does depend on any of that is decided when the incident is open. Pure.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import orjson

from stopgap.decide import decide
from stopgap.incident import AlertState, Event, EventKind, Incident
from stopgap.moves import Circumstances, Record
from stopgap.rule import Rule

_FIRES = {"": AlertState({}, {}, "")}
_TELLS = Rule(pack="", name="", version="", matchers=())


def foregone(rule: Rule, flaw: str, at: datetime) -> tuple[Event, ...]:
    """Return what an incident that opens now is decided to do at once, empty where that is not certain yet."""
    if rule.ladder and not flaw:
        return ()
    return tuple(Event(kind, at, detail) for kind, detail in _first(flaw))


@lru_cache(64)
def _first(flaw: str) -> tuple[tuple[EventKind, Mapping[str, Any]], ...]:
    """Decide once for all, and word it as the journal will."""
    move = decide(
        Incident("", flaw=flaw, alerts=_FIRES), _TELLS, Circumstances(datetime.max.replace(tzinfo=UTC))
    )
    said = move.events if isinstance(move, Record) else ()
    return tuple((kind, orjson.loads(orjson.dumps(detail))) for kind, detail in said)
