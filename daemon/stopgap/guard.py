"""Guard: may we act? Every refusal has a name, its numbers, and when to ask again.

All guards are pure functions of a Request and a Ledger. The same call answers before anything is observed and again inside the
writer's batch.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from stopgap.duration import print_duration
from stopgap.incident import TARGET_LOCK
from stopgap.ledger import Ledger


class Reason(StrEnum):
    """Why Stopgap does not act; closed per release."""

    BRAKE = "brake"
    MODE_APPROVE = "mode_approve"
    COOLDOWN = "cooldown"
    TARGET_BUSY = "target_busy"
    RESOURCE_HELD = "resource_held"
    STORE_UNAVAILABLE = "store_unavailable"
    UNSAFE_LABEL = "unsafe_label"
    UNRESOLVED_TEMPLATE = "unresolved_template"
    EMPTY_TARGET = "empty_target"
    RULE_REMOVED = "rule_removed"
    SHADOW = "shadow"


WAITS = frozenset(
    {
        Reason.BRAKE,
        Reason.MODE_APPROVE,
        Reason.COOLDOWN,
        Reason.TARGET_BUSY,
        Reason.RESOURCE_HELD,
        Reason.STORE_UNAVAILABLE,
    }
)
"""Refusals that time, a person or a release can lift."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A reason that says no: `text` with its numbers, and the earliest moment at which the answer can change by itself."""

    reason: Reason
    text: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody asks to do. `first` marks an incident's first rung, `person` an act that a person ordered."""

    incident: str
    rule: str
    target: str
    take: tuple[str, ...] = ()
    first: bool = False
    follows: str = ""  # a flap is not delayed by cooldown
    cooldown: timedelta = field(default_factory=timedelta)
    person: bool = False


def _brake(request: Request, ledger: Ledger, now: datetime) -> Refusal | None:
    if request.person:
        return None
    for brake in ledger.brakes:
        if brake.covers(request.rule, request.target, now):
            scope = f"{brake.scope} {brake.name}".strip()
            end = f"until {brake.until:%Y-%m-%d %H:%M:%SZ}" if brake.until else "until released"
            return Refusal(Reason.BRAKE, f"{scope} brake by {brake.by}, {end}: {brake.why}", brake.until)
    return None


def _cooldown(request: Request, ledger: Ledger, now: datetime) -> Refusal | None:
    if not request.first or request.follows or ledger.acted_at is None:
        return None
    over_at = ledger.acted_at + request.cooldown
    if over_at <= now:
        return None
    ago, rest = (print_duration(_whole(d)) for d in (now - ledger.acted_at, over_at - now))
    text = f"acted {ago} ago, cooldown {print_duration(request.cooldown)}, over in {rest}"
    return Refusal(Reason.COOLDOWN, text, over_at)


def _whole(duration: timedelta) -> timedelta:
    return timedelta(seconds=round(duration.total_seconds()))


def _target_busy(request: Request, ledger: Ledger, _: datetime) -> Refusal | None:
    holder = ledger.holders.get(TARGET_LOCK + request.target)
    if holder is None:
        return None
    return Refusal(Reason.TARGET_BUSY, f"{holder} is acting on {request.target}")


def _resource_held(request: Request, ledger: Ledger, _: datetime) -> Refusal | None:
    for resource, holder in sorted(ledger.holders.items()):
        if not resource.startswith(TARGET_LOCK) and resource in request.take:
            return Refusal(Reason.RESOURCE_HELD, f"{holder} holds {resource}")
    return None


GuardCheck = Callable[[Request, Ledger, datetime], Refusal | None]

GUARDS: Mapping[Reason, GuardCheck] = {
    Reason.BRAKE: _brake,
    Reason.COOLDOWN: _cooldown,
    Reason.TARGET_BUSY: _target_busy,
    Reason.RESOURCE_HELD: _resource_held,
}
"""All guards in the order in which they are asked."""


def check(request: Request, ledger: Ledger, now: datetime) -> Refusal | None:
    """Return the first refusal, or None: the permit may be written."""
    for guard in GUARDS.values():
        refusal = guard(request, ledger, now)
        if refusal is not None:
            return refusal
    return None
