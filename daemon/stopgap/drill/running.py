"""Running: the drills whose alerts fire now. These go into the same intake as notifications, and are durable before the answer.

Nothing is kept beside the timelines: until when a drill's alert fires stands in an annotation of the alert itself, so that a
restart ends it in time, and one of which nobody knows the end at once. Real emergencies come first: an alert that fires in earnest
takes over a drill's incident of its rule and target, or its place; a drill in the way of another one is ended and taken back.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Protocol

import structlog

from stopgap.alert import DRILL, Alert, BadAlert, fingerprint, read_alert
from stopgap.clock import Clock
from stopgap.closing import closing_of
from stopgap.decide import outcome_of
from stopgap.errors import StopgapError, StoreError
from stopgap.guard import FREED
from stopgap.incident import AlertState, Event, EventKind as K, Incident, Phase, holdings
from stopgap.intake import Intake
from stopgap.journal import CONTROL, Append, Conflict, Journal, Line, Sighting
from stopgap.ledger import Brake
from stopgap.opening import drill_of
from stopgap.orders import NoSuchIncident, NotPossible
from stopgap.reconcile import over
from stopgap.timers import Timers

log = structlog.get_logger(__name__)

MOST = 10  # drills at once
LONGEST = timedelta(hours=4)  # that a drill's alert may fire
ENDS_AT = "stopgap_drill_ends_at"
"""The annotation of a drill's alert that says until when it fires, at the latest."""
BY = "drill"
SHADOW = "a drill in shadow"
ATTEMPTS = 5  # to close an incident that moves on
STORE_AGAIN = 1.0  # seconds
_AT_REST = frozenset({Phase.OPEN, Phase.WAITING, Phase.MITIGATED, Phase.RECOVERING})


class Unfit(StopgapError):  # noqa: N818 - named for what it says of the alert
    """No alert can be made of what was given, or no rule takes it."""


class Ward(Protocol):
    """What drills need of the engine."""

    intake: Intake
    journal: Journal
    brakes: tuple[Brake, ...]

    @property
    def incidents(self) -> Mapping[str, Incident]:
        """The live incidents."""
        ...

    async def receive(self, alerts: Sequence[Alert], by: str = "", *, careful: str = "") -> Any:
        """Make what these alerts change durable. Raises StoreError."""
        ...

    def acting(self, identifier: str) -> bool:
        """Tell whether an act is under way."""
        ...

    def subscribe(self, observer: Callable[[Line, Incident], None]) -> None:
        """Call `observer` with each committed line."""
        ...


class Orders(Protocol):
    """What drills need of people's orders."""

    async def revert(self, identifier: str, by: str, why: str) -> None:
        """Take everything back now. Raises NoSuchIncident, NotPossible, StoreError."""
        ...


@dataclass(frozen=True, slots=True)
class Drill:
    """One drill: its alert, and until when that fires."""

    name: str
    alert: Alert
    ends_at: datetime


class Drills:
    """Begins and ends drills. `start` takes up those that the timelines tell of; `stop` leaves them to the next start."""

    def __init__(self, ward: Ward, orders: Orders, clock: Clock) -> None:
        self._ward = ward
        self._orders = orders
        self._clock = clock
        self._running: dict[str, Drill] = {}
        self._live: dict[str, str] = {}  # incidents that are drills, and of which
        self._timers = Timers(clock, self._ring)
        self._beginning = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def running(self) -> tuple[Drill, ...]:
        """Return the drills whose alerts fire."""
        return tuple(self._running.values())

    def incidents_of(self, name: str) -> tuple[Incident, ...]:
        """Return the live incidents of a drill."""
        return tuple(self._ward.incidents[one] for one, drill in self._live.items() if drill == name)

    def start(self) -> None:
        """Take up what the timelines tell of, and hear of all that happens from now on."""
        for state in self._ward.incidents.values():
            drilled = {one: a for one, a in state.alerts.items() if DRILL in a.labels}
            if state.drill:
                self._live[state.id] = state.drill
            if state.drill and len(drilled) < len(state.alerts):
                self._overtake(state)
            for one, alert in drilled.items():
                if alert.firing:
                    ends_at = self._end_of(alert) if state.drill else self._clock.now()
                    self._take_up(replace(over(one, alert), firing=True), ends_at)
        self._ward.subscribe(self.observe)
        self._ward.intake.make_way = self.make_way

    async def stop(self) -> None:
        """Ring no more; the alerts fire on until the next start."""
        self._timers.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _end_of(self, alert: AlertState) -> datetime:
        """Return until when a drill's alert fires: not at all, where nobody can tell."""
        try:
            return datetime.fromisoformat(alert.annotations[ENDS_AT]).astimezone(UTC)
        except (KeyError, ValueError):
            return self._clock.now()

    def _take_up(self, alert: Alert, ends_at: datetime) -> Drill:
        drill = Drill(alert.labels[DRILL], alert, ends_at)
        self._running[drill.name] = drill
        self._timers.set(drill.name, ends_at)
        return drill

    # --- beginning and ending ---

    async def begin(
        self,
        name: str,
        labels: Mapping[str, str],
        annotations: Mapping[str, str],
        lasts: timedelta,
        *,
        shadow: bool,
        by: str,
    ) -> Drill:
        """Let a drill's alert fire; when this returns, it is durable. Raises Unfit, NotPossible, StoreError.

        In `shadow` nothing is done about it, whatever the mode of the daemon.
        """
        now = self._clock.now()
        alert = _made_up(name, labels, annotations, now, now + min(lasts, LONGEST))
        async with self._beginning:
            self._check(alert)
            await self._ward.receive(
                (_ended(alert),), by=BY
            )  # what a person closed counts as served until then
            drill = self._take_up(alert, now + min(lasts, LONGEST))
            try:
                await self._ward.receive(
                    (alert,), by=f"{BY}, begun by {by}", careful=SHADOW if shadow else ""
                )
            except StoreError:
                self._do(partial(self.end, name, "the store did not take it"))
                raise
        if any(state.drill != name for state in self._parts(alert)):
            await self.end(name, "a real alert fires")
            raise NotPossible("a real alert opened an incident there at this very moment: it comes first")
        return drill

    def _check(self, alert: Alert) -> None:
        """See that nothing is in the way of a drill. Raises Unfit, NotPossible."""
        known = self._running.get(alert.labels[DRILL])
        if known is not None:
            raise NotPossible(f"the drill {known.name} runs until {known.ends_at:%H:%M:%S} UTC: end it first")
        if len(self._running) >= MOST:
            raise NotPossible(f"{MOST} drills run already: end one first")
        places = self._ward.intake.places_of(alert)
        if not places:
            raise Unfit("no rule takes an alert with these labels: `stopgap explain --labels …` says why")
        targets = {place.target for place in places if place.target}
        for state in self._ward.incidents.values():
            if state.target in targets:
                raise NotPossible(
                    f"{state.id} is live on {state.target}: a drill begins only where nothing is going on"
                )

    def _parts(self, alert: Alert) -> list[Incident]:
        places = self._ward.intake.places_of(alert)
        return [place.state for place in places if place.state is not None]

    async def end(self, name: str, why: str) -> bool:
        """Let a drill's alert be over; False when none of this name fires. Raises StoreError."""
        drill = self._running.get(name)
        if drill is None:
            return False
        await self._ward.receive((_ended(drill.alert),), by=f"{BY}, {why}")
        if self._running.get(name) is drill:
            del self._running[name]
            self._timers.clear(name)
        return True

    def _ring(self, name: str) -> None:
        self._do(partial(self.end, name, "its time is over"))

    # --- real emergencies ---

    async def make_way(self, news: Sequence[Sighting]) -> None:
        """Close the incidents of drills that real alerts would join, and that could not help them. Raises StoreError.

        Asked by the intake right before it journals. While a drill begins, it waits for that, so that none slips in between.
        """
        if not self._live and not self._beginning.locked():
            return
        places = {(one.rule, one.target) for one in news if one.firing and not drill_of(one)}
        if not places:
            return
        async with self._beginning:
            for place in places:
                for state in [self._ward.incidents[name] for name in self._live]:
                    if (state.rule, state.target) == place:
                        await self._step_aside(state.id)

    async def _step_aside(self, identifier: str) -> None:
        for _ in range(ATTEMPTS):
            state = self._ward.incidents.get(identifier)
            if state is None or state.held or state.phase not in _AT_REST or self._ward.acting(identifier):
                return  # what it has applied, or is applying, helps the real alert too: that joins
            detail = {"outcome": outcome_of(state), "by": BY, "why": "a real alert fires", "overtaken": True}
            closed = Event(K.CLOSED, self._clock.now(), detail)
            answer = await self._ward.journal.append(
                Append(
                    identifier,
                    (closed,),
                    expect=state.seq,
                    release=tuple(sorted(holdings(state))),
                    closing=closing_of(state, None, closed),
                )
            )
            if not isinstance(answer, Conflict):
                self._do(partial(self.end, state.drill, "a real alert fires"))
                return
        raise StoreError(f"the drill's {identifier} keeps moving on: the alert is not taken, send it again")

    def observe(self, line: Line, state: Incident) -> None:
        """Keep the incidents of drills, and see when one is in the way; an observer of the engine."""
        event = line.event
        if line.incident == CONTROL:
            return
        if event.kind is K.OPENED and state.drill:
            self._live[state.id] = state.drill
        elif event.kind is K.CLOSED:
            self._live.pop(state.id, None)
        elif state.id in self._live:
            if event.kind is K.ALERT_JOINED and DRILL not in event.detail.get("labels", {}):
                self._overtake(state)
        elif self._live and event.kind in (K.OPENED, K.REFUSED):
            for identifier in [name for name in self._live if self._is_in_the_way(name, event, state)]:
                self._do(partial(self._give_way, identifier))

    def _is_in_the_way(self, identifier: str, event: Event, real: Incident) -> bool:
        if event.kind is K.OPENED:
            return bool(real.target) and self._ward.incidents[identifier].target == real.target
        return event.detail.get("reason") in FREED and identifier in str(event.detail.get("text", ""))

    def _overtake(self, state: Incident) -> None:
        """Let an incident be a real one from now on."""
        name = self._live.pop(state.id)

        async def work() -> None:
            event = Event(K.DRILL_OVERTAKEN, self._clock.now(), {"drill": name})
            await self._ward.journal.append(Append(state.id, (event,)))
            await self.end(name, "a real alert fires")

        self._do(work)

    async def _give_way(self, identifier: str) -> None:
        """End a drill, and take back at once what it holds, unless a brake is on: nothing but the drill needs it."""
        name = self._live.get(identifier)
        if name is None:
            return
        await self.end(name, "a real alert fires on its target")
        state, now = self._ward.incidents.get(identifier), self._clock.now()
        if state is None or not state.held or state.phase is Phase.REVERTING:
            return
        if any(brake.covers(state.rule, state.target, now) for brake in self._ward.brakes):
            return
        try:
            await self._orders.revert(identifier, BY, "a real alert fires on its target")
        except (NoSuchIncident, NotPossible) as error:
            log.info("drill_not_taken_back", incident=identifier, why=str(error))

    # --- work of its own ---

    def _do(self, work: Callable[[], Awaitable[object]]) -> None:
        task = asyncio.create_task(_until_done(work), name="drill")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _until_done(work: Callable[[], Awaitable[object]]) -> None:
    while True:
        try:
            await work()
        except StoreError as error:
            log.warning("store_unavailable", undone="an end of a drill", why=str(error))
            await asyncio.sleep(STORE_AGAIN)
        except Exception:  # border: task. A fault in a drill must not become one of the daemon
            log.exception("drill_fault")
            return
        else:
            return


def _made_up(
    name: str, labels: Mapping[str, str], annotations: Mapping[str, str], now: datetime, ends_at: datetime
) -> Alert:
    """Return the alert of a drill. Raises Unfit for labels that no alert could have."""
    told = {**annotations, ENDS_AT: ends_at.isoformat()}
    raw = {"status": "firing", "labels": dict(labels), "annotations": told, "startsAt": now.isoformat()}
    alert = read_alert(raw)
    if isinstance(alert, BadAlert):
        raise Unfit(f"no alert can be made of these labels and annotations: {alert}")
    drilled = {**alert.labels, DRILL: name}
    return replace(alert, labels=drilled, fingerprint=fingerprint(drilled))


def _ended(alert: Alert) -> Alert:
    return replace(alert, firing=False)
