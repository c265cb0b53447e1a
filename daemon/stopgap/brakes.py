"""Brakes: the events that say on the timeline `control` that one was put on, and taken off. Pure."""

from datetime import datetime
from typing import Any

from stopgap.incident import Event, EventKind
from stopgap.ledger import Brake, BrakeScope


def braked(brake: Brake) -> Event:
    """Return the event of a brake put on."""
    until = brake.until.isoformat() if brake.until else None
    detail: dict[str, Any] = {
        "scope": brake.scope.value,
        "name": brake.name,
        "by": brake.by,
        "why": brake.why,
    }
    return Event(EventKind.BRAKED, brake.since, {**detail, "until": until})


def brake_released(scope: BrakeScope, name: str, by: str, at: datetime, why: str = "") -> Event:
    """Return the event of a brake taken off; a reason is there where one was given."""
    detail = {"scope": scope.value, "name": name, "by": by}
    return Event(EventKind.BRAKE_RELEASED, at, {**detail, "why": why} if why else detail)
