"""Promises: a model world that does what the engine does around the pure core, on rows in memory, with no clock but its own.

It keeps the engine's bargain: nothing is acted upon that is not on disk, one thing is in flight for one incident, and `decide` is
asked again only when something bore upon the answer. A crash leaves rows and the outside, and nothing else.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from random import Random
from typing import Any

from tests.property.auditor import Auditor
from tests.property.doubts import Doubts
from tests.property.flights import Acting, Asking, End, Flight, Starting
from tests.property.ladders import ALERTNAMES, a_ladder_of_rules, planned, question_of
from tests.property.outside import Outside
from tests.property.performing import Performing
from tests.property.rows import Commit, Rows
from tests.timelines import START

from stopgap.asking import causes
from stopgap.decide import decide
from stopgap.guard import FREED, Reason, Refusal
from stopgap.incident import Event, EventKind as K, Incident, Phase, holdings
from stopgap.journal import Append, Conflict, Sighting
from stopgap.matcher import MatcherIndex
from stopgap.moves import Circumstances, Move, Wait
from stopgap.plan import target_of
from stopgap.probe import Verdict
from stopgap.rule import Mode, Rule, bounded, guarded
from stopgap.rulebook import Rulebook
from stopgap.storm import Openings
from stopgap.transitions import apply, fold, resume

MOVES_AT_ONCE = 80  # of one incident, at one instant
AWAITED = timedelta(seconds=10)  # the longest that a probe takes
ACTED = timedelta(seconds=30)  # the longest that an act takes
RESTART = timedelta(seconds=1)
SEVERITIES = ("critical", "warning", "info")


class Dead(Exception):  # noqa: N818 - named as what it tells
    """The process died."""


@dataclass(frozen=True)
class Alarm:
    """One alert of the world; `number` tells alerts of the same name and service apart."""

    name: str
    service: str
    number: int

    @property
    def fingerprint(self) -> str:
        return f"{self.name}/{self.service}/{self.number}"

    @cached_property
    def labels(self) -> Mapping[str, str]:
        severity = SEVERITIES[self.number % len(SEVERITIES)]
        return {"alertname": self.name, "service": self.service, "severity": severity}


@dataclass
class World:
    """One daemon and its surroundings, by the chance of a seed; everything else that happens is done to it from without."""

    seed: int
    now: datetime = START
    rows: Rows = field(default_factory=Rows)
    outside: Outside = field(default_factory=Outside)
    bound: Mode = Mode.AUTO
    fuse: int | None = None  # the process dies after so many more commits
    hasty: bool = True  # every decision is taken at once; otherwise one at a time
    lingering: bool = False  # probes take their time
    acting_slowly: bool = False  # acts end when somebody says so
    last_closed: str = ""
    ends: list[End] = field(default_factory=list)  # how the next acts end, if not well
    moves: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        chance = Random(self.seed)
        self.rules = a_ladder_of_rules(chance)
        self.alarms = _alarms(chance)
        self.book = Rulebook({}, MatcherIndex([]))
        self.use({old.id: old for old, _ in self.rules})
        self.auditor = Auditor(
            self.rows,
            self.outside,
            lambda: self.now,
            lambda: self.bound,
            lambda: self.book.rules,
            self.running,
        )
        self.rows.watchers += [self.auditor.committed, self._committed]
        self.outside.watch = self.auditor.took_effect
        self._performing = Performing(self)
        self._forget()

    def _forget(self) -> None:
        """Know nothing but what is on disk."""
        self.states: dict[str, Incident] = {}
        self.doubts = Doubts()
        self.flights: dict[str, Flight] = {}
        self.refused: dict[str, Refusal] = {}
        self._until: dict[str, datetime | None] = {}  # of those that wait; who is missing has to decide
        self._at_once: Counter[str] = Counter()
        self.openings = Openings({rule.limits.storm for versions in self.rules for rule in versions})
        for target, at in self.rows.openings():
            self.openings.open(target, at)

    # --- rules ---

    def use(self, rules: Mapping[str, Rule]) -> None:
        """Load these rules, in the place of those before."""
        self.rows.versions |= {rule.version: rule for rule in rules.values()}
        self.book = Rulebook(dict(rules), MatcherIndex([(r.matchers, r) for r in rules.values()]))
        self.refused, self._until = {}, {}  # other limits may let them pass

    def rule_of(self, state: Incident) -> Rule:
        return self.running(state.rule, state.version)

    def running(self, name: str, version: str) -> Rule:
        """Return a rule version with the guards of now."""
        rule, now = self.rows.versions[version], self.book.rules.get(name)
        return rule if now is None or now.version == version else guarded(rule, now)

    def present(self, name: str) -> tuple[Incident, Rule, Circumstances] | None:
        """Return how an incident stands now, None when it is over."""
        state = self.states.get(name)
        if state is None:
            return None
        rule = self.rule_of(state)
        return state, rule, self.circumstances(state, rule)

    # --- alerts ---

    def receive(self, alarm: Alarm, *, firing: bool) -> None:
        """Take one notification; it is acknowledged unless the process dies."""
        sightings = [
            Sighting(
                rule=rule.id,
                version=rule.version,
                target=target,
                severity=rule.severity(alarm.labels),
                mode=bounded(rule.mode, self.bound),
                fingerprint=alarm.fingerprint,
                alert={"labels": dict(alarm.labels), "annotations": {}, "starts_at": ""},
                firing=firing,
                at=self.now,
                flaw=flaw,
                flap_window=rule.limits.flap_window,
                flap_from=rule.flap_from,
            )
            for rule, target, flaw in self._places(alarm, firing=firing)
        ]
        self.auditor.sent(sightings)
        self.rows.receive(sightings)
        self._burn()
        for sighting in sightings:
            self.auditor.acknowledged(sighting)
        self.doubts.repeated(alarm.fingerprint, self.states)
        self.touch_all()

    def _places(self, alarm: Alarm, *, firing: bool) -> list[tuple[Rule, str, str]]:
        places = {
            rule.id: (rule, *target_of(rule, alarm.labels)) for rule in self.book.index.find(alarm.labels)
        }
        for state in self.states.values():
            if alarm.fingerprint in state.alerts:
                rule = self.rule_of(state)
                places[rule.id] = (rule, state.target, state.flaw)
        for (fingerprint, name), episode in self.rows.episodes.items():
            if not firing and fingerprint == alarm.fingerprint and name not in places:
                row = self.rows.incidents[episode.incident]  # served under a rule that is not loaded any more
                places[name] = (self.rule_of(fold(row.id, self.rows.timelines[row.id])), row.target, "")
        return list(places.values())

    # --- the timeline comes back ---

    def append(self, what: Append) -> tuple[Event, ...] | Conflict | Refusal:
        answer = self.rows.append(what, self.now)
        if isinstance(answer, tuple):
            self._burn()
        return answer

    def _burn(self) -> None:
        """Die, if it is time."""
        if self.fuse is not None:
            self.fuse -= 1
            if self.fuse <= 0:
                raise Dead

    def _committed(self, commit: Commit) -> None:
        before = self.states.get(commit.incident)
        state = before or Incident(commit.incident)
        for event in commit.events:
            state = apply(state, event)
            if event.kind is K.REFIRED:
                self.doubts.doubted.add(
                    state.id
                )  # with the start of an episode that is over: perhaps an old message
            if event.kind is K.ACKNOWLEDGED and state.reason == Reason.CIRCUIT_OPEN:
                self.refused.pop(state.id, None)
        self.states[state.id] = state
        self._until.pop(state.id, None)
        if before is None:
            self.openings.open(state.target, self.now)
        elif holdings(before) - holdings(state) or state.phase is Phase.CLOSED:
            self._free(FREED)
        if state.phase is Phase.CLOSED:
            self.last_closed = state.id
            del self.states[state.id]
            self.refused.pop(state.id, None)

    def _free(self, reasons: frozenset[Reason]) -> None:
        for name, refusal in [*self.refused.items()]:
            if refusal.reason in reasons:
                del self.refused[name]
                self._until.pop(name, None)

    def believes(self) -> None:
        """A survey confirmed every claim."""
        self.doubts.doubted.clear()
        self.touch_all()

    def touch_all(self) -> None:
        self._until = {}

    def release_brakes(self) -> None:
        """Let those ask again whom a brake had refused."""
        self._free(frozenset({Reason.BRAKE}))
        self.touch_all()

    def note(self, asked: Incident, event: Event) -> None:
        state = self.states.get(asked.id)
        if state is not None and state.seq == asked.seq:
            self.states[asked.id] = apply(state, event)

    def answered(self, incident: str, key: str, verdict: Verdict) -> None:
        self.auditor.answered(incident, key, verdict)

    # --- deciding ---

    def circumstances(self, state: Incident, rule: Rule) -> Circumstances:
        starts = state.phase in (Phase.OPEN, Phase.WAITING)
        refusal = self.refused.get(state.id)
        return Circumstances(
            now=self.now,
            brake=self.rows.covering(state.rule, state.target, self.now),
            retry_at=refusal.until if refusal else None,
            rule_removed=state.rule not in self.book.rules,
            bound=self.bound,
            storm=self.openings.storm(rule.limits.storm, self.now) if starts else None,
            doubt=self.doubts.doubt(state),
            silenced=starts and self.doubts.silences(state),
            running=tuple(map(self.rule_of, self.states.values())) if rule.limits.blast_radius else (),
        )

    def next(self, state: Incident) -> tuple[Move, Circumstances]:
        rule = self.rule_of(state)
        at = self.circumstances(state, rule)
        move = decide(state, rule, at)
        assert decide(state, rule, at) == move, "10: the same question, another answer"
        return move, at

    def run(self) -> None:
        """Decide for all that something bears upon, most severe and oldest first, until all wait."""
        self._at_once.clear()
        try:
            while self._advance() and self.hasty:
                pass
        except Dead:
            self.dies()

    def idle(self, name: str) -> bool:
        """Tell whether an incident waits, for nothing that would be over by now."""
        until = self._until.get(name, self.now)
        return name not in self.flights and (until is None or until > self.now)

    def _advance(self) -> bool:
        due = [
            state for name, state in self.states.items() if name not in self.flights and not self.idle(name)
        ]
        if not due:
            return False
        state = min(due, key=lambda one: (one.severity, one.opened_at, one.id))
        move, at = self.next(state)
        if isinstance(move, Wait):
            assert move.until is None or move.until > self.now, f"{state.id} waits for what is over: {move}"
            self._until[state.id] = move.until
            return True
        self.moves[type(move).__name__] += 1
        self._at_once[state.id] += 1
        assert self._at_once[state.id] < MOVES_AT_ONCE, f"{state.id}: {move} again and again, at one instant"
        self._until.pop(state.id, None)
        self._performing.perform(state, self.rule_of(state), move, at)
        self._land(state.id)
        return True

    def _land(self, name: str) -> None:
        while (flight := self.flights.get(name)) is not None:
            act = isinstance(flight, Acting)
            if self.acting_slowly if act else self.lingering:
                return
            self.lands(name, self.ends.pop(0) if act and self.ends else End.OK)

    # --- flights ---

    def lands(self, name: str, end: End = End.OK) -> None:
        """Let what is in flight for an incident end. Raises Dead."""
        flight = self.flights.pop(name)
        self._until.pop(name, None)
        match flight:
            case Starting():
                self._performing.started(flight)
            case Asking():
                self._performing.asked(flight)
            case Acting():
                self._performing.acted(flight, end)

    def flying(self, *kinds: type[Any]) -> list[str]:
        return [name for name, flight in self.flights.items() if isinstance(flight, kinds)]

    def knobs(self) -> list[str]:
        """Return what somebody else might set: what is held or planned, and in no act under way."""
        flights = [flight for flight in self.flights.values() if isinstance(flight, Acting)]
        asked = [state for state in self.states.values() if state.approval]
        rungs = [
            planned(state, self.rule_of(state), state.approval.rung) for state in asked if state.approval
        ]
        found = {at for at in self.rows.held if "#" in at} | {at for plan in rungs for at in plan.resources}
        return sorted(found - {flight.turn.at for flight in flights})

    def drifts_under(self, name: str) -> None:
        """Somebody sets what a person is being asked about."""
        state = self.states[name]
        if state.approval is not None:
            for at in planned(state, self.rule_of(state), state.approval.rung).resources[:1]:
                self.outside.drift(at, home=False)

    def questions(self, state: Incident) -> list[str]:
        """Return what an incident's probes ask, or are going to ask."""
        rule = self.rule_of(state)
        rungs = rule.ladder[state.rung : state.rung + 1]
        specs = [spec for rung in rungs for spec in (*rung.only_if, *rung.verify)]
        return [question_of(spec) for spec in (*specs, *causes(state, rule))]

    # --- time ---

    def passes(self, duration: timedelta) -> None:
        """Let time pass; what takes longer than it may has no known end. Raises Dead."""
        if duration >= AWAITED:
            for name in self.flying(Starting, Asking):
                self.lands(name)
        self.now += duration
        if duration >= ACTED:
            self.believes()
            for name in self.flying(Acting):
                self.lands(name, End.UNKNOWN_LOST)

    def next_due(self) -> datetime | None:
        """Return when the first incident that waits has something to do."""
        return min((at for name, at in self._until.items() if at and name not in self.flights), default=None)

    def dies(self, *, effects: bool = False, away: timedelta = RESTART, bound: Mode | None = None) -> None:
        """Lose all but the rows, in the middle of whatever is in flight, and start again after a while."""
        if effects:
            for name in self.flying(Acting):
                flight = self.flights[name]
                assert isinstance(flight, Acting)
                self._performing.takes_effect(flight)
        known = {**self.states}
        self.fuse, self.bound = None, bound or self.bound
        self._forget()
        self.now += away
        for name in self.rows.live():
            told = fold(name, self.rows.timelines[name])
            self.auditor.replayed(known.get(name), told)
            self.states[name] = resume(told, self.now)
        self.doubts.restarted(self.states)
        self.auditor.crashed()


def _alarms(chance: Random) -> list[Alarm]:
    """Return a handful of alerts, so that they come again."""
    targets = [f"t{i}" for i in range(chance.randrange(3, 7))] + ["no\nname"] * (chance.random() < 0.1)
    every = [Alarm(name, target, n) for target in targets for name in ALERTNAMES for n in range(2)]
    return chance.sample(every, min(len(every), chance.randrange(4, 12)))
