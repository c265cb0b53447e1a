"""Reconcile: what a survey of all Alertmanagers proves about what we believe. Pure.

A poll that shows an alert proves that it fires. That one is gone is proven only by several settled surveys in a row without it;
a dead Alertmanager, or one that has just started, proves nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from stopgap.alert import DRILL, Alert
from stopgap.incident import AlertState, Incident
from stopgap.survey import Polled, State, Survey

ABSENT = 3  # settled surveys in a row without an alert, until it counts as over


@dataclass(frozen=True, slots=True)
class Ended:
    """The last episode of an alert that was resolved: when it began, as Alertmanager writes it, and when we heard of its end."""

    starts_at: str
    heard_at: datetime


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What follows from one survey: alerts that fire and are not known to, alerts that are over and are not known to be.

    `present` are the fingerprints of all that fire and of whose end we have not heard since, `silenced` of those that a person has
    silenced everywhere.
    """

    firing: tuple[Alert, ...] = ()
    over: tuple[Alert, ...] = ()
    present: frozenset[str] = frozenset()
    silenced: frozenset[str] = frozenset()


@dataclass(slots=True)
class Beliefs:
    """How often in a row each believed alert was missing; grows no larger than what fires."""

    missing: dict[str, int] = field(default_factory=dict)

    def conclude(
        self, incidents: Iterable[Incident], survey: Survey, ended: Mapping[str, Ended], *, ours: bool
    ) -> Conclusion:
        """Judge a survey. Only where it was about our receiver (`ours`) may an alert that is new open an incident."""
        believed = firing_alerts(incidents)
        over = self._over(believed, frozenset(survey.alerts)) if survey.settled else ()
        present = frozenset(
            fingerprint
            for fingerprint, polled in survey.alerts.items()
            if not outdated(ended.get(fingerprint), polled, survey.at)
        )
        fresh = tuple(
            polled.alert
            for fingerprint, polled in survey.alerts.items()
            if ours
            and polled.state is State.ACTIVE
            and fingerprint in present
            and fingerprint not in believed
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
    """Return the alerts that we believe to fire, by fingerprint. Of a drill's alert no Alertmanager can know."""
    return {
        fingerprint: alert
        for state in incidents
        for fingerprint, alert in state.alerts.items()
        if alert.firing and DRILL not in alert.labels
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


def ambiguous(ended: Mapping[str, Ended], state: Incident) -> bool:
    """Tell whether all that fires began before we heard of its end: a stale message, perhaps.

    Mostly it bears the very start of that episode; members of a cluster may differ in the start, and so may clocks.
    """
    firing = [(ended.get(fingerprint), alert) for fingerprint, alert in state.alerts.items() if alert.firing]
    return bool(firing) and all(
        known is not None
        and (known.starts_at == alert.starts_at or _instant(alert.starts_at) <= known.heard_at)
        for known, alert in firing
    )


def outdated(ended: Ended | None, polled: Polled, asked_at: datetime) -> bool:
    """Tell whether we heard of an alert's end since Prometheus last sent the alert, or since the survey began that still shows it.

    An Alertmanager that stood still or was cut off shows, and sends, an alert as firing whose end the others have long told of.
    Prometheus sends what fires again and again, so a clock that is slow by a little only costs time.
    """
    return ended is not None and ended.heard_at >= min(asked_at, polled.updated_at)
