"""Retention: how long closed incidents are kept, and how much of the past the guards need however short that is.

The daemon prunes what is older: closed incidents with their timelines, undos and permits, and old lines of `control`. It keeps what
is live, what a live incident follows, and what serves an alert that still fires.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from stopgap.rule import Limits, Rule

LEAST = timedelta(days=7)
"""Nothing younger is pruned: rules that were removed may come back, and flaps and storms look back hours."""

MARGIN = timedelta(days=1)  # a clock may be set back
DOCUMENTS = 20  # of one chunk


@dataclass(frozen=True, slots=True)
class Due:
    """A closed incident that nothing needs any more: how many lines its timeline has, and its `place` in the row of all."""

    incident: str
    lines: int
    place: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Dropped:
    """What one chunk threw away: whole incidents, lines of timelines. `rest` is what remains of those that were due."""

    incidents: int
    lines: int
    rest: tuple[Due, ...] = ()


class Archive(Protocol):
    """What is kept, as the pruner sees it. Each drop is one short operation; every method raises StoreError."""

    @property
    def waiting(self) -> int:
        """How many operations wait for the writer."""
        ...

    async def due(self, before: datetime, after: Due | None) -> Sequence[Due]:
        """Return the oldest incidents whose last word was said before, some hundreds at most, from behind one on."""
        ...

    async def drop(self, due: Sequence[Due], before: datetime) -> Dropped:
        """Throw away as many of them as one chunk may hold, and of a very long timeline its end."""
        ...

    async def drop_control(self, before: datetime) -> int:
        """Throw away one chunk of old lines of `control`, never the last line; return how many."""
        ...

    async def unnamed(self) -> Sequence[str]:
        """Return the rule versions that no incident names."""
        ...

    async def forget(self, versions: Sequence[str], in_force: Collection[str]) -> int:
        """Throw away the documents of these versions, one chunk, but for those in force or just loaded."""
        ...

    async def oldest(self) -> datetime | None:
        """Return when the oldest closed incident was opened that is kept."""
        ...


def looks_back(rules: Iterable[Rule]) -> timedelta:
    """Return how far back the guards of these rules look."""
    return max((_furthest(rule.limits) for rule in rules), default=timedelta())


def kept_for(retention: timedelta, rules: Iterable[Rule]) -> timedelta:
    """Return how long closed incidents are kept under these rules: as long as is wished, and longer where a guard needs them."""
    return max(retention, LEAST, looks_back(rules) + MARGIN)


def _furthest(limits: Limits) -> timedelta:
    return max(
        limits.cooldown,
        limits.flap_window,
        limits.budget.window,
        limits.budget_global.window,
        limits.circuit.failures.window + limits.circuit.lasts,
        limits.storm.window + limits.storm.calm,
    )
