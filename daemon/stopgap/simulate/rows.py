"""Rows: what an in-memory journal remembers of incidents beside their timelines, and the ledger that guards read from it.

Every lookup is by name or by place (rule and target), so that the ten thousandth incident costs no more than the first.
"""

from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice, takewhile

from stopgap.guard import Request
from stopgap.incident import TARGET_LOCK, Outcome
from stopgap.journal import Stored
from stopgap.ledger import Brake, Failure, Ledger
from stopgap.rate import Rate
from stopgap.rule import Mode

FAILURES = 50
MOST_ACTED = 500  # incidents of one place that acted: more than any circuit or cooldown looks back
MOST_STARTS = 100_000  # rungs of one rule: more than any budget


@dataclass(slots=True)
class Row:
    """An incident's row, and what the guards ask of it."""

    number: int
    stored: Stored
    rung: int = 0
    flaps: int = 0
    seq: int = 0
    acted_at: datetime | None = None
    reverted_at: datetime | None = None
    used: tuple[str, ...] = ()
    helped: str = ""
    holds: set[str] = field(default_factory=set)
    alerts: set[tuple[str, str]] = field(default_factory=set)  # the keys of its episodes

    @property
    def live(self) -> bool:
        """Tell whether it is not closed."""
        return self.stored.closed_at is None


@dataclass(frozen=True, slots=True)
class Permit:
    """Says that a rung was started, or would have been."""

    incident: str
    rule: str
    target: str
    at: datetime
    shadow: bool


@dataclass(slots=True)
class Place:
    """What one rule did on one target: its live incident, those that acted, the last one that was taken back, the last shadows."""

    live: Row | None = None
    acted: deque[Row] = field(default_factory=lambda: deque(maxlen=MOST_ACTED))
    back: Row | None = None
    shadows: OrderedDict[str, datetime] = field(default_factory=OrderedDict)


class Rows:
    """All that guards ask of the past. `held` maps a resource to the incident that holds it."""

    def __init__(self) -> None:
        self.held: dict[str, str] = {}
        self._holding: dict[str, Row] = {}  # by id
        self._places: defaultdict[tuple[str, str], Place] = defaultdict(Place)
        self._starts: defaultdict[tuple[bool, str], deque[datetime]] = defaultdict(
            lambda: deque(maxlen=MOST_STARTS)
        )

    def place(self, rule: str, target: str) -> Place:
        """Return what a rule did on a target."""
        return self._places[rule, target]

    # --- what happens ---

    def opened(self, row: Row) -> None:
        """Take note of a new incident."""
        self.place(row.stored.rule, row.stored.target).live = row

    def take(self, row: Row, resources: Iterable[str]) -> None:
        """Let an incident hold resources."""
        for resource in resources:
            self.held[resource] = row.stored.id
            row.holds.add(resource)
            self._holding[row.stored.id] = row

    def release(self, row: Row, resources: Iterable[str]) -> None:
        """Let an incident hold these resources no more, as far as it does."""
        for resource in tuple(resources):
            if resource in row.holds and self.held.get(resource) == row.stored.id:
                del self.held[resource]
            row.holds.discard(resource)
        if not row.holds:
            self._holding.pop(row.stored.id, None)

    def permit(self, row: Row, permit: Permit) -> None:
        """Take note that a rung is started."""
        self._starts[permit.shadow, permit.rule].append(permit.at)
        self._starts[permit.shadow, ""].append(permit.at)
        place = self.place(permit.rule, permit.target)
        if permit.shadow:
            place.shadows[permit.incident] = permit.at
            place.shadows.move_to_end(permit.incident)
            if len(place.shadows) > 2:  # noqa: PLR2004 - the last one, or the one before for whom is the last one
                place.shadows.popitem(last=False)
            return
        if row.acted_at is None:
            place.acted.append(row)
        row.acted_at = permit.at

    def closed(self, row: Row) -> None:
        """Take note that an incident is over: it holds nothing any more."""
        self.release(row, row.holds)
        place = self.place(row.stored.rule, row.stored.target)
        if place.live is row:
            place.live = None
        before = place.back.reverted_at if place.back is not None else None
        if row.reverted_at is not None and (before is None or row.reverted_at >= before):
            place.back = row

    # --- what guards ask ---

    def ledger(self, request: Request, brakes: tuple[Brake, ...], now: datetime) -> Ledger:
        """Return the rows that bear on a request."""
        holders = {} if request.shadow else self._holders(request)
        if not request.starts:
            return Ledger(brakes, holders)
        limits = request.limits
        return Ledger(
            brakes,
            holders,
            self._acted_at(request) if request.first and not request.follows else None,
            self._newest(limits.budget, request.shadow, request.rule, now),
            self._newest(limits.budget_global, request.shadow, "", now),
            self._failures(request) if request.first and not request.acknowledged else (),
            self._affected(request) if limits.blast_radius else 0,
            self._first(request),
        )

    def _holders(self, request: Request) -> dict[str, str]:
        asked = {*request.take, TARGET_LOCK + request.target}
        found = ((resource, self.held[resource]) for resource in asked if resource in self.held)
        return {resource: holder for resource, holder in found if holder != request.incident}

    def _newest(self, budget: Rate, shadow: bool, rule: str, now: datetime) -> tuple[datetime, ...]:  # noqa: FBT001 - which ledger
        recent = takewhile(lambda at: at > now - budget.window, reversed(self._starts[shadow, rule]))
        return tuple(islice(recent, budget.count))

    def _acted_at(self, request: Request) -> datetime | None:
        place = self.place(request.rule, request.target)
        if request.shadow:
            last = reversed(place.shadows.items())
            return next((at for incident, at in last if incident != request.incident), None)
        others = (row for row in reversed(place.acted) if row.stored.id != request.incident)
        return next((row.acted_at for row in others if row.reverted_at is None), None)

    def _failures(self, request: Request) -> tuple[Failure, ...]:
        if request.shadow:
            return ()
        most = max(FAILURES, request.limits.circuit.failures.count)
        acted = reversed(self.place(request.rule, request.target).acted)
        failed = (
            Failure(row.stored.id, row.acted_at)
            for row in acted
            if row.stored.id != request.incident
            and not row.live
            and row.acted_at is not None
            and row.stored.mitigated_at is None
            and row.stored.outcome != Outcome.RECOVERED
        )
        return tuple(islice(failed, most))

    def _affected(self, request: Request) -> int:
        holding = (row.stored for row in self._holding.values())
        return len({one.target for one in holding if one.rule in request.population} - {request.target})

    def _first(self, request: Request) -> str:
        live = (self.place(rule, request.target).live for rule in request.yield_to)
        found = [
            row
            for row in live
            if row is not None and row.stored.mode != Mode.SHADOW and row.stored.id != request.incident
        ]
        return min(found, key=lambda row: row.number).stored.id if found else ""
