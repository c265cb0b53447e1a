"""Intake: what alerts say becomes news for the journal; a repeat that changes nothing writes nothing."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol

from stopgap.alert import Alert
from stopgap.clock import Clock
from stopgap.foregone import foregone
from stopgap.incident import Incident
from stopgap.journal import Journal, Sighting
from stopgap.marks import Marks
from stopgap.outlook import ON_PROBATION
from stopgap.plan import target_of
from stopgap.rule import Mode, Rule, bounded
from stopgap.rulebook import Rulebook
from stopgap.value import cheaply_made

SLICE = 200  # alerts between two breaths of the event loop
REMEMBERED = 20_000  # alerts whose rules and targets are kept at hand


@dataclass(slots=True)
class Received:
    """What became of a notification's alerts: how many each rule took, how many none did, and how much of it was news."""

    matched: dict[str, int] = field(default_factory=dict)
    unmatched: int = 0
    news: int = 0


@cheaply_made
@dataclass(frozen=True, slots=True)
class Place:
    """Where one alert belongs under one rule."""

    rule: Rule
    target: str
    flaw: str
    state: Incident | None = None  # the incident that it is part of


class Ward(Protocol):
    """What the intake needs to know of the engine."""

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

    def rule_of(self, state: Incident) -> Rule | None:
        """Return the rule version that an incident runs under."""
        ...


async def nobody(_: Sequence[Sighting]) -> None:
    """Make no way: no drill is under way."""


class Intake:
    """Finds where alerts belong. Knows of each alert which incidents it is part of, and which rules have served it."""

    def __init__(self, journal: Journal, clock: Clock, ward: Ward) -> None:
        self._journal = journal
        self._clock = clock
        self._ward = ward
        self._by_alert = Marks()  # incidents
        self._served = Marks()  # rules
        self._places: dict[str, tuple[Place, ...]] = {}
        self._own: dict[str, Place] = {}  # of incidents
        self._order = asyncio.Lock()
        self._receiving = 0
        self.on_repeat: Callable[[str], None] = lambda _fingerprint: None
        self.make_way: Callable[[Sequence[Sighting]], Awaitable[None]] = (
            nobody  # for what is about to be journaled
        )

    async def start(self) -> None:
        """Learn which alerts are served. Raises StoreError."""
        for rule, fingerprint in await self._journal.served():
            self._served.add(rule, (fingerprint,))

    def forget_places(self) -> None:
        """Look anew where each alert belongs: the rules have changed."""
        self._places.clear()
        self._own.clear()

    def joined(self, identifier: str, fingerprints: Iterable[str]) -> None:
        """Take note of alerts that became part of an incident."""
        self._by_alert.add(identifier, fingerprints)

    def closed(self, state: Incident, served: Collection[str]) -> None:
        """Take note of an incident that is over, and which of its alerts are served."""
        self._own.pop(state.id, None)
        self._by_alert.remove(state.id, state.alerts)
        self._served.add(state.rule, served)

    def _on_probation(self, rule: Rule) -> bool:
        until = self._ward.probation.get(rule.id)
        return until is not None and self._clock.now() < until

    async def receive(self, alerts: Sequence[Alert], by: str = "", *, careful: str = "") -> Received:
        """Make what these alerts change durable. Raises StoreError: nothing of them may count as received.

        `by` names who told of them, where it was not a webhook. `careful` says why what opens is held in shadow.
        """
        async with self._order:  # what came first is journaled first, however many alerts it brings
            received, news = await self._sort(alerts, by, careful)
        received.news = len(news)
        if news:
            await self.make_way(news)
            self._receiving += 1
            try:
                await self._journal.receive(news)
            finally:
                self._receiving -= 1
            for over in (sighting for sighting in news if not sighting.firing):
                self._served.remove(over.rule, (over.fingerprint,))
        return received

    async def _sort(self, alerts: Sequence[Alert], by: str, careful: str) -> tuple[Received, list[Sighting]]:
        """Count where alerts belong, and return what of them is news."""
        received, news = Received(), list[Sighting]()
        for i, alert in enumerate(alerts):
            if i % SLICE == SLICE - 1:
                await asyncio.sleep(0)
            places = self.places_of(alert)
            received.unmatched += not places
            for place in places:
                received.matched[place.rule.id] = received.matched.get(place.rule.id, 0) + 1
                if self._is_news(place, alert):
                    sighting = self.sighting(place, alert)
                    news.append(self._careful(replace(sighting, by=by) if by else sighting, careful))
                elif alert.firing:
                    self.on_repeat(alert.fingerprint)
            news += self._ends(alert, places)
        return received, news

    @staticmethod
    def _careful(sighting: Sighting, why: str) -> Sighting:
        if not why or sighting.mode == Mode.SHADOW:
            return sighting
        return replace(sighting, mode=Mode.SHADOW, because=why)

    def places_of(self, alert: Alert) -> tuple[Place, ...]:
        """Return where an alert belongs: with the incidents that it is part of, and under every other rule that takes it."""
        matched = self._places.get(alert.fingerprint)
        if matched is None:
            found = self._ward.rulebook.index.find(alert.labels)
            matched = tuple(Place(rule, *target_of(rule, alert.labels)) for rule in found)
            if len(self._places) >= REMEMBERED:
                self._places.clear()
            self._places[alert.fingerprint] = matched
        identifiers = self._by_alert.of(alert.fingerprint)
        if not identifiers:
            return matched
        own = {place.rule.id: place for place in map(self._own_place, identifiers) if place is not None}
        return (*own.values(), *[place for place in matched if place.rule.id not in own])

    def _own_place(self, identifier: str) -> Place | None:
        """Return the place of an incident, mostly the same as when it was asked for last."""
        state, known = self._ward.incidents[identifier], self._own.get(identifier)
        if known is not None and known.state is state:
            return known
        rule = self._ward.rule_of(state) or self._ward.rulebook.rules.get(state.rule)
        if rule is None:
            return None
        self._own[identifier] = place = Place(rule, state.target, state.flaw, state)
        return place

    def serves(self, rule: str, fingerprint: str) -> bool:
        """Tell whether a rule is done with an alert until it is over: a person closed its incident."""
        return rule in self._served.of(fingerprint)

    def _is_news(self, place: Place, alert: Alert) -> bool:
        """Tell whether the journal must hear of it. While other news are on their way to disk, it decides itself."""
        if self._receiving:
            return True
        known = place.state is not None and place.state.alerts[alert.fingerprint].firing
        served = self.serves(place.rule.id, alert.fingerprint)
        return not (served or known) if alert.firing else served or known

    def _ends(self, alert: Alert, places: tuple[Place, ...]) -> list[Sighting]:
        """Return what an alert that is over ends under rules that are not loaded any more, or take it no more."""
        if alert.firing:
            return []
        rules = {self._ward.incidents[name].rule for name in self._by_alert.of(alert.fingerprint)}
        gone = sorted((rules | self._served.of(alert.fingerprint)) - {place.rule.id for place in places})
        now = self._clock.now()
        return [
            Sighting(rule, "", "", "", "", alert.fingerprint, alert={}, firing=False, at=now) for rule in gone
        ]

    def sighting(self, place: Place, alert: Alert) -> Sighting:
        """Return what the journal is told of an alert in its place."""
        rule = place.rule
        mode = bounded(rule.mode, self._ward.mode)
        held_back = mode is not Mode.SHADOW and self._on_probation(rule)
        now = self._clock.now()
        return Sighting(
            rule=rule.id,
            version=rule.version,
            target=place.target,
            severity=rule.severity(alert.labels),
            mode=Mode.SHADOW if held_back else mode,
            because=ON_PROBATION if held_back else "",
            fingerprint=alert.fingerprint,
            alert=alert.as_seen(),
            firing=alert.firing,
            at=now,
            flaw=place.flaw,
            flap_window=rule.limits.flap_window,
            flap_from=rule.flap_from,
            then=foregone(rule, place.flaw, now) if place.state is None and alert.firing else (),
        )
