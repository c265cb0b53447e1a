"""Reconcile: what a survey of all Alertmanagers proves about what we believe. Pure.

A poll that shows an alert proves that it fires. That one is gone is proven only by several settled surveys in a row without it;
a dead Alertmanager, or one that has just started, proves nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from stopgap.alert import Alert
from stopgap.incident import AlertState, Incident
from stopgap.survey import State, Survey

ABSENT = 3  # settled surveys in a row without an alert, until it counts as over


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What follows from one survey: alerts that fire and are not known to, alerts that are over and are not known to be.

    `present` are the fingerprints of all that fire, `silenced` of those that a person has silenced everywhere.
    """

    firing: tuple[Alert, ...] = ()
    over: tuple[Alert, ...] = ()
    present: frozenset[str] = frozenset()
    silenced: frozenset[str] = frozenset()


@dataclass(slots=True)
class Beliefs:
    """How often in a row each believed alert was missing; grows no larger than what fires."""

    missing: dict[str, int] = field(default_factory=dict)

    def conclude(self, incidents: Iterable[Incident], survey: Survey, *, ours: bool) -> Conclusion:
        """Judge a survey. Only where it was about our receiver (`ours`) may an alert that is new open an incident."""
        believed = firing_alerts(incidents)
        present = frozenset(survey.alerts)
        over = self._over(believed, present) if survey.settled else ()
        fresh = tuple(
            polled.alert
            for fingerprint, polled in survey.alerts.items()
            if ours and polled.state is State.ACTIVE and fingerprint not in believed
        )
        silenced = frozenset(
            fingerprint
            for fingerprint, polled in survey.alerts.items()
            if polled.state is State.SUPPRESSED and polled.silenced_by
        )
        return Conclusion(fresh, over, present, silenced)

    def _over(self, believed: Mapping[str, AlertState], present: frozenset[str]) -> tuple[Alert, ...]:
        counted = {one: self.missing.get(one, 0) + 1 for one in believed.keys() - present}
        gone = [one for one, count in counted.items() if count >= ABSENT]
        self.missing = {one: count for one, count in counted.items() if count < ABSENT}
        return tuple(over(fingerprint, believed[fingerprint]) for fingerprint in sorted(gone))


def firing_alerts(incidents: Iterable[Incident]) -> dict[str, AlertState]:
    """Return the alerts that we believe to fire, by fingerprint."""
    return {
        fingerprint: alert
        for state in incidents
        for fingerprint, alert in state.alerts.items()
        if alert.firing
    }


def over(fingerprint: str, believed: AlertState) -> Alert:
    """Return a believed alert as one that is over."""
    return Alert(
        labels=believed.labels,
        annotations=believed.annotations,
        starts_at=_instant(believed.starts_at),
        ends_at=None,
        firing=False,
        generator_url="",
        fingerprint=fingerprint,
    )


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text) if text else datetime.min.replace(tzinfo=UTC)


def all_over(state: Incident) -> tuple[Alert, ...]:
    """Return all alerts of an incident that we believe to fire, as ones that are over."""
    return tuple(over(fingerprint, alert) for fingerprint, alert in state.alerts.items() if alert.firing)


@dataclass(frozen=True, slots=True)
class Ended:
    """The last episode of an alert that was resolved: when it began, as Alertmanager writes it, and when we heard of its end."""

    starts_at: str
    heard_at: datetime


def ambiguous(ended: Mapping[str, Ended], state: Incident) -> bool:
    """Tell whether all that fires bears the start of an episode that we know to be over: a stale message, perhaps."""
    firing = [(fingerprint, alert) for fingerprint, alert in state.alerts.items() if alert.firing]
    return bool(firing) and all(
        fingerprint in ended and ended[fingerprint].starts_at == alert.starts_at
        for fingerprint, alert in firing
    )


def believed_over(ended: Mapping[str, Ended], alert: Alert, asked_at: datetime) -> bool:
    """Tell whether the end of an alert was heard after the survey began that still shows it."""
    known = ended.get(alert.fingerprint)
    return known is not None and known.heard_at >= asked_at
