"""Memory journal: the Journal port without a disk, for tests of what stands above it.

It is written for reading, not for speed: sighting by sighting, with plain dictionaries. The store must agree with it (the contract
tests and a property run both), so it repeats the store's rules on purpose and shares only the builders of events.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import orjson

from stopgap.action import Json
from stopgap.clock import Clock
from stopgap.errors import StoreError
from stopgap.guard import Reason, Refusal, Request, check
from stopgap.incident import TARGET_LOCK, Event, EventKind, Outcome
from stopgap.journal import CONTROL, Append, Closing, Conflict, Line, Sighting, Stored, Undo
from stopgap.ledger import Brake, BrakeScope, Failure, Ledger
from stopgap.opening import Predecessor, first_rung, flaps, followed, joined, opened, refired, resolved
from stopgap.rate import Rate
from stopgap.rule import Mode
from stopgap.store.brakes import brake_released, braked

OPENINGS = 100_000
FAILURES = 50


@dataclass
class Row:
    """An incident's row, and what the guards ask of it."""

    stored: Stored
    rung: int = 0
    flaps: int = 0
    acted_at: datetime | None = None
    reverted_at: datetime | None = None
    used: tuple[str, ...] = ()
    helped: str = ""


@dataclass
class Episode:
    incident: str
    firing: bool = True
    served: bool = False


@dataclass(frozen=True)
class Permit:
    incident: str
    rule: str
    target: str
    at: datetime
    shadow: bool


class MemoryJournal:
    """A Journal in memory. While `failing` is set, every method raises StoreError with that text and changes nothing."""

    def __init__(self, clock: Clock) -> None:
        self.failing = ""
        self.rows: dict[str, Row] = {}
        self.timelines: dict[str, list[Event]] = {CONTROL: []}
        self.episodes: dict[tuple[str, str], Episode] = {}
        self.held: dict[str, str] = {}
        self.permits: list[Permit] = []
        self.undos: dict[tuple[str, str], Undo] = {}
        self.documents: dict[str, Json] = {}
        self.met: dict[str, datetime] = {}
        self._brakes: dict[tuple[BrakeScope, str], Brake] = {}
        self._places: dict[tuple[str, str], list[str]] = {}
        self._clock = clock
        self._observers: list[Callable[[Line], None]] = []
        self._lines: list[Line] = []

    def subscribe(self, observer: Callable[[Line], None]) -> None:
        self._observers.append(observer)

    # --- writing ---

    async def receive(self, sightings: Sequence[Sighting]) -> None:
        await self._enter()
        for sighting in sightings:
            self._take(sighting)
        self._tell()

    async def append(self, append: Append) -> tuple[Event, ...] | Conflict | Refusal:
        await self._enter()
        answer = self._append(append)
        self._tell()
        return answer

    async def remember(self, documents: Mapping[str, Json]) -> None:
        await self._enter()
        self.documents = {**{v: _json(d) for v, d in documents.items()}, **self.documents}

    async def meet(self, rules: Collection[str], at: datetime) -> Mapping[str, datetime]:
        await self._enter()
        self.met = {**dict.fromkeys(rules, at), **self.met}
        return {rule: self.met[rule] for rule in rules}

    async def control(self, event: Event) -> None:
        await self._enter()
        self._record(CONTROL, event)
        self._tell()

    async def brake(self, brake: Brake) -> None:
        await self._enter()
        self._brakes[brake.scope, brake.name] = brake
        self._record(CONTROL, braked(brake))
        self._tell()

    async def release(self, scope: BrakeScope, name: str, by: str, at: datetime) -> bool:
        await self._enter()
        was_on = self._brakes.pop((scope, name), None) is not None
        if was_on:
            self._record(CONTROL, brake_released(scope, name, by, at))
        self._tell()
        return was_on

    # --- reading ---

    async def ledger(self, request: Request) -> Ledger:
        await self._enter()
        return self._ledger(request)

    async def openings(self, since: datetime) -> tuple[tuple[str, datetime], ...]:
        await self._enter()
        opened_at = sorted(
            (row.stored for row in self.rows.values() if row.stored.opened_at >= since),
            key=lambda stored: stored.opened_at,
        )
        return tuple((stored.target, stored.opened_at) for stored in opened_at)[-OPENINGS:]

    async def live(self) -> Mapping[str, tuple[Event, ...]]:
        await self._enter()
        return {name: tuple(self.timelines[name]) for name, row in self.rows.items() if _is_live(row)}

    async def served(self) -> frozenset[tuple[str, str]]:
        await self._enter()
        return frozenset((rule, fingerprint) for (fingerprint, rule), e in self.episodes.items() if e.served)

    async def closed(
        self, *, rule: str | None, target: str | None, before: str | None, limit: int
    ) -> tuple[Stored, ...]:
        await self._enter()
        names = list(self.rows)
        if before is not None:
            names = names[: names.index(before)] if before in names else []
        found = [self.rows[name].stored for name in reversed(names) if not _is_live(self.rows[name])]
        found = [s for s in found if rule in (None, s.rule) and target in (None, s.target)]
        return tuple(found[:limit])

    async def timeline(self, incident: str) -> tuple[Event, ...]:
        await self._enter()
        return tuple(self.timelines.get(incident, ()))

    async def lately(self, most: int) -> tuple[Event, ...]:
        return (await self.timeline(CONTROL))[-most:]

    async def undo(self, incident: str, act: str) -> Undo | None:
        await self._enter()
        return self.undos.get((incident, act))

    async def document(self, version: str) -> Json:
        await self._enter()
        return self.documents.get(version)

    async def brakes(self) -> tuple[Brake, ...]:
        await self._enter()
        return tuple(brake for _, brake in sorted(self._brakes.items()))

    # --- how ---

    async def _enter(self) -> None:
        await asyncio.sleep(0)  # as the real one, it never answers at once
        if self.failing:
            raise StoreError(self.failing)

    def _record(self, incident: str, event: Event) -> Event:
        timeline = self.timelines.setdefault(incident, [])
        event = replace(event, seq=len(timeline) + 1, detail=_json(event.detail))
        timeline.append(event)
        self._lines.append(Line(incident, event))
        return event

    def _tell(self) -> None:
        lines, self._lines = self._lines, []
        for line in lines:
            for observer in self._observers:
                observer(line)

    def _take(self, sighting: Sighting) -> None:
        key = (sighting.fingerprint, sighting.rule)
        episode = self.episodes.get(key)
        if sighting.firing:
            if episode is None:
                self.episodes[key] = Episode(self._join_or_open(sighting))
            elif not episode.served and not episode.firing:
                episode.firing = True
                self._record(episode.incident, refired(sighting))
        elif episode is not None and episode.served:
            del self.episodes[key]
        elif episode is not None and episode.firing:
            episode.firing = False
            self._record(episode.incident, resolved(sighting))

    def _join_or_open(self, sighting: Sighting) -> str:
        same = self._of(sighting.rule, sighting.target)
        for name in same:
            if _is_live(self.rows[name]):
                self._record(name, joined(sighting))
                return name
        name = f"INC-{sighting.at:%Y%m%d-%H%M%S}-{len(self.rows):06d}"
        follows = followed(sighting, self._predecessor(same))
        self.rows[name] = Row(
            Stored(
                name,
                sighting.rule,
                sighting.version,
                sighting.target,
                str(sighting.severity),
                str(sighting.mode),
                sighting.at,
                follows=follows.id if follows else "",
            ),
            rung=first_rung(sighting, follows),
            flaps=flaps(sighting, follows),
        )
        self._places.setdefault((sighting.rule, sighting.target), []).append(name)
        self._record(name, opened(sighting, follows))
        return name

    def _of(self, rule: str, target: str) -> list[str]:
        return self._places.get((rule, target), [])

    def _predecessor(self, names: list[str]) -> Predecessor | None:
        last = None
        for name in names:
            row = self.rows[name]
            if row.reverted_at is not None and (last is None or row.reverted_at >= last.reverted_at):
                last = Predecessor(
                    name, row.stored.opened_at, row.reverted_at, row.helped, row.flaps, row.used
                )
        return last

    def _ledger(self, request: Request) -> Ledger:
        asked = {*request.take, TARGET_LOCK + request.target}
        brakes = tuple(brake for _, brake in sorted(self._brakes.items()))
        holders = {
            r: holder
            for r, holder in self.held.items()
            if r in asked and holder != request.incident and not request.shadow
        }
        if not request.starts:
            return Ledger(brakes, holders)
        limits, permits = request.limits, self._permits(request)
        return Ledger(
            brakes,
            holders,
            self._acted_at(request) if request.first and not request.follows else None,
            _newest(limits.budget, [p.at for p in permits if p.rule == request.rule], self._clock.now()),
            _newest(limits.budget_global, [p.at for p in permits], self._clock.now()),
            self._failures(request) if request.first and not request.acknowledged else (),
            self._affected(request) if limits.blast_radius else 0,
            self._first(request),
        )

    def _permits(self, request: Request) -> list[Permit]:
        of_its_kind = [permit for permit in self.permits if permit.shadow == request.shadow]
        return sorted(of_its_kind, key=lambda permit: permit.at, reverse=True)

    def _others(self, request: Request) -> list[Row]:
        names = self._of(request.rule, request.target)
        return [self.rows[name] for name in names if name != request.incident]

    def _acted_at(self, request: Request) -> datetime | None:
        if request.shadow:
            others = {row.stored.id for row in self._others(request)}
            return next((permit.at for permit in self._permits(request) if permit.incident in others), None)
        acted = (row.acted_at for row in self._others(request) if row.reverted_at is None)
        return max((at for at in acted if at is not None), default=None)

    def _failures(self, request: Request) -> tuple[Failure, ...]:
        failed = [
            Failure(row.stored.id, row.acted_at)
            for row in reversed(self._others(request))
            if not _is_live(row)
            and row.acted_at is not None
            and row.stored.mitigated_at is None
            and row.stored.outcome != Outcome.RECOVERED
            and not request.shadow
        ]
        most = max(FAILURES, request.limits.circuit.failures.count)
        return tuple(sorted(failed, key=lambda failure: failure.at, reverse=True)[:most])

    def _affected(self, request: Request) -> int:
        holding = [self.rows[name].stored for name in self.held.values()]
        return len({s.target for s in holding if s.rule in request.population} - {request.target})

    def _first(self, request: Request) -> str:
        for name, row in self.rows.items():
            place = row.stored.target == request.target and row.stored.rule in request.yield_to
            if place and _is_live(row) and row.stored.mode != Mode.SHADOW and name != request.incident:
                return name
        return ""

    def _append(self, what: Append) -> tuple[Event, ...] | Conflict | Refusal:
        row = self.rows.get(what.incident)
        seq = len(self.timelines.get(what.incident, ()))
        if row is None:
            return Conflict(0)
        told = {EventKind.NOTIFIED, EventKind.NOTIFY_FAILED}
        if not _is_live(row) and (
            what.expect is not None or not told.issuperset(e.kind for e in what.events)
        ):
            return Conflict(seq)
        if what.expect not in (None, seq):
            return Conflict(seq)
        if what.request is not None:
            ledger = self._ledger(what.request)
            refusal = check(what.request, ledger, self._clock.now())
            if refusal is not None:
                return refusal
            for resource, holder in sorted(ledger.holders.items()):
                return Refusal(Reason.RESOURCE_HELD, f"{holder} holds {resource}")
        events = tuple(self._record(what.incident, event) for event in what.events)
        self._belongings(row, what)
        if what.closing is not None:
            self._close(row, what, what.closing)
        return events

    def _belongings(self, row: Row, what: Append) -> None:
        name = what.incident
        if what.request is not None and not what.request.shadow:
            self.held |= dict.fromkeys(what.request.take, name)
        for resource in what.release:
            if self.held.get(resource) == name:
                del self.held[resource]
        for act, before in what.undo.items():
            self.undos[name, act] = Undo(_json(before))
        for act, receipt in what.receipt.items():
            known = self.undos.get((name, act), Undo(None))
            self.undos[name, act] = replace(known, receipt=_json(receipt))
        if what.request is not None and what.request.starts:
            self._permit(row, what.request)

    def _permit(self, row: Row, request: Request) -> None:
        at = self._clock.now()
        self.permits.append(Permit(row.stored.id, request.rule, request.target, at, request.shadow))
        if not request.shadow:
            row.acted_at = at

    def _close(self, row: Row, what: Append, closing: Closing) -> None:
        row.stored = replace(
            row.stored,
            outcome=str(closing.outcome),
            severity=closing.severity,
            mitigated_at=closing.mitigated_at,
            closed_at=what.events[-1].at if what.events else self._clock.now(),
        )
        row.rung, row.reverted_at, row.used = closing.rung, closing.reverted_at, closing.used
        row.helped = closing.helped
        self.held = {r: holder for r, holder in self.held.items() if holder != what.incident}
        mine = [key for key, episode in self.episodes.items() if episode.incident == what.incident]
        for key in mine:
            if closing.serve and self.episodes[key].firing:
                self.episodes[key].served = True
            else:
                del self.episodes[key]
        for sighting in closing.refiring:
            self._take(sighting)


def _newest(budget: Rate, permits: list[datetime], now: datetime) -> tuple[datetime, ...]:
    return tuple(at for at in permits if at > now - budget.window)[: budget.count]


def _is_live(row: Row) -> bool:
    return row.stored.closed_at is None


def _json(value: Any) -> Any:
    return orjson.loads(orjson.dumps(value))
