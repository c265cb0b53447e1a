"""Guard: may we act? Every answer has a name and its numbers; one that says no also says when to ask again.

All guards are pure functions of a Request and a Ledger. The same call answers before anything is observed, again inside the
writer's batch, and to whoever asks why nothing is done.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from fnmatch import fnmatchcase

from stopgap.duration import print_duration, span
from stopgap.incident import TARGET_LOCK
from stopgap.ledger import Ledger
from stopgap.rate import Rate
from stopgap.rule import Limits
from stopgap.storm import Storm
from stopgap.value import cheaply_made
from stopgap.window import next_change


class Reason(StrEnum):
    """Why Stopgap does not act; closed per release."""

    BRAKE = "brake"
    MODE_APPROVE = "mode_approve"
    APPROVAL_PENDING = "approval_pending"
    COOLDOWN = "cooldown"
    BUDGET_RULE = "budget_rule"
    BUDGET_GLOBAL = "budget_global"
    CIRCUIT_OPEN = "circuit_open"
    STORM = "storm"
    TARGET_BUSY = "target_busy"
    RESOURCE_HELD = "resource_held"
    OUTSIDE_WINDOW = "outside_window"
    BLAST_RADIUS = "blast_radius"
    STALE_PLAN = "stale_plan"
    YIELDED = "yielded"
    SILENCED = "silenced"
    RECONCILING = "reconciling"
    STORE_UNAVAILABLE = "store_unavailable"
    PRECONDITION_FAILED = "precondition_failed"
    PRECONDITION_UNKNOWN = "precondition_unknown"
    ONCE_USED = "once_used"
    UNRESOLVED_TEMPLATE = "unresolved_template"
    APPROVAL_DENIED = "approval_denied"
    APPROVAL_EXPIRED = "approval_expired"
    PROTECTED_TARGET = "protected_target"
    UNSAFE_LABEL = "unsafe_label"
    EMPTY_TARGET = "empty_target"
    RULE_REMOVED = "rule_removed"
    SHADOW = "shadow"


WAITS = frozenset(
    {
        Reason.BRAKE,
        Reason.MODE_APPROVE,
        Reason.APPROVAL_PENDING,
        Reason.COOLDOWN,
        Reason.BUDGET_RULE,
        Reason.BUDGET_GLOBAL,
        Reason.CIRCUIT_OPEN,
        Reason.STORM,
        Reason.TARGET_BUSY,
        Reason.RESOURCE_HELD,
        Reason.OUTSIDE_WINDOW,
        Reason.BLAST_RADIUS,
        Reason.STALE_PLAN,
        Reason.YIELDED,
        Reason.SILENCED,
        Reason.RECONCILING,
        Reason.STORE_UNAVAILABLE,
    }
)
"""Refusals that time, a person or a release can lift."""

SKIPS = frozenset(
    {
        Reason.PRECONDITION_FAILED,
        Reason.PRECONDITION_UNKNOWN,
        Reason.ONCE_USED,
        Reason.UNRESOLVED_TEMPLATE,  # of a rung; of the target it hands over
    }
)
"""Refusals of one rung: the next one is tried."""

FREED = frozenset({Reason.TARGET_BUSY, Reason.RESOURCE_HELD, Reason.BLAST_RADIUS, Reason.YIELDED})
"""Refusals that may be lifted when another incident lets go of something."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A reason that says no: `text` with its numbers, and the earliest moment at which the answer can change by itself."""

    reason: Reason
    text: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Extent:
    """How large a population is, as measured just before the request; `flaw` says why that is not known."""

    total: int = 0
    flaw: str = ""


@cheaply_made
@dataclass(frozen=True, slots=True)
class Request:
    """What somebody asks to do.

    `starts` marks the start of a rung: such a request takes a permit, and only such a one is asked about by most guards.
    `first` marks the start of an incident's first rung, `follows` the one of a flap. `person` marks an act that a person ordered,
    `acknowledged` an incident that a person has seen. `touches` are all resources of the rung, `take` those that it will hold.
    `population` are the rules that share a blast radius, `yield_to` those that go first. A `shadow` is only asked about.
    `skew` is how far the wall clock, by which windows go, is ahead.
    """

    incident: str
    rule: str
    target: str
    take: tuple[str, ...] = ()
    starts: bool = False
    first: bool = False
    follows: str = ""
    person: bool = False
    acknowledged: bool = False
    shadow: bool = False
    touches: tuple[str, ...] = ()
    limits: Limits = Limits()
    storm: Storm | None = None
    extent: Extent | None = None
    population: tuple[str, ...] = ()
    yield_to: tuple[str, ...] = ()
    skew: timedelta = timedelta()


Said = str | Refusal
"""What a guard says: its numbers when it allows, a refusal when it does not."""


def _brake(request: Request, ledger: Ledger, now: datetime) -> Said:
    if request.person:
        return "passed: a person ordered it"
    for brake in ledger.brakes:
        if brake.covers(request.rule, request.target, now):
            scope = f"{brake.scope} {brake.name}".strip()
            end = f"until {brake.until:%Y-%m-%d %H:%M:%SZ}" if brake.until else "until released"
            return Refusal(Reason.BRAKE, f"{scope} brake by {brake.by}, {end}: {brake.why}", brake.until)
    return "none is on"


def _protected(request: Request, _: Ledger, __: datetime) -> Said:
    for pattern in request.limits.protected:
        for name in (request.target, *request.touches):
            if fnmatchcase(name, pattern):
                return Refusal(Reason.PROTECTED_TARGET, f"{name} is protected by {pattern!r}")
    return f"none of {len(request.limits.protected)} patterns"


def _window(request: Request, _: Ledger, now: datetime) -> Said:
    windows = request.limits.windows
    now += request.skew  # windows are people's time
    denied = _denied(request, now)
    if not denied:
        return "no window is set" if windows == type(windows)() else "inside"
    changes = next_change((*windows.allow, *windows.deny), now)
    opens_at = next((at for at in changes if not _denied(request, at)), None)
    again = (
        f", next at {opens_at:%a %H:%M}Z in {span(opens_at - now)}" if opens_at else ", never within a week"
    )
    return Refusal(Reason.OUTSIDE_WINDOW, f"{denied}{again}", opens_at and opens_at - request.skew)


def _denied(request: Request, at: datetime) -> str:
    windows = request.limits.windows
    for window in windows.deny:
        if window.covers(at):
            return f"denied {window}"
    if windows.allow and not any(window.covers(at) for window in windows.allow):
        return f"allowed only {', '.join(map(str, windows.allow))}"
    return ""


def _storm(request: Request, _: Ledger, now: datetime) -> Said:
    limit, storm = request.limits.storm, request.storm
    if storm is None:
        return f"calm: at most {limit.targets} targets in {print_duration(limit.window)}"
    return Refusal(Reason.STORM, storm_text(request.limits, storm, now), storm.until)


def storm_text(limits: Limits, storm: Storm, now: datetime) -> str:
    """Say how bad a storm is, and when it passes if nothing more comes."""
    window, lifts = print_duration(limits.storm.window), span(storm.until - now)
    return (
        f"{storm.targets} targets in {window} (more than {limits.storm.targets} are a storm), "
        f"since {span(now - storm.since)}, over in {lifts} at the earliest"
    )


def _yields(request: Request, ledger: Ledger, _: datetime) -> Said:
    if ledger.first:
        return Refusal(Reason.YIELDED, f"{ledger.first} goes first on {request.target}")
    return f"none of {', '.join(request.yield_to)} is here" if request.yield_to else "to no rule"


def _circuit(request: Request, ledger: Ledger, now: datetime) -> Said:
    circuit = request.limits.circuit
    count, window = circuit.failures.count, circuit.failures.window
    bound = f"{count} in {print_duration(window)}"
    if not request.first:
        return "asked before the first rung only"
    if request.acknowledged:
        return "closed: a person acknowledged the incident"
    for last, oldest in zip(ledger.failures, ledger.failures[count - 1 :], strict=False):
        over_at = last.at + circuit.lasts
        if last.at - oldest.at <= window and over_at > now:
            text = (
                f"{len(ledger.failures)} incidents on {request.target} did not hold (open from {bound}), the last {last.incident} "
                f"{span(now - last.at)} ago: acknowledge this one to let it try, else closed in {span(over_at - now)}"
            )
            return Refusal(Reason.CIRCUIT_OPEN, text, over_at)
    return f"{len(ledger.failures)} did not hold, open from {bound}"


def _cooldown(request: Request, ledger: Ledger, now: datetime) -> Said:
    length = print_duration(request.limits.cooldown)
    if not request.first or request.follows:
        return "not asked of a flap" if request.follows else "asked before the first rung only"
    if ledger.acted_at is None:
        return f"{length}, has not acted before"
    over_at = ledger.acted_at + request.limits.cooldown
    ago = span(now - ledger.acted_at)
    if over_at <= now:
        return f"{length}, acted {ago} ago"
    text = f"acted {ago} ago, cooldown {length}, over in {span(over_at - now)}"
    return Refusal(Reason.COOLDOWN, text, over_at)


def _budget_rule(request: Request, ledger: Ledger, now: datetime) -> Said:
    return _budget(Reason.BUDGET_RULE, request.limits.budget, ledger.permits, ledger.starting, now)


def _budget_global(request: Request, ledger: Ledger, now: datetime) -> Said:
    used, starting = ledger.permits_global, ledger.starting_global
    return _budget(Reason.BUDGET_GLOBAL, request.limits.budget_global, used, starting, now)


def _budget(
    reason: Reason, budget: Rate, permits: tuple[datetime, ...], starting: int, now: datetime
) -> Said:
    used = [at for at in permits if at > now - budget.window]
    about = f", {starting} starting" if starting else ""
    text = f"{min(len(used), budget.count)} of {budget.count} used in {print_duration(budget.window)}{about}"
    if len(used) + starting < budget.count:
        return text
    if not used or budget.count == 0:
        return Refusal(reason, text)
    free_at = used[min(budget.count, len(used)) - 1] + budget.window
    return Refusal(reason, f"{text}, next free in {span(free_at - now)}", free_at)


def _blast_radius(request: Request, ledger: Ledger, _: datetime) -> Said:
    blast, extent = request.limits.blast_radius, request.extent
    if blast is None:
        return "no population is set"
    if extent is None or extent.flaw:
        return Refusal(
            Reason.BLAST_RADIUS, f"the total is not known: {extent.flaw if extent else 'not measured'}"
        )
    allowed = blast.allowed(extent.total)
    text = f"{ledger.affected} of {allowed} targets held or acted upon ({blast} of {extent.total})"
    return text if ledger.affected < allowed else Refusal(Reason.BLAST_RADIUS, text)


def _target_busy(request: Request, ledger: Ledger, _: datetime) -> Said:
    holder = ledger.holders.get(TARGET_LOCK + request.target)
    if holder is None:
        return f"nobody acts on {request.target}"
    return Refusal(Reason.TARGET_BUSY, f"{holder} is acting on {request.target}")


def _resource_held(request: Request, ledger: Ledger, _: datetime) -> Said:
    for resource, holder in sorted(ledger.holders.items()):
        if not resource.startswith(TARGET_LOCK) and resource in request.take:
            return Refusal(Reason.RESOURCE_HELD, f"{holder} holds {resource}")
    wanted = sum(1 for resource in request.take if not resource.startswith(TARGET_LOCK))
    return f"nobody holds one of {wanted}" if wanted else "wants none"


GuardCheck = Callable[[Request, Ledger, datetime], Said]

ALWAYS: Mapping[Reason, GuardCheck] = {
    Reason.BRAKE: _brake,
    Reason.TARGET_BUSY: _target_busy,
    Reason.RESOURCE_HELD: _resource_held,
}
"""Guards of every act."""

GUARDS: Mapping[Reason, GuardCheck] = {
    Reason.BRAKE: _brake,
    Reason.PROTECTED_TARGET: _protected,
    Reason.OUTSIDE_WINDOW: _window,
    Reason.STORM: _storm,
    Reason.YIELDED: _yields,
    Reason.CIRCUIT_OPEN: _circuit,
    Reason.COOLDOWN: _cooldown,
    Reason.BUDGET_RULE: _budget_rule,
    Reason.BUDGET_GLOBAL: _budget_global,
    Reason.BLAST_RADIUS: _blast_radius,
    Reason.TARGET_BUSY: _target_busy,
    Reason.RESOURCE_HELD: _resource_held,
}
"""All guards of the start of a rung, in the order in which they are asked."""


def check(request: Request, ledger: Ledger, now: datetime) -> Refusal | None:
    """Return the first refusal, or None: the permit may be written."""
    for guard in (GUARDS if request.starts else ALWAYS).values():
        said = guard(request, ledger, now)
        if isinstance(said, Refusal):
            return said
    return None


def answers(request: Request, ledger: Ledger, now: datetime) -> dict[Reason, Said]:
    """Return what every guard says, whatever the ones before say."""
    return {reason: guard(request, ledger, now) for reason, guard in GUARDS.items()}
