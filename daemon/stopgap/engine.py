"""Engine: decides, journals, does, journals, for every incident, until it is closed.

The states are folds of committed lines only; nothing is acted upon that is not on disk. At most one thing is in flight for one
incident, so that `decide` is asked only when the last answer is known. Everything that a person or an alert says in between is
journaled at once and counts at the next decision.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import structlog

from stopgap.alert import Alert
from stopgap.catalog import Catalog
from stopgap.clock import Clock
from stopgap.decide import decide
from stopgap.errors import StoreError
from stopgap.guard import Reason
from stopgap.incident import Event, EventKind as K, Incident, holdings
from stopgap.journal import CONTROL, Journal, Line, Sighting
from stopgap.ledger import Brake, BrakeScope
from stopgap.marks import Marks
from stopgap.moves import Act, Circumstances, Deed, Settle, Start, Wait
from stopgap.perform import Performer
from stopgap.plan import target_of
from stopgap.probe import Verdict
from stopgap.rule import Mode, Rule, bounded
from stopgap.rulebook import Rulebook
from stopgap.timers import Timers
from stopgap.transitions import apply, fold, resume

log = structlog.get_logger(__name__)

SLICE = 200  # alerts between two breaths of the event loop
BREATH = 0.005  # seconds of deciding between two breaths of the event loop
REMEMBERED = 20_000  # alerts whose rules and targets are kept at hand
AFTER_STORE_ERROR = timedelta(seconds=1)
AFTER_SURPRISE = timedelta(seconds=30)
DRAIN = 30.0  # seconds that a stop waits for acts under way

Observer = Callable[[Line, Incident], None]


@dataclass(slots=True)
class Received:
    """What became of a notification's alerts: how many each rule took, and how many none did."""

    matched: dict[str, int] = field(default_factory=dict)
    unmatched: int = 0


@dataclass(frozen=True, slots=True)
class _Place:
    """Where one alert belongs under one rule."""

    rule: Rule
    target: str
    flaw: str
    state: Incident | None = None  # the incident that it is part of


class Engine:
    """Owns the live incidents. `start` replays the journal, `stop` drains to the next step border and reverts nothing."""

    def __init__(
        self,
        journal: Journal,
        catalog: Catalog,
        clock: Clock,
        rulebook: Rulebook,
        rebuild: Callable[[Any], Rule],
        mode: Mode = Mode.AUTO,
    ) -> None:
        self.journal = journal
        self.rulebook = rulebook
        self.mode = mode
        self.brakes: tuple[Brake, ...] = ()
        self.incidents: dict[str, Incident] = {}
        self.on_asked: Callable[[str, Verdict], None] = lambda _kind, _verdict: None
        self._clock = clock
        self._rebuild = rebuild
        self._versions: dict[str, Rule] = {}
        self._by_alert = Marks()  # incidents
        self._served = Marks()  # rules
        self._places: dict[str, tuple[_Place, ...]] = {}
        self._receiving = 0
        self._observers: list[Observer] = []
        self._timers = Timers(clock, self._touch)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._acting: set[str] = set()
        self._dirty: dict[str, None] = {}
        self._stopping = False
        self._performer = Performer(journal, catalog, clock, lambda: self.rulebook, self._asked)

    # --- life ---

    async def start(self) -> None:
        """Replay all live timelines and go on from there. Raises StoreError."""
        await self.journal.remember(self.rulebook.versions())
        self._versions = {rule.version: rule for rule in self.rulebook.rules.values()}
        self.brakes = await self.journal.brakes()
        for rule, fingerprint in await self.journal.served():
            self._served.add(rule, (fingerprint,))
        now = self._clock.now()
        for identifier, events in (await self.journal.live()).items():
            state = resume(fold(identifier, events), now)
            self._keep(state, state.alerts)
            await self._know(state.version)
        self.journal.subscribe(self._committed)
        for identifier in self.incidents:
            self._touch(identifier)

    async def stop(self) -> None:
        """Start nothing more, let acts under way finish (bounded), and leave everything held as it is."""
        self._stopping = True
        self._timers.stop()
        for identifier, task in self._tasks.items():
            if identifier not in self._acting:
                task.cancel()
        tasks = list(self._tasks.values())
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=DRAIN)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def subscribe(self, observer: Observer) -> None:
        """Call `observer` with each committed line and the state after it (for `control`, an empty state)."""
        self._observers.append(observer)

    async def use(self, rulebook: Rulebook) -> None:
        """Swap the rules; running incidents keep the version under which they opened. Raises StoreError: nothing is swapped."""
        await self.journal.remember(rulebook.versions())
        before, self.rulebook = self.rulebook, rulebook
        self._versions |= {rule.version: rule for rule in rulebook.rules.values()}
        needed = {state.version for state in self.incidents.values()} | {*rulebook.versions()}
        needed |= {
            *before.versions()
        }  # a notification that is being taken may still open incidents under them
        self._versions = {version: rule for version, rule in self._versions.items() if version in needed}
        self._places.clear()
        self._touch_all()

    async def _know(self, version: str) -> None:
        """Bring back the rule of a running incident that was changed or removed since."""
        if version in self._versions:
            return
        document = await self.journal.document(version)
        try:
            self._versions[version] = self._rebuild(document)
        except ValueError as error:  # the action or probe that it names is gone
            log.error("rule_version_lost", version=version, why=str(error))  # noqa: TRY400 - expected, no trace

    # --- what alerts say ---

    async def receive(self, alerts: Sequence[Alert]) -> Received:
        """Make what these alerts change durable. Raises StoreError: nothing of them may count as received."""
        received, news = Received(), list[Sighting]()
        for i, alert in enumerate(alerts):
            if i % SLICE == SLICE - 1:
                await asyncio.sleep(0)
            places = self._places_of(alert)
            received.unmatched += not places
            for place in places:
                received.matched[place.rule.id] = received.matched.get(place.rule.id, 0) + 1
                if self._is_news(place, alert):
                    news.append(self._sighting(place, alert))
            news += self._ends(alert, places)
        if news:
            self._receiving += 1
            try:
                await self.journal.receive(news)
            finally:
                self._receiving -= 1
            for over in (sighting for sighting in news if not sighting.firing):
                self._served.remove(over.rule, (over.fingerprint,))
        return received

    def _places_of(self, alert: Alert) -> tuple[_Place, ...]:
        """Return where an alert belongs: with the incidents that it is part of, and under every other rule that takes it."""
        matched = self._places.get(alert.fingerprint)
        if matched is None:
            found = self.rulebook.index.find(alert.labels)
            matched = tuple(_Place(rule, *target_of(rule, alert.labels)) for rule in found)
            if len(self._places) >= REMEMBERED:
                self._places.clear()
            self._places[alert.fingerprint] = matched
        own = {}
        for identifier in self._by_alert.of(alert.fingerprint):
            state = self.incidents[identifier]
            rule = self._versions.get(state.version) or self.rulebook.rules.get(state.rule)
            if rule is not None:
                own[rule.id] = _Place(rule, state.target, state.flaw, state)
        if not own:
            return matched
        return (*own.values(), *(place for place in matched if place.rule.id not in own))

    def _is_news(self, place: _Place, alert: Alert) -> bool:
        """Tell whether the journal must hear of it. While other news are on their way to disk, it decides itself."""
        if self._receiving:
            return True
        known = place.state is not None and place.state.alerts[alert.fingerprint].firing
        served = place.rule.id in self._served.of(alert.fingerprint)
        return not (served or known) if alert.firing else served or known

    def _ends(self, alert: Alert, places: tuple[_Place, ...]) -> list[Sighting]:
        """Return what an alert that is over ends under rules that are not loaded any more, or take it no more."""
        if alert.firing:
            return []
        rules = {self.incidents[name].rule for name in self._by_alert.of(alert.fingerprint)}
        gone = sorted((rules | self._served.of(alert.fingerprint)) - {place.rule.id for place in places})
        now = self._clock.now()
        return [
            Sighting(rule, "", "", "", "", alert.fingerprint, alert={}, firing=False, at=now) for rule in gone
        ]

    def _sighting(self, place: _Place, alert: Alert) -> Sighting:
        rule = place.rule
        stored = alert.as_json()
        return Sighting(
            rule=rule.id,
            version=rule.version,
            target=place.target,
            severity=rule.severity(alert.labels),
            mode=bounded(rule.mode, self.mode),
            fingerprint=alert.fingerprint,
            alert={name: stored[name] for name in ("labels", "annotations", "starts_at")},
            firing=alert.firing,
            at=self._clock.now(),
            flaw=place.flaw,
            flap_window=rule.limits.flap_window,
        )

    # --- the timeline comes back from the journal ---

    def _committed(self, line: Line) -> None:
        if line.incident == CONTROL:
            self._notify(line, Incident(CONTROL))
            return
        before = self.incidents.get(line.incident)
        if before is None and line.event.kind is not K.OPENED:
            self._notify(line, Incident(line.incident))  # a message about an incident that is closed by now
            return
        state = apply(before or Incident(line.incident), line.event)
        joined = (line.event.detail["fingerprint"],) if line.event.kind is K.ALERT_JOINED else ()
        self._keep(state, joined if before is not None else state.alerts)
        if before is not None and holdings(before) - holdings(state):
            self._release()
        if line.event.kind is K.CLOSED:
            self._served.add(state.rule, line.event.detail.get("served", ()))
        self._touch(line.incident)
        self._notify(line, state)

    def _keep(self, state: Incident, joined: Iterable[str]) -> None:
        if state.closed_at is None:
            self.incidents[state.id] = state
            self._by_alert.add(state.id, joined)
            return
        self.incidents.pop(state.id, None)
        self._by_alert.remove(state.id, state.alerts)
        self._timers.clear(state.id)
        self._performer.forget(state.id)

    def _release(self) -> None:
        for identifier in self._performer.release(Reason.TARGET_BUSY, Reason.RESOURCE_HELD):
            self._touch(identifier)

    def _notify(self, line: Line, state: Incident) -> None:
        for observer in self._observers:
            try:
                observer(line, state)
            except Exception:  # border: observer. A fault of one keeps nothing from the others
                log.exception("observer_fault", incident=line.incident, kind=line.event.kind)

    def _asked(self, kind: str, verdict: Verdict, asked: Incident, event: Event | None) -> None:
        """Count a probe's answer; an event says what the answer before said, and is taken note of without a line."""
        self.on_asked(kind, verdict)
        state = self.incidents.get(asked.id)
        if event is not None and state is not None and state.seq == asked.seq:
            self.incidents[asked.id] = apply(state, event)

    # --- deciding ---

    def _touch(self, identifier: str) -> None:
        if not self._dirty:
            asyncio.get_running_loop().call_soon(self._advance_dirty)
        self._dirty[identifier] = None

    def _touch_all(self) -> None:
        for identifier in self.incidents:
            self._touch(identifier)

    def _advance_dirty(self) -> None:
        """Decide for what changed, first come first served, and let the event loop breathe in between."""
        loop = asyncio.get_running_loop()
        end = loop.time() + BREATH
        while self._dirty:
            identifier = next(iter(self._dirty))
            del self._dirty[identifier]
            try:
                self._advance(identifier)
            except Exception:  # border: decision. A fault in one incident must not stop the others
                log.exception("decision_fault", incident=identifier)
                self._timers.set(identifier, self._clock.now() + AFTER_SURPRISE)
            if loop.time() >= end and self._dirty:
                loop.call_soon(self._advance_dirty)
                return

    def _advance(self, identifier: str) -> None:
        state = self.incidents.get(identifier)
        if state is None or self._stopping:
            return
        if identifier in self._tasks:
            self._performer.hurry(state)
            return
        rule = self._versions.get(state.version)
        if rule is None:
            return  # said at start; visible, and left alone
        move = decide(state, rule, self._circumstances(state))
        if isinstance(move, Wait):
            if move.until is None:
                self._timers.clear(identifier)
            else:
                self._timers.set(identifier, move.until)
            return
        self._timers.clear(identifier)
        if isinstance(move, Start | Act | Settle):
            self._acting.add(identifier)
        task = asyncio.create_task(self._perform(state, rule, move), name=f"incident {identifier}")
        self._tasks[identifier] = task

    def _circumstances(self, state: Incident) -> Circumstances:
        now = self._clock.now()
        covering = (brake for brake in self.brakes if brake.covers(state.rule, state.target, now))
        return Circumstances(
            now=now,
            brake=next(covering, None),
            retry_at=self._performer.retry_at(state.id),
            rule_removed=state.rule not in self.rulebook.rules,
            bound=self.mode,
        )

    async def _perform(self, state: Incident, rule: Rule, move: Deed) -> None:
        identifier = state.id
        again: timedelta | None = AFTER_SURPRISE  # also when an action cancels itself
        try:
            await self._performer.perform(state, rule, move)
            again = None
        except StoreError as error:
            log.error("store_unavailable", incident=identifier, why=str(error))  # noqa: TRY400 - expected, no trace
            again = AFTER_STORE_ERROR
        except Exception:  # border: task. A fault in one incident must not stop the others
            log.exception("incident_fault", incident=identifier, move=type(move).__name__)
        finally:
            self._tasks.pop(identifier, None)
            self._acting.discard(identifier)
            self._go_on(identifier, again)

    def _go_on(self, identifier: str, after: timedelta | None) -> None:
        """Decide anew, at once or after a pause."""
        if self._stopping or identifier not in self.incidents:
            return
        if after is None:
            self._touch(identifier)
        else:
            self._timers.set(identifier, self._clock.now() + after)

    # --- brakes ---

    async def brake(self, brake: Brake) -> None:
        """Stop automatic changes, durably."""
        await self.journal.brake(brake)
        self.brakes = (*self._brakes_but(brake.scope, brake.name), brake)
        self._touch_all()

    async def release(self, scope: BrakeScope, name: str, by: str) -> bool:
        """Let automation decide anew from the present; False when there was no such brake."""
        was_on = await self.journal.release(scope, name, by, self._clock.now())
        self.brakes = self._brakes_but(scope, name)
        self._performer.release(Reason.BRAKE)
        self._touch_all()
        return was_on

    def _brakes_but(self, scope: BrakeScope, name: str) -> tuple[Brake, ...]:
        return tuple(on for on in self.brakes if (on.scope, on.name) != (scope, name))

    # --- what orders.py asks ---

    def acting(self, identifier: str) -> bool:
        """Tell whether an act is under way for this incident."""
        return identifier in self._acting

    def rule_of(self, state: Incident) -> Rule | None:
        """Return the rule version that an incident runs under."""
        return self._versions.get(state.version)
