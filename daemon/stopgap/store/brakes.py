"""Brakes: put on and taken off in the same commit that writes it into `control`."""

from sqlalchemy import bindparam

from stopgap.brakes import braked
from stopgap.incident import Event
from stopgap.ledger import Brake
from stopgap.store import schema
from stopgap.store.batch import Batch
from stopgap.store.dialect import upsert
from stopgap.store.rows import maybe_micros, micros

_PUT_ON = upsert(schema.brake, "by", "why", "since", "until")
_TAKE_OFF = schema.brake.delete().where(
    schema.brake.c.scope == bindparam("its_scope"), schema.brake.c.name == bindparam("its_name")
)


def put_on(batch: Batch, brake: Brake) -> None:
    """Put on a brake; a second of the same scope and name replaces the first."""
    row = {"scope": brake.scope.value, "name": brake.name, "by": brake.by, "why": brake.why}
    instants = {"since": micros(brake.since), "until": maybe_micros(brake.until)}
    batch.connection.execute(_PUT_ON, {**row, **instants})
    batch.control(braked(brake))


def take_off(batch: Batch, event: Event) -> bool:
    """Take off the brake that a `brake_released` names; False when there was none."""
    its = {"its_scope": event.detail["scope"], "its_name": event.detail["name"]}
    if not batch.connection.execute(_TAKE_OFF, its).rowcount:
        return False
    batch.control(event)
    return True
