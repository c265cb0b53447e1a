"""Rows: what is on disk in the model world. A crash loses nothing of it, and nothing else outlives one.

It repeats the writer's rules without its speed, one operation after the other, and asks the guards inside the operation. Unlike the
real writer it has no last resort of its own: that two never hold the same is left to the guards.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime

from stopgap.guard import Refusal, Request, check
from stopgap.incident import TARGET_LOCK, Event, Outcome
from stopgap.journal import Append, Closing, Conflict, Sighting, Undo
from stopgap.ledger import Brake, BrakeScope, Failure, Ledger
from stopgap.opening import Predecessor, flaps, followed, joined, opened, refired, resolved
from stopgap.rule import Mode, Rule


@dataclass
class Row:
    """An incident's row: what listings show, and what the guards ask."""

    id: str
    rule: str
    target: str
    mode: str
    opened_at: datetime
    flaps: int
    used: tuple[str, ...] = ()
    helped: str = ""
    acted_at: datetime | None = None
    mitigated_at: datetime | None = None
    reverted_at: datetime | None = None
    closed_at: datetime | None = None
    outcome: str = ""

    @property
    def live(self) -> bool:
        return self.closed_at is None


@dataclass
class Episode:
    """One alert under one rule, from firing to resolved."""

    incident: str
    firing: bool = True
    served: bool = False


@dataclass(frozen=True)
class Permit:
    """One start of a rung, in earnest or as a shadow."""

    incident: str
    rule: str
    target: str
    at: datetime
    shadow: bool


@dataclass(frozen=True)
class Commit:
    """What became durable in one piece."""

    incident: str
    events: tuple[Event, ...]
    person: bool = False


@dataclass
class Rows:
    """All tables. `watchers` are told of each commit when all of its rows stand."""

    incidents: dict[str, Row] = field(default_factory=dict)
    timelines: dict[str, list[Event]] = field(default_factory=dict)
    episodes: dict[tuple[str, str], Episode] = field(default_factory=dict)
    held: dict[str, str] = field(default_factory=dict)
    permits: list[Permit] = field(default_factory=list)
    undos: dict[tuple[str, str], Undo] = field(default_factory=dict)
    versions: dict[str, Rule] = field(default_factory=dict)
    brakes: dict[tuple[BrakeScope, str], Brake] = field(default_factory=dict)
    watchers: list[Callable[[Commit], None]] = field(default_factory=list)

    # --- reading ---

    def live(self) -> list[str]:
        return [name for name, row in self.incidents.items() if row.live]

    def openings(self) -> list[tuple[str, datetime]]:
        return [(row.target, row.opened_at) for row in self.incidents.values()]

    def covering(self, rule: str, target: str, now: datetime) -> Brake | None:
        return next((brake for brake in self.brakes.values() if brake.covers(rule, target, now)), None)

    def ledger(self, request: Request) -> Ledger:
        asked = {*request.take, TARGET_LOCK + request.target}
        holders = {r: h for r, h in self.held.items() if r in asked and h != request.incident}
        brakes, holders = tuple(self.brakes.values()), {} if request.shadow else holders
        if not request.starts:
            return Ledger(brakes, holders)
        permits = [p for p in reversed(self.permits) if p.shadow == request.shadow]
        others = [row for row in self.incidents.values() if self._is_other(row, request)]
        limits = request.limits
        return Ledger(
            brakes,
            holders,
            self._acted_at(request, others, permits) if request.first and not request.follows else None,
            tuple(p.at for p in permits if p.rule == request.rule)[: limits.budget.count],
            tuple(p.at for p in permits)[: limits.budget_global.count],
            _failures(others) if request.first and not (request.acknowledged or request.shadow) else (),
            self._affected(request),
            self._first(request),
        )

    @staticmethod
    def _is_other(row: Row, request: Request) -> bool:
        return (row.rule, row.target) == (request.rule, request.target) and row.id != request.incident

    @staticmethod
    def _acted_at(request: Request, others: list[Row], permits: list[Permit]) -> datetime | None:
        if request.shadow:
            names = {row.id for row in others}
            return next((p.at for p in permits if p.incident in names), None)
        acted = [row.acted_at for row in others if row.acted_at and row.reverted_at is None]
        return max(acted, default=None)

    def _affected(self, request: Request) -> int:
        if request.limits.blast_radius is None:
            return 0
        holding = (self.incidents[name] for name in self.held.values())
        return len({row.target for row in holding if row.rule in request.population} - {request.target})

    def _first(self, request: Request) -> str:
        for name, row in self.incidents.items():
            place = row.target == request.target and row.rule in request.yield_to
            if place and row.live and row.mode != Mode.SHADOW and name != request.incident:
                return name
        return ""

    # --- writing ---

    def append(self, what: Append, now: datetime) -> tuple[Event, ...] | Conflict | Refusal:
        row, timeline = self.incidents[what.incident], self.timelines[what.incident]
        if not row.live or what.expect not in (None, len(timeline)):
            return Conflict(len(timeline))
        request = what.request
        if request is not None:
            refusal = check(request, self.ledger(request), now)
            if refusal is not None:
                return refusal
            self._grant(row, request, now)
        for resource in what.release:
            if self.held.get(resource) == row.id:
                del self.held[resource]
        for act, before in what.undo.items():
            self.undos[row.id, act] = Undo(before)
        for act, receipt in what.receipt.items():
            self.undos[row.id, act] = replace(self.undos[row.id, act], receipt=receipt)
        events = tuple(self._line(row.id, event) for event in what.events)
        follower = self._close(row, what.closing, now) if what.closing is not None else ()
        self._tell(Commit(row.id, events, person=request is not None and request.person), *follower)
        return events

    def _grant(self, row: Row, request: Request, now: datetime) -> None:
        if not request.shadow:
            for resource in request.take:
                self.held.setdefault(resource, row.id)
        if request.starts:
            self.permits.append(Permit(row.id, row.rule, row.target, now, request.shadow))
            row.acted_at = row.acted_at if request.shadow else now

    def _close(self, row: Row, closing: Closing, now: datetime) -> list[Commit]:
        row.outcome, row.closed_at, row.helped = str(closing.outcome), now, closing.helped
        row.mitigated_at, row.reverted_at, row.used = closing.mitigated_at, closing.reverted_at, closing.used
        self.held = {resource: holder for resource, holder in self.held.items() if holder != row.id}
        for key, episode in [*self.episodes.items()]:
            if episode.incident == row.id and closing.serve and episode.firing:
                episode.served = True
            elif episode.incident == row.id:
                del self.episodes[key]
        return [commit for sighting in closing.refiring for commit in self._take(sighting)]

    def receive(self, sightings: Iterable[Sighting]) -> None:
        self._tell(*(commit for sighting in sightings for commit in self._take(sighting)))

    def _take(self, sighting: Sighting) -> list[Commit]:
        key = (sighting.fingerprint, sighting.rule)
        episode = self.episodes.get(key)
        if sighting.firing and episode is None:
            name, event = self._join_or_open(sighting)
            self.episodes[key] = Episode(name)
            return [Commit(name, (self._line(name, event),))]
        if episode is None or (episode.firing == sighting.firing and not episode.served):
            return []
        if episode.served:
            if not sighting.firing:
                del self.episodes[key]
            return []
        episode.firing = sighting.firing
        event = refired(sighting) if sighting.firing else resolved(sighting)
        return [Commit(episode.incident, (self._line(episode.incident, event),))]

    def _join_or_open(self, sighting: Sighting) -> tuple[str, Event]:
        same = [r for r in self.incidents.values() if (r.rule, r.target) == (sighting.rule, sighting.target)]
        for row in same:
            if row.live:
                return row.id, joined(sighting)
        back = [
            Predecessor(row.id, row.opened_at, row.reverted_at, row.helped, row.flaps, row.used)
            for row in same
            if row.reverted_at is not None
        ]
        before = followed(sighting, max(reversed(back), key=lambda one: one.reverted_at, default=None))
        name = f"INC-{len(self.incidents)}"
        self.incidents[name] = Row(
            name, sighting.rule, sighting.target, sighting.mode, sighting.at, flaps(sighting, before)
        )
        return name, opened(sighting, before)

    def brake(self, brake: Brake) -> None:
        self.brakes[brake.scope, brake.name] = brake

    def _line(self, name: str, event: Event) -> Event:
        timeline = self.timelines.setdefault(name, [])
        timeline.append(replace(event, seq=len(timeline) + 1))
        return timeline[-1]

    def _tell(self, *commits: Commit) -> None:
        for commit in commits:
            for watcher in self.watchers:
                watcher(commit)


def _failures(others: list[Row]) -> tuple[Failure, ...]:
    failed = [
        Failure(row.id, row.acted_at)
        for row in others
        if row.acted_at and not row.live and row.mitigated_at is None and row.outcome != Outcome.RECOVERED
    ]
    return tuple(sorted(failed, key=lambda failure: failure.at, reverse=True))
