"""Engine: decides, journals, does, journals, for every incident, until it is closed.

The states are folds of committed lines only; nothing is acted upon that is not on disk. At most one thing is in flight for one
incident, so that `decide` is asked only when the last answer is known. Everything that a person or an alert says in between is
journaled at once and counts at the next decision.
"""

import asyncio
import heapq
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog

from stopgap.alert import Alert
from stopgap.catalog import Catalog
from stopgap.claims import Claims
from stopgap.clock import Clock
from stopgap.decide import decide
from stopgap.errors import StoreError
from stopgap.faults import Faults
from stopgap.guard import FREED, WAITS, Reason
from stopgap.incident import Event, EventKind as K, Incident, Phase, lets_go, same_stage
from stopgap.intake import Intake, Received
from stopgap.journal import CONTROL, Journal, Line
from stopgap.ledger import Brake, BrakeScope
from stopgap.moves import Circumstances, Deed, Wait
from stopgap.perform import Performer
from stopgap.rule import Mode, Rule, guarded
from stopgap.rulebook import Rulebook
from stopgap.terms import Terms
from stopgap.timers import Timers
from stopgap.transitions import apply, fold, resume
from stopgap.weather import Weather

log = structlog.get_logger(__name__)

BREATH = 0.005  # seconds of deciding between two breaths of the event loop
AFTER_STORE_ERROR = timedelta(seconds=1)
AFTER_SURPRISE = timedelta(seconds=30)
DRAIN = 30.0  # seconds that a stop waits for acts under way
CUT_OFF = 0.05  # seconds that acts have to end which are cut off

Observer = Callable[[Line, Incident], None]


class Engine:
    """Owns the live incidents. `start` replays the journal, `stop` drains to the next step border and reverts nothing."""

    def __init__(
        self,
        journal: Journal,
        catalog: Catalog,
        clock: Clock,
        rulebook: Rulebook,
        rebuild: Callable[[Any], Rule],
        terms: Terms | None = None,
    ) -> None:
        self.journal = journal
        self.rulebook = rulebook
        self.brakes: tuple[Brake, ...] = ()
        self.incidents: dict[str, Incident] = {}
        self.probation: Mapping[str, datetime] = {}
        self.skew = timedelta()  # how far the wall clock is ahead, since it jumped
        self.fresh = False  # the store knew none of the rules at the start: it is new, or was lost
        self.intake = Intake(journal, clock, self)
        self.performer = Performer(journal, catalog, clock, lambda: self.rulebook, self._noted)
        self._terms = terms or Terms()
        self._clock = clock
        self._rebuild = rebuild
        self._versions: dict[str, Rule] = {}
        self._live: Counter[str] = Counter()  # how many incidents run under each version
        self._guarded: dict[str, Rule] = {}
        self._lost: dict[str, str] = {}  # versions that cannot be built any more, and why
        self._weather = Weather(journal, clock, self.incidents.values)
        self.performer.starter.present = self._present
        self._observers: list[Observer] = []
        self._timers = Timers(clock, self._touch)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._dirty: set[str] = set()
        self._urgent: list[tuple[str, datetime, str]] = []  # the dirty ones, most severe and oldest first
        self._claims: Claims | None = None
        self._faults = Faults(journal, clock)
        self._stopping = False

    @property
    def mode(self) -> Mode:
        """Return the upper bound of what rules may do."""
        return self._terms.mode

    @property
    def stormy(self) -> bool:
        """Tell whether a storm keeps new mitigations waiting."""
        return self._weather.stormy

    # --- life ---

    async def start(self) -> None:
        """Replay all live timelines and go on from there. Raises StoreError."""
        self.probation = await self._meet(self.rulebook)
        await self._replay()
        await self._weather.start(self.rulebook.rules.values())
        self.journal.subscribe(self._committed)
        for state in [one for one in self.incidents.values() if one.version not in self._versions]:
            await self._faults.lost(state, self._lost.get(state.version, ""))
        self._touch_all()

    async def look(self) -> None:
        """See where everything stands and do nothing: to explain what a stopped daemon left. Raises StoreError."""
        await self._replay()
        await self._weather.look(self.rulebook.rules.values())

    async def _replay(self) -> None:
        self._versions = {rule.version: rule for rule in self.rulebook.rules.values()}
        self.brakes = await self.journal.brakes()
        await self.intake.start()
        now = self._clock.now()
        for identifier, events in (await self.journal.live()).items():
            state = resume(fold(identifier, events), now)
            self._keep(state, state.alerts)
            await self._know(state.version)

    async def stop(self, drain: float = DRAIN) -> None:
        """Start nothing more, let acts under way finish (for `drain` seconds; 0 cuts them off), and leave all that is held."""
        self._stopping = True
        self._timers.stop()
        await self._weather.stop()
        for identifier, task in self._tasks.items():
            if not self.acting(identifier):
                task.cancel()
        tasks = list(self._tasks.values())
        if tasks:
            # what does not end when it is cut off is told once more: a command is killed then
            for patience in (drain,) if drain else (0.0, CUT_OFF):
                _, late = await asyncio.wait(tasks, timeout=patience)
                for task in late:
                    task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def subscribe(self, observer: Observer) -> None:
        """Call `observer` with each committed line and the state after it (for `control`, an empty state)."""
        self._observers.append(observer)

    async def use(self, rulebook: Rulebook) -> None:
        """Swap the rules; running incidents keep the version under which they opened. Raises StoreError: nothing is swapped."""
        self.probation = await self._meet(rulebook)
        before, self.rulebook = self.rulebook, rulebook
        self._versions |= {rule.version: rule for rule in rulebook.rules.values()}
        # a notification may yet open incidents under those before
        needed = {*self._live, *rulebook.versions(), *before.versions()}
        self._versions = {version: rule for version, rule in self._versions.items() if version in needed}
        self.intake.forget_places()
        self._guarded.clear()
        self._weather.use(self.rulebook.rules.values())
        self.performer.bound(rulebook.at_once)
        self.performer.release(WAITS)  # other limits may let them pass
        self._touch_all()

    async def _meet(self, rulebook: Rulebook) -> Mapping[str, datetime]:
        """Make rule versions durable; returns until when those rules are on probation that are new."""
        await self.journal.remember(rulebook.versions())
        now = self._clock.now()
        seen = await self.journal.meet(rulebook.rules, now)
        self.fresh = bool(seen) and all(since == now for since in seen.values())
        return {rule: since + self._terms.probation for rule, since in seen.items()}

    async def _know(self, version: str) -> None:
        """Bring back the rule of a running incident that was changed or removed since."""
        if version in self._versions:
            return
        document = await self.journal.document(version)
        try:
            self._versions[version] = self._rebuild(document)
        except ValueError as error:  # the action or probe that it names is gone
            log.error("rule_version_lost", version=version, why=str(error))  # noqa: TRY400 - expected, no trace
            self._lost[version] = str(error)

    async def receive(self, alerts: Sequence[Alert], by: str = "", *, careful: str = "") -> Received:
        """Make what these alerts change durable. Raises StoreError: nothing of them may count as received."""
        return await self.intake.receive(alerts, by, careful=careful)

    def trust(self, claims: Claims) -> None:
        """Ask these claims from now on whether what an alert says is to be believed."""
        self._claims = claims
        self.intake.on_repeat = claims.repeated
        self.subscribe(claims.observe)

    def reconsider(self, identifiers: Iterable[str]) -> None:
        """Let incidents be decided anew."""
        for identifier in identifiers:
            self._touch(identifier)

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
        if before is None:
            self._weather.opened(state)
        elif line.event.kind is K.CLOSED or lets_go(before, state):
            self.reconsider(self.performer.release(FREED))
        if line.event.kind is K.CLOSED:
            self.intake.closed(state, line.event.detail.get("served", ()))
        elif line.event.kind is K.ACKNOWLEDGED and state.reason == Reason.CIRCUIT_OPEN:
            self.performer.recorder.forget(state.id)  # it may ask again
        self._touch(line.incident)
        self._notify(line, state)

    def _keep(self, state: Incident, joined: Iterable[str]) -> None:
        if state.closed_at is None:
            self._live[state.version] += state.id not in self.incidents
            self.incidents[state.id] = state
            self.intake.joined(state.id, joined)
            return
        gone = self.incidents.pop(state.id, None)
        self._live -= Counter({state.version: int(gone is not None)})  # versions of none are dropped
        self._timers.clear(state.id)
        self.performer.forget(state.id)

    def _notify(self, line: Line, state: Incident) -> None:
        for observer in self._observers:
            try:
                observer(line, state)
            except Exception:  # border: observer. A fault of one keeps nothing from the others
                log.exception("observer_fault", incident=line.incident, kind=line.event.kind)

    def _noted(self, asked: Incident, event: Event) -> None:
        """Take note of a probe's answer that says what the one before said; it is not worth a line."""
        state = self.incidents.get(asked.id)
        if state is not None and same_stage(asked, state):
            self.incidents[asked.id] = apply(state, event)

    # --- deciding ---

    def _touch(self, identifier: str) -> None:
        state = self.incidents.get(identifier)
        if state is None or identifier in self._dirty:
            return
        if not self._dirty:
            loop = asyncio.get_running_loop()
            loop.call_soon(self._advance_dirty, loop)
        self._dirty.add(identifier)
        heapq.heappush(self._urgent, (state.severity, state.opened_at or self._clock.now(), identifier))

    def _touch_all(self) -> None:
        self.reconsider(self.incidents)

    def _advance_dirty(self, loop: asyncio.AbstractEventLoop) -> None:
        """Decide for what changed, by severity and then by age, and let the event loop breathe in between."""
        end = loop.time() + BREATH
        while self._urgent:
            _, _, identifier = heapq.heappop(self._urgent)
            self._dirty.discard(identifier)
            try:
                self._advance(identifier)
            except Exception as error:  # border: decision. A fault in one incident must not stop the others
                log.exception("decision_fault", incident=identifier)
                self._run(identifier, self._surprised(identifier, error))
            if loop.time() >= end and self._urgent:
                loop.call_soon(self._advance_dirty, loop)
                return

    def _advance(self, identifier: str) -> None:
        state = self.incidents.get(identifier)
        if state is None or self._stopping:
            return
        if identifier in self._tasks:
            self.performer.hurry(state)
            return
        rule = self.rule_of(state)
        if rule is None:
            return  # said at start; visible, and left alone
        at = self.circumstances(state, rule)
        move = decide(state, rule, at)
        if isinstance(move, Wait):
            if move.until is None:
                self._timers.clear(identifier)
            else:
                self._timers.set(identifier, move.until)
            return
        self._timers.clear(identifier)
        self._run(identifier, self._perform(state, rule, move, at))

    def _run(self, identifier: str, work: Coroutine[Any, Any, None]) -> None:
        self._tasks[identifier] = asyncio.create_task(work, name=f"incident {identifier}")

    def circumstances(self, state: Incident, rule: Rule) -> Circumstances:
        """Return what bears on a decision beside the incident's own timeline."""
        now = self._clock.now()
        covering = [brake for brake in self.brakes if brake.covers(state.rule, state.target, now)]
        starts = state.phase in (Phase.OPEN, Phase.WAITING)
        return Circumstances(
            now=now,
            brake=covering[0] if covering else None,
            retry_at=self.performer.retry_at(state.id),
            rule_removed=state.rule not in self.rulebook.rules,
            bound=self.mode,
            storm=self._weather.storm(rule.limits) if starts else None,
            doubt=self._claims.doubt(state.id) if self._claims else "",
            silenced=self._claims.silenced(state) if starts and self._claims else False,
            running=self._running() if starts and rule.limits.blast_radius is not None else (),
            skew=self.skew,
        )

    def _running(self) -> tuple[Rule, ...]:
        """Return the rule versions under which incidents opened that are live."""
        return tuple(self._versions[version] for version in self._live if version in self._versions)

    def _present(self, identifier: str) -> tuple[Incident, Rule, Circumstances] | None:
        """Return how an incident stands now, None when nothing may begin any more."""
        state = self.incidents.get(identifier)
        rule = self.rule_of(state) if state is not None else None
        if state is None or rule is None or self._stopping:
            return None
        return state, rule, self.circumstances(state, rule)

    async def _perform(self, state: Incident, rule: Rule, move: Deed, at: Circumstances) -> None:
        identifier = state.id
        again: timedelta | None = AFTER_SURPRISE  # also when an action cancels itself
        try:
            await self.performer.perform(state, rule, move, at)
            again = None
        except StoreError as error:
            log.error("store_unavailable", incident=identifier, why=str(error))  # noqa: TRY400 - expected, no trace
            again = AFTER_STORE_ERROR
        except Exception as error:  # border: task. A fault in one incident must not stop the others
            log.exception("incident_fault", incident=identifier, move=type(move).__name__)
            await self._bear(state, error)
        else:
            self._faults.clear(identifier)
        finally:
            self._tasks.pop(identifier, None)
            self._go_on(identifier, again)

    async def _surprised(self, identifier: str, error: Exception) -> None:
        try:
            await self._bear(self.incidents[identifier], error)
        finally:
            self._tasks.pop(identifier, None)
            self._go_on(identifier, AFTER_SURPRISE)

    async def _bear(self, state: Incident, error: Exception) -> None:
        try:
            await self._faults.surprised(state, error)
        except StoreError as away:
            log.error("store_unavailable", incident=state.id, why=str(away))  # noqa: TRY400 - expected, no trace

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

    async def release(self, scope: BrakeScope, name: str, by: str, why: str = "") -> bool:
        """Let automation decide anew from the present; False when there was no such brake."""
        was_on = await self.journal.release(scope, name, by, self._clock.now(), why)
        self.brakes = self._brakes_but(scope, name)
        self.performer.release((Reason.BRAKE,))
        self._touch_all()
        return was_on

    def _brakes_but(self, scope: BrakeScope, name: str) -> tuple[Brake, ...]:
        return tuple(on for on in self.brakes if (on.scope, on.name) != (scope, name))

    # --- what orders.py asks ---

    def acting(self, identifier: str) -> bool:
        """Tell whether an act is under way for this incident."""
        return identifier in self.performer.running

    def rule_of(self, state: Incident) -> Rule | None:
        """Return the rule version that an incident runs under, with the guards of now."""
        rule, now = self._versions.get(state.version), self.rulebook.rules.get(state.rule)
        if rule is None or now is None or rule.version == now.version:
            return rule
        if rule.version not in self._guarded:
            self._guarded[rule.version] = guarded(rule, now)
        return self._guarded[rule.version]
