"""History: which alerts fired and ended in a period, as somebody recorded it, in the order of time.

A source reports what it saw, repeats and all; `Episodes` makes transitions of that: an alert fires, an alert is over. What fired
before the period and still does begins with it.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from stopgap.alert import Alert, fingerprint
from stopgap.errors import StopgapError

Progress = Callable[[float], None]
"""Hears how much of a history is read: 0 to 1."""


class HistoryError(StopgapError):
    """A history cannot be read; the text says which, where and the cure."""


@dataclass(frozen=True, slots=True)
class Period:
    """From when until when; both aware, in UTC."""

    since: datetime
    until: datetime

    def share(self, at: datetime) -> float:
        """Return how much of the period is over at an instant: 0 to 1."""
        length = (self.until - self.since).total_seconds()
        return min(max((at - self.since).total_seconds() / length, 0.0), 1.0) if length > 0 else 1.0


@dataclass(frozen=True, slots=True)
class Transition:
    """One alert began to fire or was over at an instant; `alert.firing` says which."""

    at: datetime
    alert: Alert


class History(Protocol):
    """One source of transitions. `caveats` say what it cannot know; complete once all was read."""

    @property
    def name(self) -> str:
        """What it is, in a line without secrets."""
        ...

    @property
    def caveats(self) -> tuple[str, ...]:
        """What it cannot know or did not understand, each in a sentence."""
        ...

    def transitions(self, period: Period, progress: Progress) -> AsyncIterator[Transition]:
        """Yield what happened in a period, in the order of time. Raises HistoryError."""
        ...


def alert_of(labels: dict[str, str], annotations: dict[str, str], starts_at: datetime) -> Alert:
    """Return an alert that begins to fire."""
    return Alert(
        labels, annotations, starts_at, None, firing=True, generator_url="", fingerprint=fingerprint(labels)
    )


def over(alert: Alert, at: datetime) -> Alert:
    """Return an alert as it is told of at its end."""
    return replace(alert, firing=False, ends_at=at)


class Episodes:
    """Which alerts fire, told in the order of time; what is told late counts as told just now."""

    def __init__(self, period: Period) -> None:
        self._period = period
        self._firing: dict[str, Alert] = {}
        self._now = period.since
        self._begun = False

    @property
    def firing(self) -> int:
        """Return how many alerts fire now."""
        return len(self._firing)

    def fires(self, alert: Alert, at: datetime) -> Iterator[Transition]:
        """Take note that an alert fires; yields what that changes."""
        yield from self.reach(at)
        if alert.fingerprint in self._firing or at > self._period.until:
            return
        self._firing[alert.fingerprint] = alert
        if self._begun:
            yield Transition(self._now, alert)

    def ends(self, print_: str, at: datetime) -> Iterator[Transition]:
        """Take note that an alert is over; yields what that changes."""
        yield from self.reach(at)
        if print_ not in self._firing or at > self._period.until:
            return
        alert = self._firing.pop(print_)
        if self._begun:
            yield Transition(self._now, over(alert, self._now))

    def reach(self, at: datetime) -> Iterator[Transition]:
        """Let time pass; at the beginning of the period yields all that fires then."""
        if at < self._period.since:
            return
        if not self._begun:
            self._begun = True
            yield from (Transition(self._now, alert) for alert in self._firing.values())
        self._now = max(self._now, at)
