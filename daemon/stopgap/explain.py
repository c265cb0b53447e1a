"""Explain: why it would act, or why it did not, asked of the very functions that the daemon decides and guards with.

An alert that nobody posted gets an incident that is not stored; one that belongs to a live incident gets that incident's next step.
Nothing is written, nothing is reserved and nothing is changed; probes are asked as often as anybody asks for an explanation.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import reduce
from typing import Any, Protocol

from stopgap.alert import Alert, BadAlert, read_alert
from stopgap.approval import pending
from stopgap.audience import audience
from stopgap.clock import Clock
from stopgap.closing import closing_of
from stopgap.decide import FLAPS_HELD
from stopgap.errors import StoreError
from stopgap.explanation import (
    Course,
    Doing,
    Explanation,
    Heard,
    Held,
    Lease,
    Miss,
    Next,
    Said,
    Sight,
    Standing,
)
from stopgap.foresight import Foresight, Seen, questions
from stopgap.guard import Reason, Refusal
from stopgap.incident import Event, EventKind as K, Incident, Phase, lease_end
from stopgap.intake import Intake, Place
from stopgap.journal import Journal, Sighting
from stopgap.moves import Case, Circumstances
from stopgap.opening import Predecessor, followed, joined, opened, refired
from stopgap.outlook import ON_PROBATION, because
from stopgap.perform import Performer
from stopgap.prospect import clock as clock_time
from stopgap.rule import Mode, Rule
from stopgap.rulebook import Rulebook
from stopgap.transitions import apply, fold

HYPOTHETICAL = "INC-hypothetical"
NEAREST = 20  # of the rules that do not take an alert
MOST_COURSES = 50
SLICE = 500  # rules between two breaths of the event loop
LOOK_BACK = 5  # closed incidents, for the one that a new one would follow
SAID = 10  # reasons of a timeline
REASONED = frozenset(
    {K.REFUSED, K.RUNG_SKIPPED, K.APPROVAL_REQUESTED, K.HANDED_OVER, K.SHADOW_PLANNED, K.RUNG_FAILED}
)

Reach = Callable[[str, str], str]
"""Says why a contact (pack, name) hears nothing, or returns an empty text."""


class Ward(Protocol):
    """What is asked of the engine."""

    @property
    def journal(self) -> Journal:
        """The store."""
        ...

    @property
    def rulebook(self) -> Rulebook:
        """The rules in force."""
        ...

    @property
    def incidents(self) -> Mapping[str, Incident]:
        """The live incidents."""
        ...

    @property
    def mode(self) -> Mode:
        """The upper bound of what rules may do."""
        ...

    @property
    def probation(self) -> Mapping[str, datetime]:
        """Until when rules are held in shadow, because they are new."""
        ...

    @property
    def intake(self) -> Intake:
        """Who finds where alerts belong."""
        ...

    @property
    def performer(self) -> Performer:
        """Who plans, asks and starts."""
        ...

    def rule_of(self, state: Incident) -> Rule | None:
        """Return the rule version that an incident runs under."""
        ...

    def circumstances(self, state: Incident, rule: Rule) -> Circumstances:
        """Return what bears on a decision."""
        ...

    def acting(self, identifier: str) -> bool:
        """Tell whether an act is under way."""
        ...


@dataclass(slots=True)
class _Matter:
    """One rule on one target, and the alerts that lead there."""

    place: Place
    live: Incident | None
    alerts: list[Alert]


class Explainer:
    """Explains alerts and incidents. Without `asks` no probe is asked."""

    def __init__(self, ward: Ward, clock: Clock, reach: Reach, *, asks: bool = True) -> None:
        self._ward = ward
        self._clock = clock
        self._reach = reach
        self._asks = asks
        self._foresight = Foresight(ward.performer, clock, asks=asks)

    async def alerts(self, alerts: Sequence[Alert], *, nearest: int = NEAREST) -> Explanation:
        """Explain what these alerts would come to if they were posted now; one that is over, as if it fired."""
        sights, matters = [], dict[tuple[str, str], _Matter]()
        for alert in alerts:
            places = self._ward.intake.places_of(alert)
            sights.append(await self._sight(alert, places, nearest))
            for place in places:
                if place.state is None and self._ward.intake.serves(place.rule.id, alert.fingerprint):
                    continue
                live = place.state or self._live(place)
                key = (place.rule.id, live.id if live is not None else place.target)
                matters.setdefault(key, _Matter(place, live, [])).alerts.append(alert)
        chosen = list(matters.values())[:MOST_COURSES]
        courses = await asyncio.gather(*map(self._matter, chosen))
        return self._explanation(tuple(sights), tuple(courses), len(matters))

    async def incident(self, identifier: str) -> Explanation | None:
        """Explain one incident, live or closed; None when there is none of this id. Raises StoreError for a closed one."""
        state = self._ward.incidents.get(identifier)
        if state is None:
            timeline = await self._ward.journal.timeline(identifier)
            if not timeline or timeline[0].kind is not K.OPENED:
                return None
            state = fold(identifier, timeline)
        course = await self._course(state, self._rule(state), stored=True)
        return self._explanation((), (course,), 1)

    def _explanation(self, sights: tuple[Sight, ...], courses: tuple[Course, ...], count: int) -> Explanation:
        ward = self._ward
        rules = len(ward.rulebook.rules)
        return Explanation(self._clock.now(), ward.mode, self._asks, rules, sights, courses, count)

    # --- which rules ---

    async def _sight(self, alert: Alert, places: Sequence[Place], nearest: int) -> Sight:
        served = tuple(
            p.rule.id
            for p in places
            if p.state is None and self._ward.intake.serves(p.rule.id, alert.fingerprint)
        )
        taken = tuple(p.rule.id for p in places if p.rule.id not in served)
        misses: list[tuple[int, Miss]] = []
        for i, rule in enumerate(self._ward.rulebook.rules.values()):
            if i % SLICE == SLICE - 1:
                await asyncio.sleep(0)
            failed = [matcher for matcher in rule.matchers if not matcher.matches(alert.labels)]
            if failed and rule.id not in taken:
                name = failed[0].name
                miss = Miss(rule.id, str(failed[0]), name, alert.labels.get(name))
                misses.append((len(failed), miss))
        misses.sort(key=lambda ranked: ranked[0])
        nearest_ones = tuple(miss for _, miss in misses[:nearest])
        return Sight(alert.labels, alert.firing, taken, served, nearest_ones, len(misses))

    def _live(self, place: Place) -> Incident | None:
        """Return the live incident of a rule and target: the alert would join it."""
        states = self._ward.incidents.values()
        return next((s for s in states if s.rule == place.rule.id and s.target == place.target), None)

    # --- the incident ---

    async def _matter(self, matter: _Matter) -> Course:
        fires = [replace(alert, firing=True, ends_at=None) for alert in matter.alerts]
        sightings = [self._ward.intake.sighting(matter.place, alert) for alert in fires]
        if matter.live is not None:
            state = reduce(_meets, sightings, matter.live)
            return await self._course(state, self._rule(state), stored=True)
        first, *others = sightings
        follows = followed(first, await self._predecessor(matter.place))
        state = fold(HYPOTHETICAL, (opened(first, follows), *map(joined, others)))
        return await self._course(state, matter.place.rule, stored=False)

    async def _predecessor(self, place: Place) -> Predecessor | None:
        """Return the incident that was last taken back, as the store would; a store that is away knows none."""
        journal = self._ward.journal
        try:
            rows = await journal.closed(rule=place.rule.id, target=place.target, before=None, limit=LOOK_BACK)
            for row in rows:
                timeline = await journal.timeline(row.id)
                state = fold(row.id, timeline)
                closed = next(event for event in reversed(timeline) if event.kind is K.CLOSED)
                end = closing_of(state, None, closed)
                if end.reverted_at is not None:
                    return Predecessor(
                        row.id, row.opened_at, end.reverted_at, end.helped, state.flaps, end.used
                    )
        except StoreError:
            return None
        return None

    def _rule(self, state: Incident) -> Rule:
        """Return the rule of an incident; of one that cannot be built any more, its bare name."""
        known = self._ward.rule_of(state) or self._ward.rulebook.rules.get(state.rule)
        pack, _, name = state.rule.partition("/")
        return known or Rule(pack=pack, name=name, version=state.version, matchers=())

    async def _course(self, state: Incident, rule: Rule, *, stored: bool) -> Course:
        at = self._ward.circumstances(state, rule)
        standing = await self._standing(state, rule) if stored else None
        why = standing.text if standing is not None else ""
        seen = await self._ahead(state, rule, at, why, stored=stored)
        heard = tuple(Heard(str(kind), names) for kind, names in audience(rule).items())
        flaws = {name: self._reach(rule.pack, name) for one in heard for name in one.contacts}
        return Course(
            incident=state.id if stored else None,
            rule=rule.id,
            target=state.target,
            severity=state.severity,
            summary=rule.summary,
            runbook_url=rule.runbook_url,
            mode=Case(state, rule, at).mode,
            because=self._because(state, rule, at),
            follows=state.follows,
            flaps=state.flaps,
            standing=standing,
            ladder=seen.ladder,
            guarded=seen.guarded,
            guards=seen.guards,
            next=seen.next,
            lease=self._lease(state, rule, at),
            audience=heard,
            unreachable={name: flaw for name, flaw in flaws.items() if flaw},
        )

    async def _ahead(self, state: Incident, rule: Rule, at: Circumstances, why: str, *, stored: bool) -> Seen:
        if self._ward.acting(state.id):
            return Seen((), None, (), Next(Doing.ACT, "finish the step that is under way"))
        if stored and state.phase is not Phase.CLOSED and self._ward.rule_of(state) is None:
            text = "wait for a person: the rule that it opened under cannot be built any more"
            return Seen((), None, (), Next(Doing.WAIT, text))
        return await self._foresight.of(state, rule, at, why)

    def _because(self, state: Incident, rule: Rule, at: Circumstances) -> str:
        said, until = because(state, rule, at), self._ward.probation.get(rule.id)
        if said != ON_PROBATION:
            return said
        if until is None or until <= at.now:
            return "it opened in this mode"
        return f"{said} until {clock_time(until, at.now)}"

    def _lease(self, state: Incident, rule: Rule, at: Circumstances) -> Lease:
        planned = self._ward.performer.planner.recovered(state, rule)
        asked = () if isinstance(planned, Refusal) else questions(planned)
        flaw = f"{planned.reason}: {planned.text}" if isinstance(planned, Refusal) else ""
        if state.flaps >= FLAPS_HELD:
            flaw = f"flap {state.flaps} within six hours"
        hold, most = Case(state, rule, at).hold.total_seconds(), rule.limits.max_hold.total_seconds()
        return Lease(asked, flaw, hold, most)

    # --- where it stands ---

    async def _standing(self, state: Incident, rule: Rule) -> Standing:
        try:
            timeline = await self._ward.journal.timeline(state.id)
        except StoreError:
            timeline = ()
        said = _said(timeline)
        last = next((one for one in reversed(said) if one.reason == state.reason), None)
        fresh = self._ward.performer.recorder.refusal_of(state.id)
        asked = pending(state)
        return Standing(
            phase=str(state.phase),
            since=state.phase_at,
            outcome=str(state.outcome) if state.outcome else None,
            reason=str(fresh.reason if fresh is not None else state.reason),
            text=fresh.text if fresh is not None else last.text if last is not None else "",
            reason_since=last.at if last is not None else None,
            handed_over=state.handed_over,
            acknowledged_by=state.acknowledged_by,
            approval_until=asked.until if asked is not None else None,
            held=tuple(Held(n, _rung_name(rule, n), state.rungs[n].resources) for n in state.held),
            lease_until=lease_end(state, rule.limits.max_hold),
            said=said[-SAID:],
        )


def alert_with(labels: Mapping[str, str], at: datetime) -> Alert | BadAlert:
    """Make up an alert with these labels that fires since an instant, read as the webhook reads it."""
    return read_alert({"status": "firing", "labels": dict(labels), "startsAt": at.isoformat()})


def _meets(state: Incident, sighting: Sighting) -> Incident:
    """Return a live incident after an alert that fires: it joins, fires again, or says nothing new."""
    known = state.alerts.get(sighting.fingerprint)
    if known is None:
        return apply(state, joined(sighting))
    return state if known.firing else apply(state, refired(sighting))


def _said(timeline: Sequence[Event]) -> tuple[Said, ...]:
    """Return the reasons of a timeline for not acting, or for acting no more."""
    return tuple(_reason(event) for event in timeline if event.kind in REASONED)


def _reason(event: Event) -> Said:
    d = event.detail
    if event.kind is K.SHADOW_PLANNED:
        return Said(event.at, str(event.kind), str(Reason.SHADOW), _shadowed(d))
    text = str(d.get("text") or d.get("why") or "")
    return Said(event.at, str(event.kind), str(d.get("reason", "")), text)


def _shadowed(detail: Mapping[str, Any]) -> str:
    """Say what a shadow would have done."""
    steps = f" ({'; '.join(detail.get('steps', ()))})"
    would = (
        f"it would have started rung '{detail['name']}'{steps}"
        if detail.get("name")
        else "no rung could be tried"
    )
    refused = f", but for {detail['refusal']}" if detail.get("refusal") else ""
    return f"{detail.get('because', '')}; {would}{refused}"


def _rung_name(rule: Rule, number: int) -> str:
    return rule.ladder[number].name if number < len(rule.ladder) else str(number)
