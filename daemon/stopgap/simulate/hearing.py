"""Hearing: who would have been told what, and when. Every message arrives at once, and is a line of the timeline as in real life.

What is due says the Docket of `escalation.py`; this only keeps one for each incident and takes each message for sent.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from stopgap.audience import DEFAULT
from stopgap.clock import Clock
from stopgap.escalation import SITE, Docket, Due, due, next_ring, note, settled
from stopgap.incident import Event, EventKind as K, Incident, Phase
from stopgap.journal import CONTROL, Append, Journal, Line
from stopgap.messages import Occasion, compose
from stopgap.rule import Rule
from stopgap.timers import Timers
from stopgap.transitions import apply
from stopgap.value import cheaply_made

Known = Callable[[str, str], bool]
"""Tells whether a pack or the site has a contact of this name."""


@cheaply_made
@dataclass(frozen=True, slots=True)
class Told:
    """One message: to whom, about what (`due.when`, `due.clock`, `due.entry`); its words are made when somebody reads them."""

    at: datetime
    incident: str
    rule: str
    target: str
    due: Due
    occasion: Occasion

    @property
    def title(self) -> str:
        """Return its subject."""
        return compose(self.occasion)[0]

    @property
    def body(self) -> str:
        """Return what it says."""
        return compose(self.occasion)[1]


@dataclass(slots=True)
class _Case:
    rule: Rule
    state: Incident
    docket: Docket
    fresh: dict[int, tuple[Event, Incident]]  # what has still to be told, and the incident after it


class Hearing:
    """An observer of the engine. Only the contact `default` may be missing, as a site without one tells nobody."""

    def __init__(
        self,
        journal: Journal,
        clock: Clock,
        rule_of: Callable[[Incident], Rule | None],
        on_told: Callable[[Told], None],
        known: Known = lambda _pack, _name: True,
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._rule_of = rule_of
        self._on_told = on_told
        self._known = known
        self._cases: dict[str, _Case] = {}
        self._timers = Timers(clock, self._touch)
        self._dirty: dict[str, None] = {}
        self._worker: asyncio.Task[None] | None = None

    def stop(self) -> None:
        """Tell nobody anything more."""
        self._timers.stop()
        self._dirty.clear()
        if self._worker is not None:
            self._worker.cancel()

    def observe(self, line: Line, state: Incident) -> None:
        """Take note of a line; what it leaves to be told is told before time goes on."""
        event = line.event
        case = self._cases.get(line.incident) or self._new_case(line, state)
        if case is None or event.seq <= case.state.seq:
            return
        case.state = state if state.seq == event.seq else apply(case.state, event)
        case.docket = note(case.docket, event, case.state, case.rule)
        if case.docket.untold and case.docket.untold[-1].seq == event.seq:
            case.fresh[event.seq] = event, case.state
        self._touch(line.incident)

    def _new_case(self, line: Line, state: Incident) -> _Case | None:
        if line.incident == CONTROL:
            rule: Rule | None = SITE
        else:
            rule = self._rule_of(state) if line.event.kind is K.OPENED else None
        if rule is None:
            return None
        self._cases[line.incident] = _Case(rule, Incident(line.incident), Docket(), {})
        return self._cases[line.incident]

    # --- what is due ---

    def _touch(self, name: str) -> None:
        if not self._dirty and self._worker is None:
            asyncio.get_running_loop().call_soon(self._consider_dirty)
        self._dirty[name] = None

    def _consider_dirty(self) -> None:
        """Set the clocks of incidents that leave nothing to be told; the first that does takes a task, which goes on from there."""
        while self._dirty and self._worker is None:
            name = next(iter(self._dirty))
            case = self._cases.get(name)
            if case is not None and self._next(case) is not None:
                self._worker = asyncio.create_task(self._work(), name="hearing")
                return
            del self._dirty[name]
            self._wind(name, case)

    async def _work(self) -> None:
        while self._dirty:
            name = next(iter(self._dirty))
            del self._dirty[name]
            case = self._cases.get(name)
            while case is not None and (one := self._next(case)) is not None:
                await self._tell(name, case, one)
            self._wind(name, case)
        self._worker = None

    def _wind(self, name: str, case: _Case | None) -> None:
        """Set the clock of an incident of which everything is told."""
        if case is None:
            return
        at = next_ring(case.docket, case.state, case.rule, self._clock.now())
        if at is None:
            self._timers.clear(name)
        else:
            self._timers.set(name, at)
        if case.state.phase is Phase.CLOSED and name not in self._dirty:
            del self._cases[name]

    def _next(self, case: _Case) -> Due | None:
        found = due(case.docket, case.state, case.rule, self._clock.now())
        for one in found:
            if one.contact != DEFAULT or self._known(case.rule.pack, DEFAULT):
                return one
        return None

    async def _tell(self, name: str, case: _Case, one: Due) -> None:
        now = self._clock.now()
        event, state = case.fresh.get(one.of, (None, case.state))
        heard = one.contact in case.docket.heard
        occasion = Occasion(case.rule, state, one, now, event, heard)
        self._on_told(Told(now, name, state.rule, state.target, one, occasion))
        said = Event(K.NOTIFIED, now, one.detail)
        if name == CONTROL:
            await self._journal.control(said)
        else:
            await self._journal.append(Append(name, (said,)))
        case.docket = settled(case.docket, said)
