"""Journal: the Journal port without a disk, for plays, and for the tests of what stands above it.

It is written for reading: sighting by sighting, with plain dictionaries. The store must agree with it (the contract tests and a
property run both), so it repeats the store's rules on purpose and shares only the builders of events.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import orjson

from stopgap.action import Json
from stopgap.brakes import brake_released, braked
from stopgap.clock import Clock
from stopgap.errors import StoreError
from stopgap.guard import Reason, Refusal, Request, check
from stopgap.incident import Event, EventKind
from stopgap.journal import CONTROL, Append, Closing, Conflict, Line, Sighting, Stored, Undo, check_texts
from stopgap.ledger import Brake, BrakeScope, Ledger
from stopgap.opening import (
    Predecessor,
    drill_of,
    first_rung,
    flaps,
    followed,
    joined,
    opened,
    refired,
    resolved,
)
from stopgap.simulate.rows import Permit, Place, Row, Rows

OPENINGS = 100_000
FADING = 1000  # closed incidents of which late messages may still be told, where nothing is kept
TOLD = frozenset({EventKind.NOTIFIED, EventKind.NOTIFY_FAILED})


@dataclass(slots=True)
class Episode:
    """One alert under one rule, from firing to resolved."""

    incident: str
    firing: bool = True
    served: bool = False


class MemoryJournal:
    """A Journal in memory. While `failing` is set, every method raises StoreError with that text and changes nothing.

    Without `keep`, what is over is forgotten, but for what guards ask: whoever wants its lines must be an observer. Then it also
    answers at once, which is a tenth of the time of a long play.
    """

    def __init__(self, clock: Clock, *, keep: bool = True) -> None:
        self.failing = ""
        self.rows: dict[str, Row] = {}
        self.timelines: dict[str, list[Event]] = {CONTROL: []}
        self.episodes: dict[tuple[str, str], Episode] = {}
        self.permits: list[Permit] = []
        self.undos: dict[tuple[str, str], Undo] = {}
        self.documents: dict[str, Json] = {}
        self.met: dict[str, datetime] = {}
        self._keep = keep
        self._live: dict[str, Row] = {}
        self._past = Rows()
        self._openings: deque[tuple[str, datetime]] = deque(maxlen=OPENINGS)
        self._fading: deque[str] = deque()
        self._acts: dict[str, list[str]] = {}  # of which there is an undo, by incident
        self._count = 0
        self._said = 0  # to `control`
        self._brakes: dict[tuple[BrakeScope, str], Brake] = {}
        self._clock = clock
        self._observers: list[Callable[[Line], None]] = []
        self._lines: list[Line] = []

    @property
    def held(self) -> dict[str, str]:
        """Return who holds what."""
        return self._past.held

    def acting(self) -> AbstractContextManager[None]:
        """Let an act be under way: no other daemon acts here."""
        return nullcontext()

    def subscribe(self, observer: Callable[[Line], None]) -> None:
        """Call `observer` with each committed line."""
        self._observers.append(observer)

    def unsubscribe(self) -> None:
        """Call nobody any more, as after a crash."""
        self._observers.clear()

    # --- writing ---

    async def receive(self, sightings: Sequence[Sighting]) -> None:
        """Make what these alerts change durable."""
        await self._enter()
        check_texts(*(sighting.target for sighting in sightings))
        for sighting in sightings:
            self._take(sighting)
        self._tell()

    async def append(self, append: Append) -> tuple[Event, ...] | Conflict | Refusal:
        """Append to one incident; returns the events with their seq."""
        await self._enter()
        answer = self._append(append)
        self._tell()
        return answer

    async def remember(self, documents: Mapping[str, Json]) -> None:
        """Keep rule versions: digest to document."""
        await self._enter()
        self.documents = {**documents, **self.documents}

    async def meet(self, rules: Collection[str], at: datetime) -> Mapping[str, datetime]:
        """Take note of rules that were never loaded before; returns when each was loaded for the first time."""
        await self._enter()
        self.met = {**dict.fromkeys(rules, at), **self.met}
        return {rule: self.met[rule] for rule in rules}

    async def control(self, event: Event) -> None:
        """Append to the pseudo-incident `control`."""
        await self._enter()
        self._control(event)
        self._tell()

    async def brake(self, brake: Brake) -> None:
        """Put on a brake; one per scope and name, a second replaces the first."""
        await self._enter()
        self._brakes[brake.scope, brake.name] = brake
        self._control(braked(brake))
        self._tell()

    async def release(self, scope: BrakeScope, name: str, by: str, at: datetime, why: str = "") -> bool:
        """Take off a brake; False when there was none."""
        await self._enter()
        was_on = self._brakes.pop((scope, name), None) is not None
        if was_on:
            self._control(brake_released(scope, name, by, at, why))
        self._tell()
        return was_on

    # --- reading ---

    async def ledger(self, request: Request) -> Ledger:
        """Read what the guards need for a request."""
        await self._enter()
        return self._ledger(request)

    async def openings(self, since: datetime) -> tuple[tuple[str, datetime], ...]:
        """Return (target, opened_at) of all incidents opened since, oldest first; the last 100 000 of them."""
        await self._enter()
        found = sorted((one for one in self._openings if one[1] >= since), key=lambda one: one[1])
        return tuple(found[-OPENINGS:])

    async def live(self) -> Mapping[str, tuple[Event, ...]]:
        """Return the timelines of all incidents that are not closed, in the order in which they opened."""
        await self._enter()
        return {name: tuple(self.timelines[name]) for name in self._live}

    async def served(self) -> frozenset[tuple[str, str]]:
        """Return the (rule, fingerprint) pairs whose repeats open nothing."""
        await self._enter()
        return frozenset((rule, fingerprint) for (fingerprint, rule), e in self.episodes.items() if e.served)

    async def closed(
        self, *, rule: str | None, target: str | None, before: str | None, limit: int
    ) -> tuple[Stored, ...]:
        """Return closed incidents, newest first, older than the incident `before`."""
        await self._enter()
        names = list(self.rows)
        if before is not None:
            names = names[: names.index(before)] if before in names else []
        found = [self.rows[name].stored for name in reversed(names) if not self.rows[name].live]
        found = [s for s in found if rule in (None, s.rule) and target in (None, s.target)]
        return tuple(found[:limit])

    async def timeline(self, incident: str) -> tuple[Event, ...]:
        """Return one timeline; empty when unknown."""
        await self._enter()
        return tuple(self.timelines.get(incident, ()))

    async def lately(self, most: int) -> tuple[Event, ...]:
        """Return the last events of `control`, oldest first, at most so many."""
        return (await self.timeline(CONTROL))[-most:]

    async def undo(self, incident: str, act: str) -> Undo | None:
        """Return the undo of one act."""
        await self._enter()
        return self.undos.get((incident, act))

    async def document(self, version: str) -> Json:
        """Return the document of a rule version, None when unknown."""
        await self._enter()
        return _json(self.documents.get(version))

    async def brakes(self) -> tuple[Brake, ...]:
        """Return the brakes that are on."""
        await self._enter()
        return self._engaged()

    # --- how ---

    async def _enter(self) -> None:
        if self._keep:
            await asyncio.sleep(0)  # as the real one, it does not answer at once
        if self.failing:
            raise StoreError(self.failing)

    def _engaged(self) -> tuple[Brake, ...]:
        return tuple(brake for _, brake in sorted(self._brakes.items()))

    def _ledger(self, request: Request) -> Ledger:
        return self._past.ledger(request, self._engaged(), self._clock.now())

    def _control(self, event: Event) -> None:
        self._said += 1
        self._record(CONTROL, event, self._said)

    def _say(self, row: Row, event: Event) -> Event:
        row.seq += 1
        return self._record(row.stored.id, event, row.seq)

    def _record(self, incident: str, event: Event, seq: int) -> Event:
        event = Event(event.kind, event.at, _json(event.detail), seq)
        timeline = self.timelines.get(incident)
        if timeline is not None:
            timeline.append(event)
        self._lines.append(Line(incident, event))
        return event

    def _tell(self) -> None:
        lines, self._lines = self._lines, []
        for line in lines:
            for observer in self._observers:
                observer(line)

    # --- alerts ---

    def _take(self, sighting: Sighting) -> None:
        key = (sighting.fingerprint, sighting.rule)
        episode = self.episodes.get(key)
        if sighting.firing:
            if episode is None:
                row = self._join_or_open(sighting)
                self.episodes[key] = Episode(row.stored.id)
                row.alerts.add(key)
            elif not episode.served and not episode.firing:
                episode.firing = True
                self._say(self.rows[episode.incident], refired(sighting))
        elif episode is not None and episode.served:
            del self.episodes[key]
        elif episode is not None and episode.firing:
            episode.firing = False
            self._say(self.rows[episode.incident], resolved(sighting))

    def _join_or_open(self, sighting: Sighting) -> Row:
        place = self._past.place(sighting.rule, sighting.target)
        if place.live is not None:
            self._say(place.live, joined(sighting))
            return place.live
        name = f"INC-{sighting.at:%Y%m%d-%H%M%S}-{self._count:06d}"
        follows = followed(sighting, _predecessor(place))
        stored = Stored(
            name,
            sighting.rule,
            sighting.version,
            sighting.target,
            str(sighting.severity),
            str(sighting.mode),
            sighting.at,
            follows=follows.id if follows else "",
            drill=drill_of(sighting),
        )
        row = Row(self._count, stored, first_rung(sighting, follows), flaps(sighting, follows))
        self._count += 1
        self.rows[name] = self._live[name] = row
        self.timelines[name] = []
        self._openings.append((sighting.target, sighting.at))
        self._past.opened(row)
        self._say(row, opened(sighting, follows))
        for event in sighting.then:
            self._say(row, event)
        return row

    # --- appending ---

    def _append(self, what: Append) -> tuple[Event, ...] | Conflict | Refusal:
        row = self.rows.get(what.incident)
        if row is None:
            return Conflict(0)
        late = what.expect is not None or not TOLD.issuperset(e.kind for e in what.events)
        if (not row.live and late) or what.expect not in (None, row.seq):
            return Conflict(row.seq)
        if what.request is not None:
            refusal = self._refusal(what.request)
            if refusal is not None:
                return refusal
        events = tuple(self._say(row, event) for event in what.events)
        self._belongings(row, what)
        if what.closing is not None:
            self._close(row, what, what.closing)
        return events

    def _refusal(self, request: Request) -> Refusal | None:
        ledger = self._ledger(request)
        refusal = check(request, ledger, self._clock.now())
        if refusal is not None:
            return refusal
        for resource, holder in sorted(ledger.holders.items()):
            return Refusal(Reason.RESOURCE_HELD, f"{holder} holds {resource}")
        return None

    def _belongings(self, row: Row, what: Append) -> None:
        name, request = what.incident, what.request
        if request is not None and not request.shadow:
            self._past.take(row, request.take)
        self._past.release(row, what.release)
        for act, before in what.undo.items():
            self._acts.setdefault(name, []).append(act)
            self.undos[name, act] = Undo(_json(before))
        for act, receipt in what.receipt.items():
            self._acts.setdefault(name, []).append(act)
            known = self.undos.get((name, act), Undo(None))
            self.undos[name, act] = replace(known, receipt=_json(receipt))
        if request is not None and request.starts:
            permit = Permit(name, request.rule, request.target, self._clock.now(), request.shadow)
            self._past.permit(row, permit)
            if self._keep:
                self.permits.append(permit)

    def _close(self, row: Row, what: Append, closing: Closing) -> None:
        row.stored = replace(
            row.stored,
            outcome=str(closing.outcome),
            severity=closing.severity,
            mitigated_at=closing.mitigated_at,
            closed_at=what.events[-1].at if what.events else self._clock.now(),
            drill=closing.drill,
        )
        row.rung, row.reverted_at, row.used = closing.rung, closing.reverted_at, closing.used
        row.helped = closing.helped
        self._past.closed(row)
        self._live.pop(row.stored.id, None)
        for key in row.alerts:
            if closing.serve and self.episodes[key].firing:
                self.episodes[key].served = True
            else:
                del self.episodes[key]
        row.alerts = set()
        if not self._keep:
            self._forget(row.stored.id)
        for sighting in closing.refiring:
            self._take(sighting)

    def _forget(self, name: str) -> None:
        for act in self._acts.pop(name, ()):
            self.undos.pop((name, act), None)
        del self.timelines[name]
        self._fading.append(name)
        if len(self._fading) > FADING:
            del self.rows[self._fading.popleft()]


def _predecessor(place: Place) -> Predecessor | None:
    row = place.back
    if row is None or row.reverted_at is None:
        return None
    stored = row.stored
    return Predecessor(
        stored.id, stored.opened_at, row.reverted_at, row.helped, row.flaps, row.used, stored.drill
    )


def _json(value: Any) -> Any:
    return orjson.loads(orjson.dumps(value))
