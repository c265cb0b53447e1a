"""Scene: the outside of a play as it is at the moment: values, alerts, answers of probes, and what becomes of acts.

Facts come in the order of time and hold until another one takes their place; what the scene says nothing of is well: acts succeed
at once, probes are healthy, an alert that the script fires is firing in Prometheus too. A fact names what it is about by a piece of
its words (`restart`, `http */api/health`): `*` stands for anything, and of several that fit the last one counts.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Generic, TypeVar

from stopgap.action import Json
from stopgap.probe import Verdict

T = TypeVar("T")

START = datetime(2026, 1, 5, 9, tzinfo=UTC)
"""When a play begins unless somebody says otherwise: a Monday morning."""

AS_IT_WAS = "as it was"
"""The value of a resource of which the scene says nothing."""


class On(StrEnum):
    """Which side of a step a fact is about."""

    RUN = "run"
    REVERT = "revert"
    OBSERVE = "observe"


class Hidden(StrEnum):
    """What really became of an act that gave no answer."""

    DONE = "done"
    NOT_DONE = "not_done"
    UNCLEAR = "unclear"  # done, but observation cannot tell


class Crash(StrEnum):
    """When the daemon dies in the middle of an act."""

    BEFORE = "before"
    AFTER = "after"


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of an act: without anything of this it succeeds at once. `times` is how often, 0 for always."""

    takes: timedelta = timedelta()
    fails: str = ""
    permanent: bool = False
    hidden: Hidden | None = None
    crash: Crash | None = None
    times: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a probe answers."""

    verdict: Verdict
    why: str = ""


@dataclass(slots=True)
class _Told(Generic[T]):
    """One fact, and how often it still holds (None: until another one takes its place)."""

    pattern: str
    what: T
    left: int | None = None
    used: bool = False


class Facts(Generic[T]):
    """Facts of one kind by what they are about, the last one first."""

    def __init__(self) -> None:
        self._told: dict[str, _Told[T]] = {}

    def say(self, pattern: str, what: T, times: int = 0) -> None:
        """Let a fact hold from now on, so often."""
        used = self._told.pop(pattern).used if pattern in self._told else False
        self._told[pattern] = _Told(pattern, what, times or None, used)

    def of(self, words: str, *, spend: bool = False) -> T | None:
        """Return the fact about something; `spend` counts it as one of its times."""
        for fact in reversed(self._told.values()):
            if fact.left == 0 or not about(fact.pattern, words):
                continue
            fact.used = True
            if spend and fact.left is not None:
                fact.left -= 1
            return fact.what
        return None

    def __len__(self) -> int:
        """Count the facts: where there are none, nobody need say what he asks about."""
        return len(self._told)

    @property
    def idle(self) -> tuple[str, ...]:
        """Return what facts are about of which nobody asked."""
        return tuple(fact.pattern for fact in self._told.values() if not fact.used)


@lru_cache(1024)
def _pattern(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL)


def about(pattern: str, words: str) -> bool:
    """Tell whether a fact is about what these words say."""
    return pattern in words if "*" not in pattern else _pattern(pattern).search(words) is not None


@dataclass(slots=True)
class Scene:
    """The outside. Whoever plays changes it; the staged actions and probes read it, and acts change its values."""

    values: dict[str, Json] = field(default_factory=dict)
    acts: dict[On, Facts[Fate]] = field(default_factory=lambda: {on: Facts[Fate]() for on in On})
    probes: Facts[Answer] = field(default_factory=Facts)
    queries: Facts[tuple[float, ...]] = field(default_factory=Facts)
    firing: dict[str, dict[str, Mapping[str, str]]] = field(default_factory=dict)  # by name and fingerprint
    asked: set[str] = field(default_factory=set)  # resources that acts looked at
    hidden: set[str] = field(default_factory=set)  # acts of which nobody can tell what became of them
    turns: int = 0  # how often anything was run

    def observe(self, resource: str) -> Json:
        """Return what a resource is at, to an act."""
        self.asked.add(resource)
        return self.value(resource)

    def value(self, resource: str) -> Json:
        """Return what a resource is at."""
        return self.values.get(resource, AS_IT_WAS)

    def fires(self, fingerprint: str, labels: Mapping[str, str]) -> None:
        """Let an alert fire in Prometheus."""
        self.firing.setdefault(labels.get("alertname", ""), {})[fingerprint] = labels

    def is_over(self, fingerprint: str, labels: Mapping[str, str]) -> None:
        """Let an alert be over in Prometheus."""
        self.firing.get(labels.get("alertname", ""), {}).pop(fingerprint, None)
