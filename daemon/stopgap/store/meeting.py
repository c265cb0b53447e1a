"""Meeting: when each rule was loaded for the first time. A rule that is known already is never written again."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import bindparam, select

from stopgap.store import schema
from stopgap.store.batch import Batch
from stopgap.store.dialect import chunks
from stopgap.store.rows import instant, micros

_seen = schema.rule_seen.c
_SEEN = select(_seen.rule, _seen.since).where(_seen.rule.in_(bindparam("some", expanding=True)))
_MEET = schema.rule_seen.insert()


def meet(batch: Batch, rules: Sequence[str], at: datetime) -> Mapping[str, datetime]:
    """Take note of those that were never loaded before; returns when each was loaded for the first time."""
    seen = {}
    for some in chunks(rules):
        for rule, since in batch.connection.execute(_SEEN, {"some": some}):
            seen[rule] = instant(since)
    fresh = [{"rule": rule, "since": micros(at)} for rule in rules if rule not in seen]
    if fresh:
        batch.connection.execute(_MEET, fresh)
        batch.written = True
    return seen | dict.fromkeys((row["rule"] for row in fresh), at)
